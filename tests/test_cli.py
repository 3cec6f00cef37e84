import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from peculiar import Atlas
from peculiar.cli import app
from peculiar.run import read_run

COMMANDS = (
    *("run", "ingest", "train-gan", "train-encoder", "score", "rank", "release", "add-columns"),
    *("simulate", "bench", "inject", "simulate-expert", "top", "info", "status", "check", "quarantine", "significance"),
    *("labels", "expert", "explore", "publish", "compare", "query", "fetch", "group", "import-release"),
    *("derive", "follow-up", "lines", "train-detector"),
    *("mask", "crossmatch", "subset", "export", "bundle", "import-classifications"),
)
SMALL = ("--width", 2, "--batch-size", 8, "--n-steps", 4, "--save-every", 2)


def peculiar(*arguments, expect=0):
    """Run the command as a user does; both outputs, words only."""
    command = [sys.executable, "-W", "error", "-c", "from peculiar.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == expect, f"{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def in_process(*arguments, expect=0):
    """The same without a new interpreter; errors are raised."""
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == expect, result.output
    return result.output


@pytest.fixture(scope="module")
def chain(tmp_path_factory, inputs):
    """Every stage through the command line, on 64 images and one file that is no image; what each printed."""
    home = tmp_path_factory.mktemp("chain")
    folder = shutil.copytree(inputs.folder, home / "in")
    (folder / "bad.png").write_bytes(b"")
    atlas, said = home / "atlas", {}
    said["ingest"] = in_process("ingest", atlas, "--images", folder, "--catalogue", inputs.catalog, expect=3)
    said["train-gan"] = in_process("train-gan", atlas, "--preset", "small", "--n-latent", 4, *SMALL)
    said["train-encoder"] = in_process("train-encoder", atlas, *SMALL)
    said["score"] = in_process("score", atlas, "--n-latent-steps", 2)
    said["rank"] = in_process("rank", atlas, "--name", "half", "--combination-weight", 0.5)
    said["release"] = in_process(*("release", atlas, "--no-full-catalog", "--no-hdf5", "--n-top", 0, "--threshold", 99))
    return SimpleNamespace(atlas=atlas, said=said, folder=folder)


def test_every_stage_is_done_and_said(chain):
    atlas = Atlas(chain.atlas)
    states = {each.folder: each.state for each in atlas.status()}
    assert set(states.values()) == {"complete"}
    assert set(states) >= {"survey", "networks/gan", "networks/encoder", "scores/main", "rankings/main", "release/main"}
    assert "ingested 64" in chain.said["ingest"]
    assert "1 inputs are in quarantine" in chain.said["ingest"]
    assert "objects 64" in chain.said["score"]
    assert read_run(chain.atlas / "rankings" / "main").outputs["reference"] in chain.said["score"]
    assert atlas.ranking("half").weights["combination_weight"] == 0.5
    assert read_run(chain.atlas / "networks" / "gan").config["n_latent"] == 4


def test_a_release_may_leave_out_the_catalog_and_the_images_and_select_nothing(chain):
    home = chain.atlas / "release" / "main"
    names = {each.name for each in home.iterdir()}
    assert {"selection.csv", "report.html"} <= names
    assert not names & {"catalog.csv", "selection.hdf5"}
    assert (home / "selection.csv").read_text().count("\n") == 1
    assert "selected 0" in chain.said["release"]


def test_top_shows_the_first_with_exact_ids_and_both_weights(chain, inputs):
    printed = in_process("top", chain.atlas, "-n", 5)
    for object_id in Atlas(chain.atlas).top(5)["object_id"]:
        assert str(object_id) in printed
    assert "reconstruction weight 0.3, combination weight 0.3" in printed
    assert "combination weight 0.5" in in_process("top", chain.atlas, "--ranking", "half")


def test_top_makes_a_picture_where_asked_for(chain):
    in_process("top", chain.atlas, "-n", 2, "--figure", "--by", "score_gen")
    assert (chain.atlas / "figures" / "top-2-score_gen.png").stat().st_size > 5_000


def test_info_status_check_and_quarantine_say_what_is_known(chain, inputs):
    name = inputs.names[3]
    said = in_process("info", chain.atlas, name)
    assert str(inputs.object_id[3]) in said
    assert "score_anom_conditional" in said
    assert str(inputs.object_id[1]) in in_process("info", chain.atlas, "--", inputs.object_id[1])  # it is negative
    assert "empty file" in in_process("info", chain.atlas, "bad.png")
    assert "complete" in in_process("status", chain.atlas)
    assert "wrong" not in in_process("check", chain.atlas)
    said = in_process("quarantine", chain.atlas)
    assert "bad.png" in said
    assert "1 in quarantine" in said


def test_check_leaves_with_1_where_something_is_wrong(chain, tmp_path):
    folder = shutil.copytree(chain.atlas, tmp_path / "atlas")
    checkpoints = folder / "networks" / "gan" / "checkpoints"
    shutil.copy(checkpoints / "00000002.safetensors", checkpoints / "00000004.safetensors")
    assert "wrong" in in_process("check", folder, expect=1)


def test_columns_are_added(chain, tmp_path, inputs):
    folder = shutil.copytree(chain.atlas, tmp_path / "atlas")
    (tmp_path / "more.csv").write_text(f"object_id,color\n{inputs.object_id[0]},1.25\n")
    in_process("add-columns", folder, tmp_path / "more.csv")
    assert "1.25" in in_process("info", folder, inputs.object_id[0])


def test_the_same_command_again_changes_nothing(chain):
    before = read_run(chain.atlas / "scores" / "main").outputs
    assert "known 64" in in_process("ingest", chain.atlas, "--images", chain.folder, expect=3)
    in_process("score", chain.atlas)
    assert read_run(chain.atlas / "scores" / "main").outputs == before


# --- as a user sees it


def test_an_expected_error_is_one_sentence_and_code_1(tmp_path):
    said = peculiar("top", tmp_path / "none", expect=1)
    assert said.startswith("error: rankings/main is not complete")
    assert "Traceback" not in said
    assert len(said.strip().splitlines()) == 1


def test_quarantine_leaves_with_3_and_a_wrong_option_with_2(tmp_path, made):
    made.write(tmp_path / "in", made.images(3), ["a.png", "b.png", "c.png"])
    (tmp_path / "in" / "d.png").write_bytes(b"")
    said = peculiar("ingest", tmp_path / "atlas", "--images", tmp_path / "in", expect=3)
    assert "ingested 3" in said
    assert "peculiar quarantine" in said
    assert "No such option" in peculiar("ingest", tmp_path / "atlas", "--imges", "x", expect=2)


def test_a_missing_id_is_named_without_quotes(ranked):
    assert "error: no object with id or source '12'" in peculiar("info", ranked, "12", expect=1)


def test_the_version_is_printed():
    from peculiar import __version__

    assert in_process("--version").strip() == __version__


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_its_options(command):
    said = in_process(command, "--help")
    assert re.search(r"Usage: peculiar \S+", said) or "Usage: " in said
    lines = said.splitlines()
    begins = [place for place, line in enumerate(lines) if re.match(r"\s+-", line)]
    assert begins  # --help at least
    for place in begins:
        text = re.sub(r"^\s+(-\S+|[A-Z<\[]\S*)(\s(-\S+|[A-Z<\[]\S*))*", "", lines[place]).strip()
        follows = lines[place + 1].strip() if place + 1 < len(lines) else ""
        assert text or (follows and not follows.startswith("-")), lines[place]


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_command_does_is_said_in_lines_without_gaps(command):
    said = in_process(command, "--help").split("Arguments:")[0].split("Options:")[0]
    assert not re.search(r"\S {2,}\S", said), said


def test_the_help_names_every_command():
    said = in_process("--help")
    for command in COMMANDS:
        assert re.search(rf"^\s+{command}\s", said, re.MULTILINE), command


def test_presets_are_named_in_the_help():
    said = " ".join(in_process("train-gan", "--help").split())
    assert "paper:" in said
    assert "small:" in said


def test_lists_are_separated_by_commas(tmp_path, made):
    made.write(tmp_path / "in", made.images(2), ["a.png", "b.png"])
    in_process("ingest", tmp_path / "atlas", "--images", tmp_path / "in", "--curve", "0.1, 2,8", "--bands", "i,r,g")
    config = read_run(tmp_path / "atlas" / "survey").config
    assert config["curve"] == [0.1, 2.0, 8.0]
    assert config["bands"] == ["i", "r", "g"]
