"""Seconds and peak memory of laying out N vectors of 64 numbers, and of placing as many new ones among them.

    python benchmarks/maps.py [N_OBJECTS] [--methods umap pca placing]
    python benchmarks/maps.py [N_OBJECTS] --methods pixels     # color images of 96 pixels to their principal components

Each runs in a process of its own, on one thread but for the matrix products; its peak is what the kernel counted
(ru_maxrss), imports included. UMAP and numba compile themselves first: a minute or so, counted apart: the first use
is of 4,200 objects, as UMAP searches neighbors in another way below 4,096.
"""

import argparse
import json
import subprocess
import sys
import time

import numpy as np

from environment import machine_line

METHODS = ("umap", "tsne", "som", "pca", "placing", "pixels")
SIDE = 96  # pixels of an image
N_FEATURES, N_GROUPS = 64, 40
N_FIRST = 4_200


def made(n_objects: int, seed: int) -> np.ndarray:
    """Groups of very different sizes in 64 dimensions, as features have; the same groups for every seed."""
    centers = np.random.default_rng(0).normal(0.0, 2.0, (N_GROUPS, N_FEATURES))
    random = np.random.default_rng([1, seed])
    group = np.minimum(random.geometric(0.1, n_objects), N_GROUPS) - 1
    return (centers[group] + random.normal(size=(n_objects, N_FEATURES))).astype(np.float32)


def run_method(method: str, n_objects: int) -> None:
    """One of them, in this process; prints seconds and peak as JSON."""
    import resource

    from peculiar.maps.placing import place
    from peculiar.maps.projection import project

    if method == "pixels":
        print(json.dumps(run_pixels(n_objects)))
        return
    vectors = made(n_objects, seed=0)

    def work(rows: np.ndarray) -> None:
        if method == "placing":
            place(made(len(rows), seed=1), rows, rows[:, :2].copy())
        else:
            project(rows, method, perplexity=min(30.0, len(rows) / 4))

    first = time.perf_counter()
    work(vectors[:N_FIRST])
    started = time.perf_counter()
    work(vectors)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(json.dumps({"seconds": seconds, "first": started - first, "peak": peak}))


def run_pixels(n_objects: int) -> dict[str, float]:
    """Principal components of the pixels of images, found on a sample, and all images brought to them, in blocks."""
    import resource

    from peculiar.maps.pixels import fit_pixels, n_pixel_images

    shape = (SIDE, SIDE, 3)

    def drawn(n: int, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)

    first = time.perf_counter()
    components = fit_pixels(drawn(min(n_objects, n_pixel_images(int(np.prod(shape)))), 0), seed=0)
    started = time.perf_counter()
    for start in range(0, n_objects, 512):
        components.transform(drawn(min(512, n_objects - start), start))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return {"seconds": time.perf_counter() - started, "first": started - first, "peak": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n_objects", type=int, nargs="?", default=20_000)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["umap", "pca", "placing"])
    parser.add_argument("--here", help="run this method here; what the script starts itself with", choices=METHODS)
    options = parser.parse_args()
    if options.here:
        run_method(options.here, options.n_objects)
        return
    print(machine_line(), f"; {options.n_objects} x {N_FEATURES}", sep="")
    print(f"{'':>8s} {'seconds':>9s} {'objects/s':>10s} {'first use s':>12s} {'peak MiB':>9s}")
    for method in options.methods:
        command = [sys.executable, __file__, str(options.n_objects), "--here", method]
        told = json.loads(
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
        )
        rate = options.n_objects / told["seconds"]
        print(f"{method:>8s} {told['seconds']:9.2f} {rate:10.0f} {told['first']:12.1f} {told['peak']:9.0f}", flush=True)


if __name__ == "__main__":
    main()
