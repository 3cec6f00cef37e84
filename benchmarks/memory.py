"""Peak memory of ingest, score and rank at two sizes of survey: it must not grow.

    python benchmarks/memory.py FOLDER [N_OBJECTS ...] [--width 4]

Makes surveys of so many JPEG images (10,000 unless said) of the Galaxy Zoo 2 sample, repeated with flips, turns and
noise, trains networks for one step, and runs each stage in a process of its own: its peak, and its largest worker's,
are what the kernel counted (ru_maxrss). The networks are narrow and the latent gets one step, as memory depends on
neither; give --width 32 for the preset `small`.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from environment import GZ2, machine_line

STAGES = ("ingest", "train-gan", "train-encoder", "score", "rank")
FOLDER_FILES = 10_000  # images a folder


def made(folder: Path, n_objects: int) -> Path:
    """A folder of `n_objects` JPEG; image k is the same in every survey."""
    originals = sorted(GZ2.glob("*.jpg"))
    kept: dict[Path, np.ndarray] = {}
    for number in range(n_objects):
        path = folder / f"{number // FOLDER_FILES:03d}" / f"{number:07d}.jpg"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        original = originals[number % len(originals)]
        if original not in kept:
            kept[original] = np.asarray(Image.open(original).convert("RGB"))
        random = np.random.default_rng(number)
        turned = np.rot90(kept[original], random.integers(4))[:: random.choice([-1, 1])]
        noisy = turned + random.normal(0.0, 3.0, turned.shape)
        Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8)).save(path, quality=90)
    return folder


def run_stage(stage: str, atlas_folder: Path, images: Path, width: int) -> None:
    """One stage, in this process; prints seconds and peaks as JSON."""
    import resource

    from peculiar import Atlas

    atlas = Atlas(atlas_folder)
    started = time.perf_counter()
    if stage == "ingest":
        atlas.ingest(images)
    elif stage == "train-gan":
        atlas.train_gan(width=width, n_steps=1)
    elif stage == "train-encoder":
        atlas.train_encoder(width=width, n_steps=1)
    elif stage == "score":
        atlas.score(n_latent_steps=1)
    else:
        atlas.rank()
    peaks = [resource.getrusage(who).ru_maxrss / 2**10 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({"seconds": time.perf_counter() - started, "peak": peaks[0], "worker": peaks[1]}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("n_objects", type=int, nargs="*", default=[10_000])
    parser.add_argument("--width", type=int, default=4)
    parser.add_argument("--stage", help="run this stage here; what the script starts itself with")
    options = parser.parse_args()
    if options.stage:
        run_stage(
            options.stage, options.folder, options.folder.parent / f"images-{options.n_objects[0]}", options.width
        )
        return
    print(machine_line(), f"; width {options.width}", sep="")
    print(f"{'objects':>10s} {'stage':>14s} {'objects/s':>10s} {'peak MiB':>9s} {'worker MiB':>11s}")
    for n_objects in options.n_objects:
        made(options.folder / f"images-{n_objects}", n_objects)
        atlas = options.folder / f"atlas-{n_objects}-width-{options.width}"
        for stage in STAGES:
            command = [sys.executable, __file__, str(atlas), str(n_objects), "--stage", stage]
            command += ["--width", str(options.width)]
            told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            told = json.loads(told.splitlines()[-1])
            rate = "" if stage.startswith("train") else f"{n_objects / told['seconds']:.0f}"
            print(f"{n_objects:10d} {stage:>14s} {rate:>10s} {told['peak']:9.0f} {told['worker']:11.0f}", flush=True)


if __name__ == "__main__":
    main()
