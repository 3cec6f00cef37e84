"""Make a named vector of every object: by an autoencoder, another network, or from a table. METHOD.md sect. 4."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from peculiar.checkpoint import TrainingFolder, file_digest
from peculiar.feature_set import SCORES, Applied, applied, backbone_digest, take_vectors
from peculiar.ranking import residuals_by
from peculiar.run import Run, Track, begin, finish, home_of, quiet, read_run, read_started
from peculiar.survey import Survey, Table, first_few

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

log = logging.getLogger(__name__)
COMMIT_ROWS = 8_192  # objects a commit: what a kill loses at most
SCAN_ROWS = 128  # images at once: some tens of MB in every form they take


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig:
    """What `features` can be told."""

    source: Annotated[
        Literal["self-supervised", "detector", "autoencoder", "critic", "pretrained", "table"],
        "what the vectors are made by, or read from",
    ] = "autoencoder"
    network: Annotated[str, "name of the network that makes them, but for the critic"] = "autoencoder-residual"
    checkpoint: Annotated[int, "step of that network; 0 for the newest"] = 0
    scores: Annotated[str, "name of the scores whose latents give residuals, and whose critic is meant"] = "main"
    model: Annotated[
        str, "pretrained vision model: a folder with config.json and safetensors, or a name on Hugging Face's hub"
    ] = ""
    table: Annotated[Path, "table of vectors by id: Parquet, FITS, CSV or .npz"] = Path()
    id_column: Annotated[str, "column of ids in the table; empty: object_id"] = ""
    columns: Annotated[
        tuple[str, ...], "columns of the table that make the vector; empty: its one column of lists, or all numbers"
    ] = ()
    device: Annotated[str, "auto, cpu, cuda or mps"] = field(default="auto", compare=False)

    def __post_init__(self) -> None:
        """Check that a table, or a model, is meant where one is given."""
        if bool(self.model) != (self.source == "pretrained"):
            raise ValueError(
                f'a pretrained model is given by source "pretrained" and model NAME together, got source '
                f"{self.source!r} and model {self.model!r}"
            )
        if (self.table != Path()) != (self.source == "table"):
            raise ValueError(
                f'a table of vectors is given by source "table" and table FILE together, got source {self.source!r} '
                f"and table {str(self.table)!r}"
            )


@dataclass(frozen=True)
class _Source:
    """Where vectors come from: `digests` pin it, `provenance` names it, `rows` gives what a set does not have yet.

    `reads` are the folders that it is made of, by identity. A table is pinned by its numbers instead, as it may grow.
    """

    digests: dict[str, str]  # vectors of two must never stand in one set
    provenance: dict[str, Any]
    n_features: int
    rows: "Callable[[Table], Iterator[dict[str, np.ndarray]]]"  # object_id, vector, and perhaps the score
    reads: dict[str, str] = field(default_factory=dict)


def make_features(
    folder: Path, config: FeaturesConfig, *, name: str, replace: bool = False, track: Track = quiet
) -> Run:
    """Fill `features/<name>` of the atlas in `folder`: what is missing of it.

    `table.lance` holds object_id, vector (float32) and, of an autoencoder, score_autoencoder: the sum of absolute
    differences of what it was given, from 0 to 1, and what it gives back; of a detector, score_foreign: the odds
    that light is foreign to the survey, of the four places where that is surest. An image's vector does not depend on
    what it is computed beside. From a table come the objects that it has a row of, NaN kept as it is; the record counts
    the others, and the rows that belong to no object.

    Raises
    ------
    ValueError
        The set was made by another network or table; vectors of two must never stand in one set.
    """
    from peculiar import engine

    engine.tune()
    survey = Survey(folder / "survey" / "table.lance")
    home = home_of(folder, "features", name)
    opened = {
        "self-supervised": _of_self_supervised,
        "detector": _of_detector,
        "autoencoder": _of_autoencoder,
        "critic": _of_critic,
        "pretrained": _of_pretrained,
        "table": _of_table,
    }
    source = opened[config.source](folder, survey, config)
    _refuse_another_source(home, source.digests, source.reads, replace)
    inputs = {"survey": survey.version, **source.digests}
    run = begin(home, "features", config, inputs=inputs, reads=source.reads, replace=replace)
    table = Table(home / "table.lance")
    _append_missing(table, source, len(survey), SCORES.get(config.source), track)
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


def _refuse_another_source(home: Path, digests: dict[str, str], reads: dict[str, str], replace: bool) -> None:
    before = read_run(home) or read_started(home)
    if before is None or replace:
        return
    pinned = {which: before.inputs[which] for which in digests if which in before.inputs}
    now = {which: digests[which] for which in pinned}
    if pinned != now or any(before.reads.get(place, identity) != identity for place, identity in reads.items()):
        changed = [which for which in pinned if pinned[which] != now[which]]
        changed += [place for place, identity in reads.items() if before.reads.get(place, identity) != identity]
        raise ValueError(
            f"{home} was made by another {', '.join(changed)} than is there now; "
            "make features under another --name, or with --replace"
        )


def _append_missing(table: Table, source: _Source, n_objects: int, score: str | None, track: Track) -> None:
    import pyarrow as pa

    fields = [("object_id", pa.int64()), ("vector", pa.list_(pa.float32(), source.n_features))]
    schema = pa.schema(fields + ([(score, pa.float32())] if score else []))
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
    trained, path, pinned, reads = _trained(folder, config, "train-autoencoder")
    residuals = None
    if trained.config["of"] == "residual":
        scored = _scored(folder, config.scores)
        facts = Table(home_of(folder, "scores", config.scores) / "table.lance")
        if trained.inputs["gan"] != scored.inputs["gan"]:
            raise ValueError(
                f"networks/{config.network} was trained on residuals of generator {trained.inputs['gan']}, and "
                f"scores/{config.scores} were made with {scored.inputs['gan']}; train the autoencoder again under "
                "another --name, or with --replace"
            )
        _refuse_unscored(survey, facts, config.scores)
        pinned |= {"gan": scored.inputs["gan"]}
        reads |= {f"scores/{config.scores}": scored.identity}
        residuals = residuals_by(folder, scored, facts, config.device)
    network = applied(path, pinned["network"], "autoencoder", config.device)
    provenance = _provenance(folder, path, pinned) | {"of": trained.config["of"]}
    rows = _by_network(survey, network, SCORES["autoencoder"], residuals)
    return _Source(pinned, provenance, network.n_features, rows, reads)


def _of_self_supervised(folder: Path, survey: Survey, config: FeaturesConfig) -> _Source:
    _, path, pinned, reads = _trained(folder, config, "train-features")
    network = applied(path, pinned["network"], "self-supervised", config.device)
    rows = _by_network(survey, network)
    return _Source(pinned, _provenance(folder, path, pinned), network.n_features, rows, reads)


def _of_detector(folder: Path, survey: Survey, config: FeaturesConfig) -> _Source:
    _, path, pinned, reads = _trained(folder, config, "train-detector")
    network = applied(path, pinned["network"], "detector", config.device)
    rows = _by_network(survey, network, SCORES["detector"])
    return _Source(pinned, _provenance(folder, path, pinned), network.n_features, rows, reads)


def _of_critic(folder: Path, survey: Survey, config: FeaturesConfig) -> _Source:
    """The critic's last convolution, its mean over all places: 8 times its width."""
    scored = _scored(folder, config.scores)
    place, digest = scored.outputs["networks"]["gan"], scored.inputs["gan"]
    network = applied(folder / place, digest, "critic", config.device)
    rows = _by_network(survey, network)
    return _Source({"gan": digest}, {"network": place, "digest": digest}, network.n_features, rows)


def _of_pretrained(folder: Path, survey: Survey, config: FeaturesConfig) -> _Source:
    """A model of Hugging Face's from a folder, or from the hub, whose copy is kept where that package keeps it."""
    path = Path(config.model).expanduser()
    if not path.is_dir():
        try:
            from huggingface_hub import snapshot_download
        except ImportError as error:
            raise ImportError('the hub needs transformers; pip install "peculiar[pretrained]"') from error
        try:
            path = Path(snapshot_download(config.model, allow_patterns=["*.json", "*.safetensors"]))
        except (OSError, ValueError) as error:
            raise ValueError(f"model {config.model!r} is no folder, and cannot be had from the hub: {error}") from error
    digest = backbone_digest(path)
    network = applied(path, digest, "pretrained", config.device)
    provenance = {"network": str(path.resolve()), "model": config.model, "digest": digest}
    return _Source({"network": digest}, provenance, network.n_features, _by_network(survey, network))


def _trained(folder: Path, config: FeaturesConfig, stage: str) -> tuple[Run, Path, dict[str, str], dict[str, str]]:
    """The record of a network's training, its checkpoint, and what pins them."""
    home = home_of(folder, "networks", config.network)
    trained = read_run(home)
    if trained is None:
        raise FileNotFoundError(f'{home} is not complete; run "peculiar {stage}" first')
    if trained.stage != stage:
        raise ValueError(f"{home} was made by {trained.stage}, and source {config.source!r} needs one by {stage}")
    path = TrainingFolder(home).checkpoint_path(config.checkpoint)
    return trained, path, {"network": file_digest(path)}, {f"networks/{config.network}": trained.identity}


def _provenance(folder: Path, path: Path, pinned: dict[str, str]) -> dict[str, Any]:
    return {"network": path.relative_to(folder).as_posix(), "digest": pinned["network"]}


def _scored(folder: Path, scores: str) -> Run:
    scored = read_run(home_of(folder, "scores", scores))
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
    network: Applied,
    score: str = "",
    residuals: "Callable[[np.ndarray, np.ndarray], np.ndarray] | None" = None,
) -> "Callable[[Table], Iterator[dict[str, np.ndarray]]]":
    """What the network makes of the images, or residuals, of objects that a set does not have."""
    import numpy as np

    def rows(present: Table) -> "Iterator[dict[str, np.ndarray]]":
        for batch in survey.scan(["object_id", "image"], batch_size=SCAN_ROWS, but_not=present):
            object_id = batch["object_id"].to_numpy().astype(np.int64)
            images = survey.images_of(batch)
            vectors, scores = network(images if residuals is None else residuals(object_id, images))
            columns = {"object_id": object_id, "vector": vectors}
            yield columns if scores is None else columns | {score: scores}

    return rows


# Tables.


def _of_table(folder: Path, survey: Survey, config: FeaturesConfig) -> _Source:
    import numpy as np

    from peculiar.io.vectors import open_vectors

    opened = open_vectors(config.table, config.id_column, config.columns)
    object_id, known = opened.object_id, survey.object_ids()
    is_known = opened.has_id & np.isin(object_id, known)
    ids, counts = np.unique(object_id[is_known], return_counts=True)
    if not len(ids):
        raise ValueError(f"no row of {config.table} belongs to an object of the survey; check its ids, or --id-column")
    if (counts > 1).any():
        raise ValueError(f"{config.table} has object {ids[counts > 1][0]} more than once; leave one row of it")
    log.info("%d rows of %s belong to %d objects, the others to none", len(object_id), config.table, len(ids))
    log.info("vectors of %d numbers, of %s", opened.n_features, ", ".join(opened.names))

    def rows(present: Table) -> "Iterator[dict[str, np.ndarray]]":
        done, start = present.object_ids(), 0
        for vectors in opened.batches():
            place = slice(start, start + len(vectors))
            mine, is_mine = object_id[place], is_known[place]
            is_done = is_mine & np.isin(mine, done)
            _refuse_changed(present, mine[is_done], vectors[is_done], config.table)
            is_new = is_mine & ~is_done
            if is_new.any():
                yield {"object_id": mine[is_new], "vector": vectors[is_new]}
            start += len(vectors)

    provenance = {
        "table": str(config.table),
        "digest": file_digest(config.table),
        "columns": list(opened.names),
        "n_rows": len(object_id),
        "n_unknown": len(object_id) - len(ids),
    }
    return _Source({}, provenance, opened.n_features, rows)


def _refuse_changed(present: Table, object_id: "np.ndarray", vectors: "np.ndarray", path: Path) -> None:
    """Stop where a table that has grown since has another vector of an object that the set has."""
    import numpy as np

    if not len(object_id):
        return
    before = take_vectors(present, object_id)
    is_other = np.ones(len(before), bool)
    if before.shape == vectors.shape:
        is_other = ~((before == vectors) | (np.isnan(before) & np.isnan(vectors))).all(axis=1)
    if is_other.any():
        raise ValueError(
            f"{path} has other vectors than {present.path.parent} was made of: of object "
            f"{first_few(object_id[is_other])}; make features under another --name, or with --replace"
        )
