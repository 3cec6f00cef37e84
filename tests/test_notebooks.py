"""The notebooks of examples/ run from the first cell to the last, on little data."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from peculiar import Atlas

EXAMPLES = Path(__file__).parents[1] / "examples"
JUPYTER = Path(sys.executable).with_name("jupyter-execute")


def executed(notebook, output, **environment):
    """Run a notebook as jupyter does; its cells with what they put out."""
    command = [JUPYTER, EXAMPLES / notebook, f"--output={output}", "--timeout=300"]
    said = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, timeout=420, env={**os.environ, **environment}
    )
    assert said.returncode == 0, said.stderr[-3_000:]
    return json.loads(Path(output).read_text())["cells"]


def pictures_of(cells):
    outputs = [each.get("data", {}) for cell in cells for each in cell.get("outputs", [])]
    return sum(bool({"image/png", "image/jpeg"} & set(each)) for each in outputs)


def texts_of(cells):
    return "".join("".join(each.get("text", "")) for cell in cells for each in cell.get("outputs", []))


@pytest.fixture(scope="module")
def demo(ranked, tmp_path_factory):
    """An atlas as `make demo` leaves it, much smaller."""
    folder = shutil.copytree(ranked, tmp_path_factory.mktemp("demo") / "atlas")
    atlas = Atlas(folder)
    atlas.train_features(n_steps=2, batch_size=8, save_every=2, width=4, n_features=8)
    atlas.make_features("self-supervised")
    return folder


def test_the_catalog_demo_runs(demo, shared_data, tmp_path):
    released = shared_data / "catalogue" / "anomaly_catalog_hsc_disc3sigma.p"
    cells = executed(
        "catalogue_demo.ipynb", tmp_path / "out.ipynb", PECULIAR_ATLAS=str(demo), PECULIAR_RELEASED=str(released)
    )
    assert pictures_of(cells) >= 7
    said = texts_of(cells)
    assert "2,444 of 13,477 have another within 8 arcsec" in said
    assert "4,067 of 13,477 have another within 16 arcsec" in said


def test_the_whole_story_runs(tmp_path):
    pytest.importorskip("galsim")
    pytest.importorskip("astroplan")
    cells = executed(
        "whole_story.ipynb",
        tmp_path / "out.ipynb",
        PECULIAR_STORY=str(tmp_path),
        PECULIAR_N_OBJECTS="80",
        PECULIAR_N_STEPS="4",
    )
    assert pictures_of(cells) >= 6
    assert (tmp_path / "atlas" / "release" / "main" / "report.html").exists()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda each: each.name)
def test_a_notebook_reads_as_it_was_run(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    counts = [cell["execution_count"] for cell in cells if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    outputs = [each for cell in cells for each in cell.get("outputs", [])]
    assert outputs
    assert not [each for each in outputs if each["output_type"] == "error" or each.get("name") == "stderr"]
    assert path.stat().st_size < 4_000_000
    assert not (set(path.read_text(encoding="utf-8").split()) & {"/tmp", "/work"})
