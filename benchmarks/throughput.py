"""Objects a second of every step but training: reading, ingest, batches and scans from Lance, scoring, ranking.

    python benchmarks/throughput.py FOLDER [--fits SIMULATED] [--n-scored 2000]

Ingests the Galaxy Zoo 2 sample (JPEG) and 2,000 simulated objects (FITS, three bands; simulated first unless a folder
that `peculiar simulate` wrote is given), and trains networks of the preset `small` for one step: speed does not depend
on what they learnt. Atlases land in FOLDER and are made anew.
"""

import argparse
import itertools
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from peculiar import engine

engine.tune()

import numpy as np  # noqa: E402

from environment import GZ2, machine_line  # noqa: E402
from peculiar import Atlas  # noqa: E402
from peculiar.survey import ShuffledImages, Survey, Table  # noqa: E402

N_FITS = 2_000
N_BATCHES = 500


def told(what: str, n_objects: int, function: Callable[[], object]) -> None:
    started = time.perf_counter()
    function()
    seconds = time.perf_counter() - started
    print(f"{what:48s} {n_objects / seconds:10,.0f} objects/s   ({n_objects:,} in {seconds:.1f} s)", flush=True)


def linked(cutouts: Path, folder: Path) -> Path:
    """A folder with links to the first cutouts."""
    folder.mkdir(parents=True)
    for path in itertools.islice(sorted(cutouts.iterdir()), N_FITS):
        (folder / path.name).symlink_to(path)
    return folder


def scan(survey: Survey) -> None:
    for batch in survey.scan(["object_id", "image"], batch_size=256):
        survey.images_of(batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fits", type=Path, help="what `peculiar simulate` wrote")
    parser.add_argument("--n-scored", type=int, default=2_000)
    options = parser.parse_args()
    shutil.rmtree(options.folder, ignore_errors=True)
    print(machine_line())
    if options.fits is None:
        from peculiar.stages.simulate import SimulateConfig, simulate

        options.fits = options.folder / "simulated"
        told("simulate", N_FITS, lambda: simulate(SimulateConfig(output=options.fits, n_objects=N_FITS)))
    cutouts = linked(options.fits / "cutouts", options.folder / "cutouts")
    fits = Atlas(options.folder / "fits")
    told("ingest, FITS of three bands", N_FITS, lambda: fits.ingest(cutouts, bands=("HSC-I", "HSC-R", "HSC-G")))
    assert len(fits.survey) == N_FITS

    jpeg = Atlas(options.folder / "jpeg")
    n_jpeg = sum(1 for _ in GZ2.glob("*.jpg"))
    told("ingest, JPEG", n_jpeg, lambda: jpeg.ingest(GZ2))
    survey = jpeg.survey
    images = ShuffledImages(survey, 32, seed=0)
    told("Lance, shuffled batches of 32", 32 * N_BATCHES, lambda: [images.batch(each) for each in range(N_BATCHES)])
    told("Lance, scan", len(survey), lambda: scan(survey))
    chosen = np.random.default_rng(0).choice(survey.object_ids(), 1_000, replace=False)
    told("Lance, by object_id, 1,000 at once", len(chosen), lambda: survey.images(chosen))

    sample = Atlas(options.folder / "sample")
    sample.survey.path.parent.mkdir(parents=True)
    part = survey.take(survey.sample(options.n_scored, seed=0), survey.schema.names)
    Table(sample.survey.path).append(part.to_batches(), survey.schema)
    sample.survey.build_index()
    sample.train_gan(preset="small", n_steps=1, save_every=1)
    sample.train_encoder(preset="small", n_steps=1, save_every=1)
    told("score, preset small", len(part), sample.score)
    told("rank, reconstructions of all", len(part), sample.rank)


if __name__ == "__main__":
    main()
