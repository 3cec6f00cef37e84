"""The released 3-sigma catalog: imported, grouped, compared, exported, read back; prints what docs quote.

Usage: python benchmarks/released.py [CATALOG]; by default the one in ../shared/data/catalogue.
"""

import sys
import tempfile
import time
from pathlib import Path

import astropy.table
import numpy as np
import pyarrow.parquet as pq

from peculiar import Atlas
from peculiar.survey import Table

SHARED = Path(__file__).parents[2] / "shared" / "data" / "catalogue" / "anomaly_catalog_hsc_disc3sigma.p"
RADII = (8.0, 16.0)  # arcsec


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
        began = time.perf_counter()
        compared = atlas.compare(of="catalogs/released").outputs["samples"]
        print(f"compared: {compared} above 3 sigma; {time.perf_counter() - began:.1f} s")
        began = time.perf_counter()
        atlas.export(of="catalogs/released", formats=("parquet", "fits", "votable", "csv", "hats"))
        products = atlas.folder / "products" / "main"
        print(f"exported in five formats in {time.perf_counter() - began:.1f} s")
        for name in ("catalog.parquet", "catalog.fits", "catalog.vot", "catalog.csv"):
            back = np.sort(np.asarray(read_back(products / name), np.int64))
            print(f"{name}: read back, ids {'the same' if np.array_equal(back, np.sort(ids)) else 'DIFFERENT'}")
        parts = sorted((products / "catalog_hats").rglob("Npix=*.parquet"))
        back = np.concatenate([pq.read_table(each)["object_id"].to_numpy() for each in parts])
        print(f"HATS: read back, ids {'the same' if np.array_equal(np.sort(back), np.sort(ids)) else 'DIFFERENT'}")


def read_back(path: Path) -> np.ndarray:
    """Ids of an exported table, as astropy or pyarrow reads it."""
    if path.suffix == ".parquet":
        return pq.read_table(path)["object_id"].to_numpy()
    return astropy.table.Table.read(path)["object_id"]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED)
