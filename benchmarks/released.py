"""The released 3-sigma catalog through this package: read, grouped, exported, read back; prints what docs quote.

Usage: python benchmarks/released.py [CATALOG]; by default the one in ../shared/data/catalogue.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from peculiar import Atlas
from peculiar.io.exports import write_csv, write_fits, write_parquet, write_votable
from peculiar.io.imports import read_released
from peculiar.survey import Table

SHARED = Path(__file__).parents[2] / "shared" / "data" / "catalogue" / "anomaly_catalog_hsc_disc3sigma.p"
RADII = (8.0, 16.0)  # arcsec
WRITERS = {"parquet": write_parquet, "fits": write_fits, "vot": write_votable, "csv": write_csv}


def main(source: Path) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as home:
        began = time.perf_counter()
        atlas = Atlas(Path(home) / "atlas")
        run = atlas.import_release(source)
        ids = Table(atlas.folder / "catalogs" / "released" / "table.lance").object_ids()
        seconds = time.perf_counter() - began
        print(f"imported: {run.outputs['n_objects']:,} objects, {len(np.unique(ids)):,} ids, in {seconds:.1f} s")
        for kind in (np.float64, np.float32):
            print(f"as {kind.__name__} there would be {len(np.unique(ids.astype(kind))):,} ids")
        for radius in RADII:
            began = time.perf_counter()
            found = atlas.group(radius, name=f"within{radius:g}", of="catalogs/released").outputs
            print(
                f"within {radius:g} arcsec of another: {found['n_grouped']:,} in {found['n_groups']:,} groups, the "
                f"largest of {found['largest']}; one a group: {found['n_listed_one_a_group']:,}; "
                f"{time.perf_counter() - began:.1f} s"
            )
        table = read_released(source).table.combine_chunks()
        for suffix, write in WRITERS.items():
            began = time.perf_counter()
            path = Path(home) / f"catalog.{suffix}"
            write(path, table.schema, table.to_batches())
            back = read_released(path).table
            is_same = all(np.array_equal(back[name].to_numpy(), table[name].to_numpy()) for name in table.column_names)
            said = "every value the same" if is_same else "DIFFERENT"
            print(f"{suffix}: {path.stat().st_size:,} bytes, read back: {said}; {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED)
