"""Time and peak memory of writing HATS at several numbers of rows: memory must not grow with them.

    python benchmarks/write_hats.py FOLDER [N_ROWS ...] [--columns 30]

Rows are made, batch by batch: a tenth in one crowded field, the others over the sky, as many columns of float64 as
told. Each number is a process of its own: its peak is what the kernel counted (ru_maxrss), less that of a process that
has only imported. The folder written is checked for its number of rows, and removed.
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

BATCH = 65_536


def write(folder: Path, n_rows: int, n_columns: int) -> None:
    """Write in this process; prints seconds, peak and sizes as JSON."""
    import resource

    import pyarrow as pa
    import pyarrow.parquet as pq

    from peculiar.io.hats import healpix_index, write_hats

    healpix_index(np.zeros(1), np.zeros(1))
    names = [f"column_{each}" for each in range(n_columns)]
    schema = pa.schema([("object_id", pa.int64()), *((name, pa.float64()) for name in ("ra", "dec", *names))])

    def batches():
        for start in range(0, n_rows, BATCH):
            n = min(BATCH, n_rows - start)
            random = np.random.default_rng(start)
            ra, dec = random.uniform(0, 360, n), np.degrees(np.arcsin(random.uniform(-1, 1, n)))
            ra[: n // 10], dec[: n // 10] = random.normal(150, 0.5, n // 10), random.normal(2, 0.5, n // 10)
            values = [random.normal(size=n) for _ in names]
            yield pa.record_batch([np.arange(start, start + n), ra, dec, *values], schema=schema)

    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    found = write_hats(folder, schema, batches, name="bench")
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle
    assert pq.read_metadata(folder / "dataset" / "_metadata").num_rows == found.n_rows == n_rows
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    told = {"seconds": seconds, "peak_mb": peak / 1e3, "partitions": found.n_partitions, "size_mb": size / 1e6}
    print(json.dumps(told))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("n_rows", type=int, nargs="*", default=[250_000, 1_000_000, 4_000_000])
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        write(asked.folder, asked.n_rows[0], asked.columns)
        return
    print(machine_line())
    for n_rows in asked.n_rows:
        folder = asked.folder / f"hats-{n_rows}"
        command = [sys.executable, __file__, str(folder), str(n_rows), "--columns", str(asked.columns), "--one"]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        shutil.rmtree(folder)
        print(
            f"{n_rows:>12,} rows: {told['seconds']:7.1f} s, peak {told['peak_mb']:6.0f} MB above idle, "
            f"{told['partitions']} partitions, {told['size_mb']:.0f} MB"
        )


if __name__ == "__main__":
    main()
