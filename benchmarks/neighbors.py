"""How long similar objects take to find: exactly, and by the index.

    python benchmarks/neighbors.py [N_OBJECTS N_FEATURES]

Draws vectors in clusters (100,000 x 64) into a temporary atlas. Prints seconds to open, milliseconds a query (median of
20) for one object, a group of ten and the farthest, seconds to index, recall@10 and milliseconds a query of the index,
and seconds for the mean distance of 2,000 objects to their 10 nearest.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import pyarrow as pa

from environment import machine_line
from peculiar.run import begin, finish
from peculiar.scoring.neighbors import mean_distance
from peculiar.similar import HeldVectors, Similar, VectorIndex
from peculiar.stages.index import IndexConfig, build_index
from peculiar.survey import Table

N_QUERIES = 20
N_SCORED = 2_000
BLOCK = 50_000


def write_features(folder: Path, n_objects: int, n_features: int) -> None:
    random = np.random.default_rng(0)
    centers = 2 * random.normal(size=(200, n_features))
    schema = pa.schema([("object_id", pa.int64()), ("vector", pa.list_(pa.float32(), n_features))])

    def batches():
        for start in range(0, n_objects, BLOCK):
            n = min(BLOCK, n_objects - start)
            vectors = centers[random.integers(0, len(centers), n)] + random.normal(size=(n, n_features))
            packed = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), n_features)
            yield pa.record_batch([pa.array(np.arange(start, start + n)), packed], schema=schema)

    home = folder / "features" / "drawn"
    run = begin(home, "features", IndexConfig(features="drawn"), inputs={})
    Table(home / "table.lance").append_in_commits(batches(), schema, n_rows=262_144)
    finish(home, run)


def ms(ask: Callable[[int], object]) -> float:
    taken = []
    for place in range(N_QUERIES):
        began = perf_counter()
        ask(place)
        taken.append(1e3 * (perf_counter() - began))
    return median(taken)


def main() -> None:
    n_objects, n_features = (int(each) for each in (sys.argv[1:] or (100_000, 64)))
    print(machine_line())
    print(f"{n_objects} x {n_features}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_features(folder, n_objects, n_features)
        began = perf_counter()
        similar = Similar(folder, "drawn")
        print(f"{perf_counter() - began:.2f} s to open")
        ids = np.random.default_rng(1).permutation(n_objects)

        def queries(how: str) -> None:
            print(f"{how}: {ms(lambda k: similar.to([ids[k]])):.1f} ms one object", end=", ")
            print(f"{ms(lambda k: similar.to(ids[10 * k : 10 * k + 10])):.1f} ms a group of ten", end=", ")
            print(f"{ms(lambda k: similar.to([ids[k]], is_farthest=True)):.1f} ms the farthest")

        queries("exact")
        if isinstance(similar.searched, HeldVectors):
            places = similar.searched.take(np.arange(n_objects))
            began = perf_counter()
            mean_distance(places, places[:N_SCORED], 10, own_rows=np.arange(N_SCORED))
            print(f"{perf_counter() - began:.1f} s for the mean distances of {N_SCORED}")
        began = perf_counter()
        run = build_index(folder, IndexConfig(features="drawn"))
        print(f"{perf_counter() - began:.1f} s to index: {run.outputs}")
        similar.searched = VectorIndex(folder, "drawn")
        queries("index")


if __name__ == "__main__":
    main()
