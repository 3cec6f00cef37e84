"""Fixtures: made images, a small survey with ids above 2**53, and its atlas: trained, scored and ranked."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from textwrap import dedent
from types import ModuleType, SimpleNamespace

# Two test processes share two cores, and sums over more threads differ in the last bit.
os.environ.setdefault("OMP_NUM_THREADS", "1")

if os.environ.get("PECULIAR_TYPED"):  # see test_house.py: shapes and types of the public borders are checked
    from beartype import BeartypeConf, beartype
    from jaxtyping import install_import_hook

    # The hook wants the name of a checker; ours takes an int where a float is asked for, as Python does.
    sys.modules["lenient"] = lenient = ModuleType("lenient")
    lenient.check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # type: ignore[attr-defined]
    # networks.training is left out: it has no array in a signature, and a Protocol, which cannot be checked.
    NETWORKS_CHECKED = ("blocks", "gan", "encoder", "autoencoder", "contrastive", "pretrained")
    CHECKED = (f"networks.{each}" for each in NETWORKS_CHECKED)
    SCIENCE = ("sky", *CHECKED, "scoring", "maps", "catalog", "spectra", "figures")
    install_import_hook([f"peculiar.{each}" for each in SCIENCE], "lenient.check")

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

settings.register_profile("ci", derandomize=True)  # what lands is what passed; runs by hand seek new cases
settings.load_profile("ci" if os.environ.get("CI") else "default")
SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
SIZE = 32
N_OBJECTS = 64
ID_OFFSET = 43_158_859_342_174_406  # 17 digits: no float64 holds it and its neighbors
NETWORKS = {"width": 2, "batch_size": 8, "save_every": 2}
FAST = 0.02  # a rate at which four steps give images that depend on the latent
SCORES = {"n_latent_steps": 3, "latent_rate": 0.1}


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Give whole files to the processes of `-n 2`, so that no atlas of a module is made twice."""
    if getattr(config.option, "numprocesses", None) and config.option.dist == "no":
        config.option.dist = "loadfile"


def drawn_images(n: int, *, size: int = SIZE, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Blobs of many sizes and brightnesses on a noisy sky, uint8 (n, size, size, channels)."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    radius = random.uniform(1.5, size / 6, (n, 1, 1, 1))
    peak = random.uniform(40, 220, (n, 1, 1, channels))
    light = peak * np.exp(-np.hypot(x, y)[None, :, :, None] / radius)
    return np.clip(light + random.normal(12, 4, (n, size, size, channels)), 0, 255).astype(np.uint8)


def write_images(folder: Path, images: np.ndarray, names: list[str]) -> None:
    """PNG files of these names."""
    for name, image in zip(names, images, strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path)


def names_of(n: int) -> list[str]:
    """File names, one of them with quotes and a blank, some in a folder below."""
    names = [f"{'deep/' if each % 5 == 0 else ''}galaxy-{chr(97 + each % 26)}{each}.png" for each in range(n)]
    names[3] = """o'neil's "odd" one.png"""
    return names


def ids_of(n: int) -> np.ndarray:
    """Ids of 17 digits that follow one another, and two negative ones."""
    object_id = ID_OFFSET + np.arange(n, dtype=np.int64)
    object_id[1], object_id[2] = -5, -ID_OFFSET
    return object_id


def write_catalog(path: Path, names: list[str], object_id: np.ndarray) -> None:
    """CSV of file, object_id, ra, dec and magnitude; object 4 has neither position nor magnitude."""
    lines = ["file,object_id,ra,dec,magnitude"]
    for place, (name, each) in enumerate(zip(names, object_id.tolist(), strict=True)):
        quoted = '"' + name.replace('"', '""') + '"'
        numbers = ",," if place == 4 else f"{150 + place / 100:.4f},{2 - place / 100:.4f},{20 + (place % 10) / 20:.3f}"
        lines.append(f"{quoted},{each},{numbers}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def run_python(code: str, *arguments: object, expect: int = 0) -> str:
    """Run code in a fresh interpreter; what it printed. `expect` is the exit code, -9 for one that is killed."""
    command = [sys.executable, "-W", "error", "-c", dedent(code), *map(str, arguments)]
    # Files, not pipes: a worker that outlives its parent would hold a pipe open.
    with TemporaryFile("w+") as output, TemporaryFile("w+") as errors:
        done = subprocess.run(command, stdout=output, stderr=errors, timeout=120)
        for stream in (output, errors):
            stream.seek(0)
        assert done.returncode == expect, errors.read()
        return output.read()


# Calls a method of an atlas, and kills itself in the step that is told: what was saved before is there.
DIES = """
    import os, signal, sys
    from contextlib import contextmanager
    from peculiar import Atlas

    @contextmanager
    def track(description, total):
        steps = []
        def advance(n):
            steps.extend([n] * (n > 0))
            if len(steps) == int(sys.argv[4]):
                os.kill(os.getpid(), signal.SIGKILL)
        yield advance

    getattr(Atlas(sys.argv[1], track=track), sys.argv[2])(**eval(sys.argv[3]))
"""


def kill_in_step(step: int, folder: Path, method: str, options: dict[str, object]) -> None:
    """Begin a method of the atlas in a fresh interpreter, which dies in this step."""
    run_python(DIES, folder, method, repr(options), step, expect=-9)


@pytest.fixture(scope="session")
def made() -> SimpleNamespace:
    """The helpers of this file: test modules cannot import it."""
    return SimpleNamespace(
        images=drawn_images,
        write=write_images,
        names=names_of,
        ids=ids_of,
        catalog=write_catalog,
        python=run_python,
        kill=kill_in_step,
    )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data, or a skip that says where it was sought."""
    if not SHARED_DATA.exists():
        pytest.skip(f"no real data in {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """64 PNG files and their catalog: `folder`, `catalog`, `images`, `names`, `object_id`. Not to be changed."""
    home = tmp_path_factory.mktemp("inputs")
    images, names, object_id = drawn_images(N_OBJECTS), names_of(N_OBJECTS), ids_of(N_OBJECTS)
    write_images(home / "cutouts", images, names)
    write_catalog(home / "objects.csv", names, object_id)
    return SimpleNamespace(
        folder=home / "cutouts", catalog=home / "objects.csv", images=images, names=names, object_id=object_id
    )


@pytest.fixture(scope="session")
def ingested(tmp_path_factory: pytest.TempPathFactory, inputs: SimpleNamespace) -> Path:
    """An atlas with its survey only. Not to be changed."""
    from peculiar import Atlas

    folder = tmp_path_factory.mktemp("ingested") / "atlas"
    Atlas(folder).ingest(inputs.folder, catalog=inputs.catalog)
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, ingested: Path) -> Path:
    """An atlas with networks of two checkpoints each. Not to be changed."""
    from peculiar import Atlas

    folder = shutil.copytree(ingested, tmp_path_factory.mktemp("trained") / "atlas")
    Atlas(folder).train_gan(n_latent=4, n_steps=4, learning_rate=FAST, **NETWORKS)
    Atlas(folder).train_encoder(n_steps=4, **NETWORKS)
    return folder


@pytest.fixture(scope="session")
def ranked(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Path:
    """An atlas scored and ranked, three reconstructions kept. Not to be changed."""
    from peculiar import Atlas

    folder = shutil.copytree(trained, tmp_path_factory.mktemp("ranked") / "atlas")
    Atlas(folder).score(**SCORES)
    Atlas(folder).rank(n_reconstructions=3)
    return folder


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[Path], Path]:
    """Copy an atlas, to change it."""

    def copied(folder: Path) -> Path:
        return Path(shutil.copytree(folder, tmp_path / "atlas"))

    return copied
