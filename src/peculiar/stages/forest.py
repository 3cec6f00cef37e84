"""Grow an Extended Isolation Forest on a feature set, and score every object of it. METHOD.md sect. 4."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from peculiar.checkpoint import file_digest, load_tensors, save_tensors
from peculiar.feature_set import SCAN_ROWS, FeatureSet, vectors_of
from peculiar.run import Run, Track, begin, finish, home_of, quiet, refuse_made_anew
from peculiar.survey import MAX_MISSING_SHOWN, Table

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

COMMIT_ROWS = 65_536  # objects a commit: what a kill loses at most


@dataclass(frozen=True, kw_only=True)
class ForestConfig:
    """What `forest` can be told."""

    features: Annotated[str, "name of the feature set to grow it on"]
    n_trees: Annotated[int, "number of trees"] = 200
    sample_size: Annotated[int, "objects that each tree is grown on"] = 256
    extension_level: Annotated[
        int, "components that a cut leans on, less one: 0 for the standard forest, -1 for all components"
    ] = -1
    max_depth: Annotated[int, "cuts on a path at most; 0 for log2 of the sample's size"] = 0
    is_standardized: Annotated[
        bool, "divide components by the sample's deviation; otherwise those with the largest numbers decide"
    ] = True
    missing: Annotated[
        Literal["refuse", "median"], "what to do with NaN and infinite components: stop, or take the sample's median"
    ] = "refuse"
    seed: Annotated[int, "seed of the samples and the cuts"] = 0
    n_threads: Annotated[int, "threads that score; 0 for one a core"] = field(default=0, compare=False)

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, least in (
            ("n_trees", 1),
            ("sample_size", 2),
            ("extension_level", -1),
            ("max_depth", 0),
            ("n_threads", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


def grow_forest(folder: Path, config: ForestConfig, *, name: str, replace: bool = False, track: Track = quiet) -> Run:
    """Fill `forests/<name>` of the atlas in `folder`: what is missing of it.

    `forest.safetensors` holds the forest, with the center and scale that vectors are standardized by, and the medians
    that stand for missing components; it is grown the first time, on objects drawn by the hash of their ids, and
    frozen. `table.lance` holds object_id and score_forest of every object of the set, larger being more anomalous;
    those that come later are scored by the same forest.

    Raises
    ------
    ValueError
        The feature set was made anew since; it has fewer than two objects; or, where `missing` is "refuse", objects
        that are still to be scored have NaN or infinite components. Then nothing was begun.
    """
    features, home = FeatureSet(folder, config.features), home_of(folder, "forests", name)
    table, path = Table(home / "table.lance"), home / "forest.safetensors"
    message = (
        f"features/{config.features} was made anew since {home} was begun; "
        "grow the forest again with --replace, or under another --name"
    )
    reads = {f"features/{config.features}": features.run.identity}
    refuse_made_anew(home, reads, message, replace=replace)
    if config.missing == "refuse":
        _refuse_missing(features, None if replace else table)
    is_new = replace or not path.exists()
    with track("growing the forest", None):
        tensors = (
            _grow(features, config) if is_new else {key: each.numpy() for key, each in load_tensors(path)[0].items()}
        )
    run = begin(home, "forest", config, inputs={"features": features.table.version}, reads=reads, replace=replace)
    if is_new:
        import torch

        save_tensors(path, {key: torch.from_numpy(each) for key, each in tensors.items()})
    _score_missing(features, table, tensors, config.n_threads, track)
    return finish(home, run, n_objects=len(table), forest=file_digest(path))


def _refuse_missing(features: FeatureSet, done: Table | None) -> None:
    import numpy as np

    found: list[int] = []
    n_found = 0
    for batch in features.table.scan(["object_id", "vector"], batch_size=SCAN_ROWS, but_not=done):
        is_missing = ~np.isfinite(vectors_of(batch["vector"])).all(axis=1)
        n_found += int(is_missing.sum())
        if len(found) < MAX_MISSING_SHOWN:
            found += batch["object_id"].to_numpy()[is_missing].tolist()
    if n_found:
        shown = ", ".join(map(str, found[:MAX_MISSING_SHOWN]))
        raise ValueError(
            f"{n_found} objects of features/{features.name} have NaN or infinite components: {shown}"
            f"{' ...' if n_found > MAX_MISSING_SHOWN else ''}; take medians in their place by --missing median "
            "(with --replace, if the forest stands)"
        )


def _grow(features: FeatureSet, config: ForestConfig) -> "dict[str, np.ndarray]":
    """The forest's arrays, and medians where they are wanted."""
    import numpy as np

    from peculiar.scoring.forest import grow

    drawn = features.table.sample(config.n_trees * config.sample_size, seed=config.seed)
    if len(drawn) < 2:
        raise ValueError(f"features/{features.name} has {len(drawn)} objects, and a forest needs two or more")
    vectors, extra = features.take(drawn), {}
    if config.missing == "median":
        vectors = np.where(np.isfinite(vectors), vectors, np.nan)
        absent = np.flatnonzero(np.isnan(vectors).all(axis=0)).tolist()
        if absent:
            raise ValueError(
                f"components {absent} of features/{features.name} are NaN or infinite in all of {len(drawn)} objects "
                "drawn, so that there is no median; make the set without them"
            )
        extra["medians"] = np.nanmedian(vectors, axis=0)
        vectors = _imputed(vectors, extra["medians"])
    if not (np.ptp(vectors, axis=0) > 0).any():
        raise ValueError(
            f"all {len(drawn)} objects drawn of features/{features.name} have the same vector, and a forest isolates "
            "what differs; look at what made the set"
        )
    random = np.random.default_rng(config.seed % 2**64)
    size = min(config.sample_size, len(drawn))
    samples = np.stack([vectors[random.choice(len(drawn), size, replace=False)] for _ in range(config.n_trees)])
    forest = grow(
        samples,
        extension_level=config.extension_level,
        max_depth=config.max_depth,
        is_standardized=config.is_standardized,
        seed=int(random.integers(2**63)),
    )
    return forest.tensors() | extra


def _imputed(vectors: "np.ndarray", medians: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return np.where(np.isfinite(vectors), vectors, medians)


def _score_missing(
    features: FeatureSet, table: Table, tensors: "dict[str, np.ndarray]", n_threads: int, track: Track
) -> None:
    """Append the score of every object that has none."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    import pyarrow as pa

    from peculiar import engine
    from peculiar.scoring.forest import Forest

    forest, medians, n_threads = Forest.from_tensors(tensors), tensors.get("medians"), n_threads or engine.n_cores()
    schema = pa.schema([("object_id", pa.int64()), ("score_forest", pa.float64())])
    with track("scoring", len(features)) as advance, ThreadPoolExecutor(n_threads) as threads:
        advance(len(table))

        def batches() -> "Iterator[pa.RecordBatch]":
            for batch in features.table.scan(["object_id", "vector"], batch_size=SCAN_ROWS, but_not=table):
                vectors = vectors_of(batch["vector"])
                if medians is not None:
                    vectors = _imputed(vectors, medians)
                scores = np.concatenate(list(threads.map(forest.score, np.array_split(vectors, n_threads))))
                yield pa.record_batch([batch["object_id"], pa.array(scores)], schema=schema)
                advance(batch.num_rows)

        table.append_in_commits(batches(), schema, n_rows=COMMIT_ROWS)
