"""How long masks take: 100,000 circles and turned boxes against 1,000,000 positions.

    python benchmarks/masks.py [N_SHAPES N_POSITIONS]

Draws a file of shapes as HSC's masks of bright stars have them (circles and boxes of a thousandth to a tenth of a
degree, over 60 x 20 degrees) and positions. Prints the processor's seconds to read the file, and of its first 2,000
shapes by the package `regions`, per 100,000; seconds to say what is inside, the fraction, and how many of 2,000
positions a test of every pair says otherwise of; seconds for five such files and a MOC; and the peak of memory.
"""

import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from environment import machine_line
from peculiar.catalog.masks import Kind, Shapes, inside_shapes, unit_vectors
from peculiar.io.regions import inside_moc, read_regions

WIDTH, HEIGHT = 60.0, 20.0  # degrees
N_BANDS = 5
N_CHECKED = 2_000


def write_shapes(path: Path, n_shapes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    ra, dec = random.uniform(0, WIDTH, n_shapes), random.uniform(-HEIGHT / 2, HEIGHT / 2, n_shapes)
    size, angle = 10 ** random.uniform(-3, -1.3, n_shapes), random.uniform(0, 180, n_shapes)
    lines = (
        f"circle({ra[k]:.6f},{dec[k]:.6f},{size[k]:.6f}d) # ID: {k}, mag: 9.5"
        if k % 2
        else f"box({ra[k]:.6f},{dec[k]:.6f},{size[k] / 5:.6f}d,{2 * size[k]:.6f}d,{angle[k]:.3f}) # ID: {k}, mag: 9.5"
        for k in range(n_shapes)
    )
    path.write_text("\n".join(["wcs; fk5", *lines]) + "\n")


def timed(act: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    began = process_time()
    result = act(*arguments)
    return process_time() - began, result


def n_otherwise(ra: np.ndarray, dec: np.ndarray, shapes: Shapes, is_inside: np.ndarray) -> int:
    """Positions of which a test of every pair, by spherical trigonometry, says otherwise."""
    n_found = 0
    vectors = unit_vectors(ra, dec)
    for place, vector in enumerate(vectors):
        apart = np.arccos(np.clip(shapes.center @ vector, -1, 1))
        east = np.cos(np.radians(dec[place])) * np.sin(np.radians(ra[place] - shapes.ra))
        north = np.sin(np.radians(dec[place])) * np.cos(np.radians(shapes.dec))
        north -= (
            np.cos(np.radians(dec[place])) * np.sin(np.radians(shapes.dec)) * np.cos(np.radians(ra[place] - shapes.ra))
        )
        turned = np.arctan2(east, north) - np.radians(shapes.angle)
        along, across = np.tan(apart) * np.cos(turned), np.tan(apart) * np.sin(turned)
        half = np.tan(np.radians(np.stack([shapes.width, shapes.height]) / 2))
        in_box = (np.abs(across) <= half[0]) & (np.abs(along) <= half[1]) & (apart < 1)
        in_circle = apart <= np.radians(shapes.width / 2)
        n_found += bool(np.where(shapes.kind == Kind.CIRCLE, in_circle, in_box).any()) != is_inside[place]
    return n_found


def main() -> None:
    n_shapes, n_positions = (int(each) for each in (sys.argv[1:] or (100_000, 1_000_000)))
    print(machine_line())
    print(f"{n_shapes} shapes, {n_positions} positions")
    random = np.random.default_rng(0)
    ra, dec = random.uniform(0, WIDTH, n_positions), random.uniform(-HEIGHT / 2, HEIGHT / 2, n_positions)
    with tempfile.TemporaryDirectory() as temporary:
        paths = [Path(temporary) / f"{band}.reg" for band in range(N_BANDS)]
        for band, path in enumerate(paths):
            write_shapes(path, n_shapes, band)
        taken, shapes = timed(read_regions, paths[0])
        print(f"{taken:.2f} s to read a file")
        by_regions(paths[0])
        taken, is_inside = timed(inside_shapes, ra, dec, shapes)
        print(f"{taken:.2f} s to say what is inside: {100 * is_inside.mean():.2f} %")
        wrong = n_otherwise(ra[:N_CHECKED], dec[:N_CHECKED], shapes, is_inside[:N_CHECKED])
        print(f"{wrong} of {N_CHECKED} positions are otherwise by a test of every pair")
        taken, _ = timed(lambda: [inside_shapes(ra, dec, read_regions(path)) for path in paths])
        print(f"{taken:.2f} s for {N_BANDS} files, read and asked")
        by_moc(Path(temporary) / "moc.fits", ra, dec)
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at the peak")


def by_regions(path: Path) -> None:
    """Read a part of a file by `regions`, and take the numbers out."""
    from regions import Regions

    lines = path.read_text().splitlines()[1 : N_CHECKED + 1]
    text = "\n".join(["fk5", *lines])
    taken, _ = timed(lambda: [(each.center.ra.deg, each.center.dec.deg) for each in Regions.parse(text, format="ds9")])
    print(f"{taken * 100_000 / len(lines):.0f} s per 100,000 shapes by the package regions")


def by_moc(path: Path, ra: np.ndarray, dec: np.ndarray) -> None:
    """Ask a MOC of ten thousand cones."""
    from astropy import units
    from mocpy import MOC

    random = np.random.default_rng(1)
    lon, lat = random.uniform(0, WIDTH, 10_000), random.uniform(-HEIGHT / 2, HEIGHT / 2, 10_000)
    moc = MOC.from_cones(
        lon * units.deg, lat * units.deg, radius=0.02 * units.deg, max_depth=14, union_strategy="large_cones"
    )
    moc.save(path, format="fits")
    taken, is_inside = timed(inside_moc, path, ra, dec)
    print(f"{taken:.2f} s to read and ask a MOC of 10,000 cones at order 14: {100 * is_inside.mean():.2f} %")


if __name__ == "__main__":
    main()
