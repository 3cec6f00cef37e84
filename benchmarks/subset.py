"""A subset of a large atlas that shares its images: seconds, bytes, peak memory, and how quickly it is read.

    python benchmarks/subset.py ATLAS [N_OBJECTS ...]

Takes so many objects of ATLAS at random (10,000 unless said), each time into a new folder beside it, in a process of
its own, reads all their images and 1,000 of them by object_id, and removes the folder. Own bytes are those of files
that the parent does not hold too; beside them stands what the images alone would take if they were copied. The first
subset also reads the parent from the disk; give a number twice to see it without.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from environment import machine_line

N_LOOKED_UP = 1_000


def own_bytes(folder: Path) -> int:
    """Bytes of files that nothing else holds."""
    states = (each.stat() for each in folder.rglob("*") if each.is_file())
    return sum(each.st_size for each in states if each.st_nlink == 1)


def taken(atlas: Path, new: Path, n_objects: int) -> dict[str, float]:
    """Make one subset in this process, and read it."""
    import resource

    from peculiar import Atlas
    from peculiar.stages.subset import SubsetConfig, subset

    started = time.perf_counter()
    run = subset(atlas, SubsetConfig(random=n_objects), new)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    survey = Atlas(new).survey
    started, n_bytes = time.perf_counter(), 0
    for batch in survey.scan(["object_id", "image"]):
        n_bytes += survey.images_of(batch).nbytes
    scanned = time.perf_counter() - started
    ids = np.random.default_rng(0).permutation(survey.object_ids())[:N_LOOKED_UP]
    started = time.perf_counter()
    survey.images(ids)
    looked_up = time.perf_counter() - started
    told = {"seconds": seconds, "peak": peak, "own": own_bytes(new), "images": n_bytes}
    told |= {"scan": len(survey) / scanned, "look_up": len(ids) / looked_up, "n_of": run.outputs["n_of"]}
    return told | {"is_shared": run.outputs["images"] == "shared"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("atlas", type=Path)
    parser.add_argument("n_objects", type=int, nargs="*", default=[10_000])
    parser.add_argument("--into", type=Path, help="make one here, and tell; what the script starts itself with")
    options = parser.parse_args()
    if options.into:
        print(json.dumps(taken(options.atlas, options.into, options.n_objects[0])))
        return
    print(machine_line())
    names = ("of", "taken", "seconds", "peak MiB", "own MB", "images MB", "images/s, scan", "by id")
    print("".join(f"{name:>16s}" for name in names))
    for n_objects in options.n_objects:
        new = options.atlas.with_name(f"{options.atlas.name}-subset-benchmark")
        try:
            command = [sys.executable, __file__, str(options.atlas), str(n_objects), "--into", str(new)]
            told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        finally:
            shutil.rmtree(new, ignore_errors=True)
        numbers = [f"{told['n_of']:,}", f"{n_objects:,}", f"{told['seconds']:.2f}", f"{told['peak']:.0f}"]
        numbers += [f"{told['own'] / 1e6:.2f}", f"{told['images'] / 1e6:.1f}"]
        numbers += [f"{told['scan']:,.0f}", f"{told['look_up']:,.0f}"]
        print("".join(f"{each:>16s}" for each in numbers) + ("" if told["is_shared"] else "  copied"), flush=True)


if __name__ == "__main__":
    main()
