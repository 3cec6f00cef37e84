"""Score every object by how far its nearest neighbors in a feature set are. METHOD.md sect. 8."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from peculiar.checkpoint import load_tensors, save_tensors
from peculiar.feature_set import FeatureSet, vectors_of
from peculiar.run import Run, Track, at_least, begin, finish, home_of, quiet, refuse_made_anew
from peculiar.survey import Table, located

if TYPE_CHECKING:
    import pyarrow as pa

COMMIT_ROWS = 65_536
SCAN_ROWS = 8_192


@dataclass(frozen=True, kw_only=True)
class NeighborsConfig:
    """What `neighbors` can be told."""

    features: Annotated[str, "name of the feature set"] = "self-supervised"
    look: Annotated[
        Literal["all", "frame", "center"], "of self-supervised features: those of the frame or of its center alone"
    ] = "all"
    n_neighbors: Annotated[int, "nearest ones whose mean distance counts"] = 10
    n_reference: Annotated[int, "objects, taken at random, that distances are to; frozen"] = 20_000
    seed: Annotated[int, "seed of that sample"] = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        at_least(self, 1, "n_neighbors")
        if self.n_reference <= self.n_neighbors:
            raise ValueError(
                f"n_reference must be more than the {self.n_neighbors} neighbors that are sought in it, "
                f"got {self.n_reference}"
            )


def measure_neighbors(
    folder: Path, config: NeighborsConfig, *, name: str, replace: bool = False, track: Track = quiet
) -> Run:
    """Fill `neighbors/<name>` of the atlas in `folder`: what is missing of it.

    `table.lance` holds object_id and score_neighbors, the mean distance of an object's standardized vector to its
    nearest among a sample, itself left out; `reference.safetensors` holds that sample (object_id, vector) with the
    mean and deviation that vectors are standardized by. It is frozen, so that what comes later moves nothing, and
    memory and time an object do not grow with the survey. Objects without a finite vector are left out and counted.

    Raises
    ------
    ValueError
        The feature set was made anew since, has too few objects, or not the look that is asked for.
    """
    features, home = FeatureSet(folder, config.features), home_of(folder, "neighbors", name)
    if len(features) <= config.n_neighbors:
        raise ValueError(
            f"{config.n_neighbors} neighbors are sought among others, and features/{config.features} has "
            f"{len(features)} objects; take fewer by --n-neighbors"
        )
    part = _part(features, config)
    message = (
        f"features/{config.features} was made anew since {home} was; "
        "measure neighbors again with --replace, or under another --name"
    )
    reads = {f"features/{config.features}": features.run.identity}
    refuse_made_anew(home, reads, message, replace=replace)
    run = begin(home, "neighbors", config, inputs={"features": features.table.version}, reads=reads, replace=replace)
    if not (home / "reference.safetensors").exists():
        _freeze(features, part, config, home, track)
    table = Table(home / "table.lance")
    _append_missing(features, part, table, config, home, track)
    return finish(home, run, n_objects=len(table), n_without_vector=len(features) - len(table))


def _part(features: FeatureSet, config: NeighborsConfig) -> slice:
    """The numbers of a vector that distances are measured in."""
    if config.look == "all":
        return slice(None)
    from peculiar.networks.contrastive import LOOKS

    if features.run.outputs["kind"] != "self-supervised":
        raise ValueError(
            f"features/{features.name} has no look {config.look!r}, as it was made by {features.run.outputs['kind']}; "
            "only self-supervised features look twice"
        )
    length, place = features.n_features // len(LOOKS), LOOKS.index(config.look)
    return slice(place * length, (place + 1) * length)


def _freeze(features: FeatureSet, part: slice, config: NeighborsConfig, home: Path, track: Track) -> None:
    import numpy as np
    import torch

    from peculiar.scoring.neighbors import Scale

    with track("freezing the reference", None):
        object_id = np.sort(features.table.sample(config.n_reference, seed=config.seed))
        vectors = features.take(object_id)[:, part]
        with np.errstate(over="ignore", invalid="ignore"):  # numbers near the end of float32: no vector of use
            scale = Scale.of([vectors])
            standardized = scale.standardized(vectors)
        is_usable = np.isfinite(standardized).all(axis=1)
        if not is_usable.any():
            raise ValueError(f"no vector of features/{features.name} can be standardized; their numbers are too large")
        columns = {"object_id": object_id[is_usable], "vector": standardized[is_usable]}
        columns |= {"mean": scale.mean, "deviation": scale.deviation}
        save_tensors(home / "reference.safetensors", {key: torch.from_numpy(each) for key, each in columns.items()})


def _append_missing(
    features: FeatureSet, part: slice, table: Table, config: NeighborsConfig, home: Path, track: Track
) -> None:
    """Append the score of every object that has a vector and no score."""
    import numpy as np
    import pyarrow as pa

    from peculiar.scoring.neighbors import Scale, mean_distance

    frozen = {key: each.numpy() for key, each in load_tensors(home / "reference.safetensors")[0].items()}
    scale, known = Scale(frozen["mean"], frozen["deviation"]), frozen["object_id"]
    schema = pa.schema([("object_id", pa.int64()), ("score_neighbors", pa.float64())])
    with track("measuring neighbors", len(features)) as advance:
        advance(len(table))

        def batches() -> "Iterator[pa.RecordBatch]":
            for batch in features.table.scan(["object_id", "vector"], batch_size=SCAN_ROWS, but_not=table):
                object_id = batch["object_id"].to_numpy().astype(np.int64)
                row, is_known = located(known, object_id)
                own_rows = np.where(is_known, row, -1)
                vectors = scale.standardized(vectors_of(batch["vector"])[:, part])
                distance = mean_distance(frozen["vector"], vectors, config.n_neighbors, own_rows=own_rows)
                kept = np.isfinite(distance)
                yield pa.record_batch([pa.array(object_id[kept]), pa.array(distance[kept])], schema=schema)
                advance(batch.num_rows)

        table.append_in_commits(batches(), schema, n_rows=COMMIT_ROWS)
