"""Make a named vector of every object: by an autoencoder, by the critic, or from a table. METHOD.md sect. 4."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from peculiar.checkpoint import TrainingFolder, file_digest, load_network, load_pinned
from peculiar.ranking import residuals_by
from peculiar.run import Run, Track, begin, finish, quiet, read_run, read_started
from peculiar.survey import Survey, Table

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from torch import Tensor, nn

log = logging.getLogger(__name__)
COMMIT_ROWS = 8_192  # objects a commit: what a kill loses at most
SCAN_ROWS = 128  # images at once: some tens of MB in every form they take
TABLE_ROWS = 8_192  # rows of a table at once


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig:
    """What `features` can be told."""

    source: Annotated[Literal["autoencoder", "critic", "table"], "what the vectors are made by, or read from"] = (
        "autoencoder"
    )
    network: Annotated[str, "name of the autoencoder"] = "autoencoder-residual"
    checkpoint: Annotated[int, "step of the autoencoder; 0 for the newest"] = 0
    scores: Annotated[str, "name of the scores whose latents give residuals, and whose critic is meant"] = "main"
    table: Annotated[Path, "table of vectors by id: Parquet, FITS or .npz"] = Path()
    id_column: Annotated[str, "column of ids in the table; empty: object_id"] = ""
    device: Annotated[str, "auto, cpu, cuda or mps"] = field(default="auto", compare=False)


@dataclass(frozen=True)
class _Source:
    """Where vectors come from: `digests` pin it, `provenance` names it, `rows` gives what a set does not have yet."""

    digests: dict[str, str]
    provenance: dict[str, Any]
    n_features: int
    rows: "Callable[[Table], Iterator[dict[str, np.ndarray]]]"  # object_id, vector, and perhaps scores


def make_features(
    folder: Path, config: FeaturesConfig, *, name: str, replace: bool = False, track: Track = quiet
) -> Run:
    """Fill `features/<name>` of the atlas in `folder`: what is missing of it.

    `table.lance` holds object_id, vector (float32) and, of an autoencoder, score_autoencoder: the sum of absolute
    differences of what it was given, from 0 to 1, and what it gives back. An image's vector does not depend on what it
    is computed beside. From a table come the objects that it has a row of, NaN kept as it is; the record counts the
    others, and the rows that belong to no object.

    Raises
    ------
    ValueError
        The set was made by another network or table; vectors of two must never stand in one set.
    """
    from peculiar import engine

    engine.tune()
    survey = Survey(folder / "survey" / "table.lance")
    home = folder / "features" / name
    opened = {"autoencoder": _of_autoencoder, "critic": _of_critic, "table": _of_table}
    source = opened[config.source](folder, survey, config)
    _refuse_another_source(home, source.digests, replace)
    inputs = {"survey": survey.version, **source.digests}
    run = begin(home, "features", config, inputs=inputs, replace=replace)
    table = Table(home / "table.lance")
    _append_missing(table, source, len(survey), has_score=config.source == "autoencoder", track=track)
    n_objects = len(table)
    return finish(
        home,
        run,
        kind=config.source,
        n_features=source.n_features,
        provenance=source.provenance,
        n_objects=n_objects,
        n_missing=len(survey) - n_objects,
    )


def _refuse_another_source(home: Path, digests: dict[str, str], replace: bool) -> None:
    before = read_run(home) or read_started(home)
    if before is None or replace:
        return
    pinned = {which: before.inputs[which] for which in digests if which in before.inputs}
    now = {which: digests[which] for which in pinned}
    if pinned != now:
        raise ValueError(
            f"{home} was made by {pinned}, and they are now {now}; "
            "make features under another --name, or with --replace"
        )


def _append_missing(table: Table, source: _Source, n_objects: int, *, has_score: bool, track: Track) -> None:
    import pyarrow as pa

    fields = [("object_id", pa.int64()), ("vector", pa.list_(pa.float32(), source.n_features))]
    schema = pa.schema(fields + [("score_autoencoder", pa.float32())] * has_score)
    with track("making features", n_objects) as advance:
        advance(len(table))

        def batches() -> "Iterator[pa.RecordBatch]":
            for columns in source.rows(table):
                flat = pa.array(columns["vector"].reshape(-1), pa.float32())
                columns |= {"vector": pa.FixedSizeListArray.from_arrays(flat, source.n_features)}
                yield pa.record_batch([pa.array(columns[each]) for each in schema.names], schema=schema)
                advance(len(columns["object_id"]))

        table.append_in_commits(batches(), schema, n_rows=COMMIT_ROWS)


# Networks.


def _of_autoencoder(folder: Path, survey: Survey, config: FeaturesConfig) -> _Source:
    from peculiar.networks.autoencoder import Autoencoder

    home = folder / "networks" / config.network
    trained = read_run(home)
    if trained is None:
        raise FileNotFoundError(f'{home} is not complete; run "peculiar train-autoencoder" first')
    path = TrainingFolder(home).checkpoint_path(config.checkpoint)
    digests = {"network": file_digest(path)}
    residuals = None
    if trained.config["of"] == "residual":
        scored = _scored(folder, config.scores)
        facts = Table(folder / "scores" / config.scores / "table.lance")
        if trained.inputs["gan"] != scored.inputs["gan"]:
            raise ValueError(
                f"{home} was trained on residuals of generator {trained.inputs['gan']}, and scores/{config.scores} "
                f"were made with {scored.inputs['gan']}; train the autoencoder again under another --name"
            )
        _refuse_unscored(survey, facts, config.scores)
        digests |= {"gan": scored.inputs["gan"], "scores": scored.identity}
        residuals = residuals_by(folder, scored, facts, config.device)
    network = load_network(path, "autoencoder", Autoencoder)

    def encode(batch: "Tensor") -> "tuple[Tensor, Tensor]":
        features = network.encode(batch)
        return features, (network.decode(features) - batch).abs().sum((1, 2, 3))

    place = path.relative_to(folder).as_posix()
    provenance = {"network": place, "digest": digests["network"], "of": trained.config["of"]}
    rows = _by_network(survey, network, encode, ("vector", "score_autoencoder"), config.device, residuals)
    return _Source(digests, provenance, network.n_features, rows)


def _of_critic(folder: Path, survey: Survey, config: FeaturesConfig) -> _Source:
    """The critic's last convolution, its mean over all places: 8 times its width."""
    from peculiar.networks.gan import Critic

    scored = _scored(folder, config.scores)
    place, digest = scored.outputs["networks"]["gan"], scored.inputs["gan"]
    critic = load_pinned(folder / place, digest, "critic", Critic)

    def pool(batch: "Tensor") -> "tuple[Tensor]":
        return (critic.features(batch).mean((2, 3)),)

    n_features = len(critic.trunk.layers[-1].get_parameter("weight"))
    rows = _by_network(survey, critic, pool, ("vector",), config.device)
    return _Source({"gan": digest}, {"network": place, "digest": digest}, n_features, rows)


def _scored(folder: Path, scores: str) -> Run:
    scored = read_run(folder / "scores" / scores)
    if scored is None:
        raise FileNotFoundError(f'scores/{scores} is not complete in {folder}; run "peculiar score" first')
    return scored


def _refuse_unscored(survey: Survey, facts: Table, scores: str) -> None:
    import numpy as np

    n_unscored = len(np.setdiff1d(survey.object_ids(), facts.object_ids()))
    if n_unscored:
        raise ValueError(
            f"{n_unscored} objects of the survey have no latent in scores/{scores}, and so no residual; "
            'run "peculiar score" first'
        )


def _by_network(
    survey: Survey,
    network: "nn.Module",
    apply: "Callable[[Tensor], tuple[Tensor, ...]]",
    names: tuple[str, ...],
    device: str,
    residuals: "Callable[[np.ndarray, np.ndarray], np.ndarray] | None" = None,
) -> "Callable[[Table], Iterator[dict[str, np.ndarray]]]":
    """What `apply` makes, in float32, of the images or residuals of objects that a set does not have."""
    import numpy as np
    import torch

    from peculiar import engine
    from peculiar.scoring.reconstruction import in_batches

    machine = engine.machine(device)
    machine.place(network)

    def rows(present: Table) -> "Iterator[dict[str, np.ndarray]]":
        for batch in survey.scan(["object_id", "image"], batch_size=SCAN_ROWS, but_not=present):
            object_id = batch["object_id"].to_numpy().astype(np.int64)
            images = survey.images_of(batch)
            given = images if residuals is None else residuals(object_id, images)
            with torch.no_grad():
                made = in_batches(apply, machine.tensor(given))
            yield {"object_id": object_id, **{name: each.cpu().numpy() for name, each in zip(names, made, strict=True)}}

    return rows


# Tables.


def _of_table(folder: Path, survey: Survey, config: FeaturesConfig) -> _Source:
    import numpy as np

    from peculiar.io.ids import exact_ids
    from peculiar.io.vectors import id_and_vectors, matrix, open_table

    path, opened = config.table, open_table(config.table)
    id_name, names = id_and_vectors(opened.schema, path, config.id_column)
    ids = exact_ids(opened.to_table([id_name])[id_name], id_name)
    object_id = ids.fill_null(0).to_numpy()
    is_known = np.isin(object_id, survey.object_ids()) & ids.is_valid().to_numpy(zero_copy_only=False)
    known, counts = np.unique(object_id[is_known], return_counts=True)
    if not len(known):
        raise ValueError(f"no row of {path} belongs to an object of the survey; check its ids, or give --id-column")
    if (counts > 1).any():
        raise ValueError(f"{path} has object {known[counts > 1][0]} more than once; leave one row of it")
    log.info("%d rows of %s belong to %d objects, the others to none", len(ids), path, len(known))

    def vectors() -> "Iterator[np.ndarray]":
        for batch in opened.to_batches(names, batch_size=TABLE_ROWS, batch_readahead=1):
            if batch.num_rows:
                yield matrix(batch, path)

    n_features = next(vectors()).shape[1]

    def rows(present: Table) -> "Iterator[dict[str, np.ndarray]]":
        is_wanted = is_known & ~np.isin(object_id, present.object_ids())
        start = 0
        for each in vectors():
            if each.shape[1] != n_features:
                raise ValueError(f"{path} has vectors of {n_features} and {each.shape[1]} numbers; make them equal")
            mine = start + np.flatnonzero(is_wanted[start : start + len(each)])
            if len(mine):
                yield {"object_id": object_id[mine], "vector": each[mine - start]}
            start += len(each)

    digest = file_digest(path)
    counted = {"n_rows": len(ids), "n_unknown": len(ids) - len(known)}
    return _Source({"table": digest}, {"table": str(path), "digest": digest, **counted}, n_features, rows)
