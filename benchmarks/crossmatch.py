"""Counterparts of a million objects in a local table of five million rows: seconds, and peak memory.

    python benchmarks/crossmatch.py [N_OBJECTS] [N_ROWS] [--kind parquet|fits|csv]

Positions are drawn over 900 square degrees. A tenth of the objects have a counterpart, 0.3 arcsec away in either
coordinate; the other rows lie at random, so that it is known how many of the matched are so by chance. The stage runs
in a process of its own, whose peak is what the kernel counted (VmHWM: ru_maxrss has the parent's in it).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from astropy.table import Table

RADIUS, SCATTER, SIDE = 2.0, 0.3, 30.0  # arcsec, arcsec, degrees


def positions(random: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Drawn evenly over a square on the equator."""
    ra = 150 + random.uniform(0, SIDE, n)
    high = np.sin(np.radians(SIDE / 2))
    return ra, np.degrees(np.arcsin(random.uniform(-high, high, n)))


def made(folder: Path, n_objects: int, n_rows: int, kind: str) -> tuple[Path, Path]:
    """A catalog of objects as the released one is, and the table."""
    random = np.random.default_rng(0)
    ra, dec = positions(random, n_objects)
    ids = np.arange(n_objects, dtype=np.int64)
    pq.write_table(pa.table({"object_id": ids, "ra": ra, "dec": dec}), folder / "objects.parquet")
    n_true = n_objects // 10
    their_ra, their_dec = positions(random, n_rows)
    offset = random.normal(0, SCATTER / 3600, (2, n_true))
    their_ra[:n_true] = ra[:n_true] + offset[0] / np.cos(np.radians(dec[:n_true]))
    their_dec[:n_true] = dec[:n_true] + offset[1]
    order = random.permutation(n_rows)
    rows = {"ra": their_ra[order], "dec": their_dec[order], "number": order, "mag": random.uniform(18, 25, n_rows)}
    path = folder / f"table.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table(rows), path)
    elif kind == "csv":
        pa.csv.write_csv(pa.table(rows), path)
    else:
        Table(rows).write(path)
    return folder / "objects.parquet", path


def peak_memory() -> float:
    """Of this process so far, MiB; Linux alone."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 2**10


def run_stage(atlas_folder: Path, table: Path) -> None:
    """The stage in this process; prints seconds, peaks and counts as JSON."""
    from peculiar.stages.crossmatch import CrossmatchConfig, crossmatch

    config = CrossmatchConfig(table=table, radius_arcsec=RADIUS, columns=("number", "mag"), of="catalogs/released")
    before = peak_memory()
    started = time.perf_counter()
    run = crossmatch(atlas_folder, config)
    print(
        json.dumps({"seconds": time.perf_counter() - started, "before": before, "peak": peak_memory(), **run.outputs})
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("n_objects", type=int, nargs="?", default=1_000_000)
    parser.add_argument("n_rows", type=int, nargs="?", default=5_000_000)
    parser.add_argument("--kind", choices=("parquet", "fits", "csv"), default="parquet")
    parser.add_argument("--stage", nargs=2, type=Path, help="run the stage here; what the script starts itself with")
    options = parser.parse_args()
    if options.stage:
        run_stage(*options.stage)
        return
    from peculiar import Atlas

    with tempfile.TemporaryDirectory() as home:
        objects, table = made(Path(home), options.n_objects, options.n_rows, options.kind)
        atlas = Path(home) / "atlas"
        Atlas(atlas).import_release(objects)
        done = subprocess.run(
            [sys.executable, __file__, "--stage", str(atlas), str(table)], capture_output=True, text=True, check=True
        )
        told = json.loads(done.stdout.splitlines()[-1])
        n_more = told["n_matched"] - options.n_objects // 10
        print(
            f"{options.n_objects:,} objects, {options.n_rows:,} rows ({options.kind}, "
            f"{table.stat().st_size / 2**20:,.0f} MiB): {told['seconds']:.1f} s, peak {told['peak']:,.0f} MiB "
            f"({told['before']:,.0f} before); {told['n_matched']:,} matched, {n_more:,} more than were "
            f"planted; expected by chance {told['n_false']:,.0f}"
        )


if __name__ == "__main__":
    main()
