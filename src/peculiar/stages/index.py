"""Index a feature set, so that a million objects and more are searched in milliseconds; recall is measured."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

from peculiar.feature_set import FeatureSet, scan_vectors, take_vectors, vectors_of
from peculiar.run import Run, Track, at_least, atomic, begin, finish, home_of, quiet, refuse_made_anew, write_json
from peculiar.similar import EXACT_ROWS, N_NEIGHBORS, probe, read_scale
from peculiar.survey import Table

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

LEAST_ROWS = 256  # below, partitions hold too few to learn their centers from
SAMPLE_A_PARTITION = 64  # vectors that a partition's center is learnt from; FAISS wants 39 to 256
SCAN_ROWS = 8_192
COMMIT_ROWS = 262_144
N_MEASURED = 200
N_GROUP = 10


@dataclass(frozen=True, kw_only=True)
class IndexConfig:
    """What `index` can be told."""

    features: Annotated[str, "name of the feature set to index"]
    n_partitions: Annotated[int, "partitions of the index; 0: the square root of the number of objects"] = 0
    recall: Annotated[float, "part of the true 10 nearest to find; partitions are probed until it is reached"] = 0.99
    seed: Annotated[int, "seed of the partitions and of the objects that recall is measured on"] = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        at_least(self, 0, "n_partitions")
        if not 0 < self.recall <= 1:
            raise ValueError(f"recall must be above 0 and at most 1, got {self.recall}")


def build_index(folder: Path, config: IndexConfig, *, replace: bool = False, track: Track = quiet) -> Run:
    """Fill `indices/<features>` of the atlas in `folder`: what is missing of it.

    `scale.json` freezes mean and deviation of every component, `centers.npy` the partitions' centers; `table.lance`
    holds the standardized vectors and Lance's IVF_FLAT index of them: within a partition distances are exact, so that
    the partitions probed are all that recall depends on (quantized kinds are smaller, and must look at the vectors
    again). `run.json` holds `n_probes`, how many to probe for the recall asked for, `recall_at_10` and `ms_a_query`,
    measured on 200 objects, and, with `group_` before, on the means of 200 random groups of ten.

    Raises
    ------
    ValueError
        There are too few objects, or the index is of vectors that were replaced since.
    """
    opened = FeatureSet(folder, config.features)
    if len(opened) < max(LEAST_ROWS, config.n_partitions):
        raise ValueError(
            f"an index of {config.n_partitions or 'automatic'} partitions needs at least "
            f"{max(LEAST_ROWS, config.n_partitions)} objects, and features/{config.features} has {len(opened)}; "
            f'"peculiar similar" needs none below {EXACT_ROWS:,}'
        )
    home = home_of(folder, "indices", config.features)
    table = Table(home / "table.lance")
    message = f"{home} indexes vectors that were made anew since; index again with --replace"
    reads = {f"features/{config.features}": opened.run.identity}
    refuse_made_anew(home, reads, message, replace=replace)
    run = begin(home, "index", config, inputs={"features": opened.table.version}, reads=reads, replace=replace)
    if not (home / "scale.json").exists():
        _freeze_scale(opened, home, track)
    _copy_standardized(opened, table, home, track)
    n_partitions = _partition(table, home, config, track)
    measured = _measure(table, n_partitions, config, track)
    return finish(home, run, n_objects=len(table), n_partitions=n_partitions, **measured)


def _freeze_scale(opened: FeatureSet, home: Path, track: Track) -> None:
    from peculiar.scoring.neighbors import Scale

    with track("freezing the scale", len(opened)) as advance:

        def blocks() -> "Iterator[np.ndarray]":
            for ids, vectors in opened.scan():
                yield vectors
                advance(len(ids))

        write_json(home / "scale.json", Scale.of(blocks()).to_json())


def _copy_standardized(opened: FeatureSet, table: Table, home: Path, track: Track) -> None:
    """Append the standardized vectors of objects that are not there; Lance adds them to an index that exists."""
    import pyarrow as pa

    scale = read_scale(home)
    schema = pa.schema([("object_id", pa.int64()), ("vector", pa.list_(pa.float32(), opened.n_features))])
    with track("standardizing", len(opened)) as advance:
        advance(len(table))

        def rows() -> "Iterator[pa.RecordBatch]":
            for batch in opened.table.scan(["object_id", "vector"], batch_size=SCAN_ROWS, but_not=table):
                vectors = scale.standardized(vectors_of(batch["vector"]))
                packed = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), opened.n_features)
                yield pa.record_batch([batch["object_id"], packed], schema=schema)
                advance(batch.num_rows)

        table.append_in_commits(rows(), schema, n_rows=COMMIT_ROWS)


def _partition(table: Table, home: Path, config: IndexConfig, track: Track) -> int:
    """Freeze the partitions' centers, and make Lance's index where there is none; the number of partitions."""
    import numpy as np

    path = home / "centers.npy"
    with track("indexing", None):
        if not path.exists():
            with atomic(path) as partial:
                np.save(partial, _centers(table, config))
        centers = np.load(path)
        dataset = table.open()
        made = [each.name for each in dataset.describe_indices() if each.field_names == ["vector"]]
        # Anew for objects that came later, with the same centers: Lance's own way merges partitions.
        if not made or dataset.stats.index_stats(made[0])["num_unindexed_rows"]:
            kind = {"num_partitions": len(centers), "ivf_centroids": centers}
            dataset.create_index("vector", "IVF_FLAT", replace=True, **kind)
    return len(centers)


def _centers(table: Table, config: IndexConfig) -> "np.ndarray":
    """Centers by k-means of a sample: Lance's own takes no seed, and two builds would answer differently."""
    import numpy as np
    from sklearn.cluster import MiniBatchKMeans

    n_partitions = config.n_partitions or round(np.sqrt(len(table)))
    sample = table.sample(n_partitions * SAMPLE_A_PARTITION, seed=config.seed)
    vectors = take_vectors(table, sample)
    vectors = vectors[np.isfinite(vectors).all(axis=1)]
    n_clusters = min(n_partitions, len(vectors))
    means = MiniBatchKMeans(
        n_clusters, init="random", random_state=config.seed % 2**32, batch_size=4_096, n_init=1, max_iter=10
    )
    means.fit(vectors)
    centers: np.ndarray = means.cluster_centers_[np.unique(means.labels_)].astype(np.float32)  # but for empty ones
    return centers


def _measure(table: Table, n_partitions: int, config: IndexConfig, track: Track) -> dict[str, Any]:
    """Recall and time for objects, and for the means of random groups, which lie where objects are few."""
    import numpy as np

    ids = table.sample(N_MEASURED, seed=config.seed)
    objects = take_vectors(table, ids)
    objects = objects[np.isfinite(objects).all(axis=1)].astype(np.float64)
    groups = np.stack([np.roll(objects, shift, axis=0) for shift in range(N_GROUP)]).mean(axis=0)
    with track("measuring recall", None):
        found = _probes_needed(table, objects, n_partitions, config.recall, n_own=1)
        of_groups = _probes_needed(table, groups, n_partitions, config.recall)
    return found | {f"group_{name}": value for name, value in of_groups.items()}


def _probes_needed(
    table: Table, queries: "np.ndarray", n_partitions: int, least_recall: float, *, n_own: int = 0
) -> dict[str, Any]:
    """Probe more and more partitions until enough of the true neighbors are found; `n_own` are the query itself."""
    from peculiar.scoring.neighbors import nearest_in_blocks

    _, exact = nearest_in_blocks(scan_vectors(table, SCAN_ROWS), queries, N_NEIGHBORS + n_own)
    dataset, n_probes = table.open(), 1
    while True:
        began = perf_counter()
        found = [probe(dataset, query, N_NEIGHBORS + n_own, n_probes=n_probes)[1] for query in queries]
        ms = 1e3 * (perf_counter() - began) / len(queries)
        n_right = sum(int((each <= last).sum()) - n_own for each, last in zip(found, exact[:, -1], strict=True))
        recall = n_right / max(1, exact.size - n_own * len(queries))
        if recall >= least_recall or n_probes == n_partitions:
            return {"n_probes": n_probes, "recall_at_10": recall, "ms_a_query": ms}
        n_probes = min(2 * n_probes, n_partitions)
