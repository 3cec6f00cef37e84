"""Learn from labels what is of interest, predict it for all, and say which to look at next. METHOD.md sect. 8."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from peculiar.checkpoint import file_digest
from peculiar.labels import Labels
from peculiar.learning import BORING, Evidence, Model, Predictor, classes_of, gained, ids_of, learn, liked, presumes
from peculiar.run import Run, Track, at_least, begin, finish, home_of, quiet, read_run, save_figure, write_json
from peculiar.survey import Table, first_few, hashed, located

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)
NO_LABELS = (
    'interest is learnt from labels; label some objects in "peculiar explore", or give a table of them, as '
    "--labels labels.csv"
)
INTERESTING = 0.5  # a grade above is one that was found


@dataclass(frozen=True, kw_only=True)
class LearnConfig:
    """What `learn` can be told."""

    labels: Annotated[
        Path,
        "table of object_id and label (a class) or grade (0 to 1), and perhaps expert: CSV, Parquet, FITS, VOTable; "
        "empty: what was said in the explorer",
    ] = field(default=Path(), compare=False)
    features: Annotated[str, "feature set that objects are alike in"] = "self-supervised"
    ranking: Annotated[str, "ranking whose scores are looked at beside"] = "main"
    like: Annotated[tuple[str, ...], "classes that are of interest; empty: all that are not unlike"] = ()
    unlike: Annotated[
        tuple[str, ...], f"classes that are of none, where like is empty; empty: {', '.join(BORING)}"
    ] = ()
    model: Annotated[Model, "what learns"] = "gaussian-process"
    acquisition: Annotated[
        Literal["upper-bound", "expected-improvement", "uncertainty", "disagreement"], "what is asked for next"
    ] = "upper-bound"
    n_next: Annotated[int, "objects to look at next"] = field(default=20, compare=False)
    control: Annotated[float, "part of these that is taken at random, so that rates are known"] = 0.1
    seed: Annotated[int, "seed of the control sample and the model"] = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        at_least(self, 1, "n_next")
        if not 0 <= self.control <= 1:
            raise ValueError(f"control must be from 0 to 1, got {self.control}")


@dataclass(frozen=True)
class _Labels:
    """What was said of each object that was labelled, in the order of the first word on it."""

    object_id: np.ndarray
    grade: np.ndarray
    n_votes: np.ndarray
    disagreement: np.ndarray
    experts: dict[str, dict[str, float]]
    n_unknown: int


def learn_interest(
    folder: Path, config: LearnConfig, *, name: str = "main", replace: bool = False, track: Track = quiet
) -> Run:
    """Fill `interest/<name>` of the atlas in `folder`, anew from all labels that there are.

    `table.lance` holds object_id, interest (the expected grade, 0 to 1), interest_std and, as
    acquisition, how much asking for the object's label would teach. `next.json` names the objects to look at next, a
    part of them at random; `progress.json` and `progress.png` say what was found against what was looked at, and, from
    the random part, how many are still to be found.

    Raises
    ------
    ValueError
        There is no label of an object that can be learnt from; or a label is neither a class nor a grade.
    """
    evidence = Evidence(folder, config.features, config.ranking)
    pinned, table, source = _open_labels(folder, config)
    labels = _of_use(_read(config, table, source, evidence.features.table.object_ids()), evidence)
    home = home_of(folder, "interest", name)
    before = read_run(home)
    if before is not None and before.inputs.get("scores", evidence.score_names) != evidence.score_names:
        log.warning("scores looked at were %s, and are now %s", before.inputs["scores"], evidence.score_names)
    asked = _asked(home)
    reads = evidence.reads
    inputs = {**pinned, "n_labelled": len(labels.object_id), "scores": evidence.score_names}
    run = begin(home, "learn", config, inputs=inputs, reads=reads, replace=replace)
    vectors, scores = evidence.vectors_of(labels.object_id), evidence.scores_of(labels.object_id)
    with track("learning", None):
        needs_more = presumes(config.model, len(labels.object_id))
        presumed = evidence.presumed(labels.object_id, config.seed) if needs_more else None
        model = learn(
            config.model, vectors, scores, labels.grade, weight=labels.n_votes, presumed=presumed, seed=config.seed
        )
    best = float(np.nanmax(model.predict(vectors, scores)[0]))
    table = Table(home / "table.lance")
    with track("predicting", len(evidence.features)) as advance:
        table.overwrite(_rows(evidence, model, labels, best, config, advance))
    asked = _ask(home, asked, table, labels, config)
    progress = _progress(labels, asked, len(evidence.features))
    write_json(home / "progress.json", progress)
    _draw(home, progress)
    n_found = int((labels.grade > INTERESTING).sum())
    return finish(
        home,
        run,
        n_objects=len(table),
        n_labelled=len(labels.object_id),
        n_found=n_found,
        n_unknown=labels.n_unknown,
        still_to_find=progress["still_to_find"],
        next=[each["object_id"] for each in asked if each["is_next"]],
    )


def _open_labels(folder: Path, config: LearnConfig) -> "tuple[dict[str, Any], pa.Table, Path]":
    """What pins the labels, the table of them, and its file: the one that was given, or what was said to the atlas."""
    from peculiar.io.tables import read_table

    if config.labels != Path():
        table = read_table(config.labels, text_columns=("label", "expert"))
        return {"labels": file_digest(config.labels)}, table, config.labels
    labels = Labels(folder)
    if not (last_event := labels.last_event()):
        raise ValueError(NO_LABELS)
    return {"last_event": last_event}, labels.votes(), labels.path


def _read(config: LearnConfig, table: "pa.Table", source: Path, known: np.ndarray) -> _Labels:
    """Labels of objects that have features; several of one object are brought together."""
    from peculiar.scoring.agreement import agree

    if len({each.lower() for each in table.column_names}) < len(table.column_names):
        raise ValueError(f"{source} has two columns of one name: {', '.join(table.column_names)}; rename one")
    if not table.num_rows:
        raise ValueError(f"{source} holds no label; label some objects first")
    object_id, has_id = ids_of(table, source)
    grades = _grades(table, config, source)
    is_said = has_id & np.isfinite(grades)
    if not is_said.any():
        raise ValueError(f"{source} says nothing of any object: its ids, labels or grades are empty")
    is_alien = is_said & ~np.isin(object_id, known)
    if is_alien.any() or not is_said.all():
        log.warning(
            "of %d labels %d are without id or content, and %d of objects without features%s",
            len(grades),
            int((~is_said).sum()),
            int(is_alien.sum()),
            f": {first_few(object_id[is_alien])}" if is_alien.any() else "",
        )
    is_known = is_said & ~is_alien
    if not is_known.any():
        raise ValueError(f"no label in {source} is of an object of features/{config.features}; check its ids")
    object_id, grades = object_id[is_known], grades[is_known]
    names, experts = _experts(table, is_known)
    _, first, number = np.unique(object_id, return_index=True, return_inverse=True)
    order = np.argsort(first)  # by the first word on each
    place = np.argsort(order)[number]
    agreed = agree(place, experts, grades > INTERESTING)
    mean = np.bincount(place, grades) / agreed.n_votes
    is_graded = bool(((grades > 0) & (grades < 1)).any())
    if len(set((grades > INTERESTING).tolist())) < 2:
        log.warning("all %d labels say the same; what is unlike them cannot be learnt yet", len(grades))
    said = {
        each: {"n_votes": int((experts == row).sum()), "sensitivity": float(agreed.sensitivity[row])}
        | {"specificity": float(agreed.specificity[row])}
        for row, each in enumerate(names)
    }
    return _Labels(
        object_id[np.sort(first)],
        mean if is_graded else agreed.probability,
        agreed.n_votes.astype(np.float64),
        agreed.disagreement,
        said,
        int((~is_known).sum()),
    )


def _of_use(labels: _Labels, evidence: Evidence) -> _Labels:
    """Those of objects whose features are numbers; nothing can be learnt from the others."""
    is_usable = np.isfinite(evidence.vectors_of(labels.object_id)).all(axis=1)
    if is_usable.all():
        return labels
    log.warning("nothing is learnt from %s, whose features are NaN", first_few(labels.object_id[~is_usable]))
    if not is_usable.any():
        raise ValueError(f"no labelled object has features/{evidence.features.name} that are numbers; label others")
    return replaced(
        labels,
        **{each: getattr(labels, each)[is_usable] for each in ("object_id", "grade", "n_votes", "disagreement")},
        n_unknown=labels.n_unknown + int((~is_usable).sum()),
    )


def _grades(table: "pa.Table", config: LearnConfig, source: Path) -> np.ndarray:
    """Grades from 0 to 1 of the rows; NaN where nothing was said."""
    import pyarrow as pa

    from peculiar.io.ids import find_column

    graded, labelled = (find_column(table.column_names, [each]) for each in ("grade", "label"))
    if (graded is None) == (labelled is None):
        which = "neither label nor grade" if graded is None else "both label and grade; leave one of them"
        raise ValueError(f"{source} has {which}; it has {', '.join(table.column_names)}")
    if graded is not None:
        kind = table[graded].type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
            raise ValueError(f"grades in {source} must be numbers from 0 to 1, got {kind}; name classes as label")
        grades: np.ndarray = table[graded].to_numpy(zero_copy_only=False).astype(np.float64)
        if np.nanmin(grades, initial=0) < 0 or np.nanmax(grades, initial=0) > 1:
            raise ValueError(
                f"grades must be from 0 to 1, got {np.nanmin(grades):g} to {np.nanmax(grades):g} in {source}; "
                "divide them by the largest that can be given"
            )
        return grades
    said = classes_of(table[labelled])
    classes = set(said) - {""}
    wanted = liked(classes, config.like, config.unlike, source)
    log.info("of interest: %s; of none: %s", ", ".join(sorted(wanted)), ", ".join(sorted(classes - wanted)))
    return np.array([float(each in wanted) if each else np.nan for each in said])


def _experts(table: "pa.Table", is_known: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Names, and the number of each row's; those who gave none are one."""
    from peculiar.io.ids import find_column

    name = find_column(table.column_names, ["expert"])
    if name is None:
        return ["all"], np.zeros(int(is_known.sum()), np.int64)
    said = np.array([each or "unnamed" for each in classes_of(table[name])])[is_known]
    names, number = np.unique(said, return_inverse=True)
    return names.tolist(), number.astype(np.int64)


def _rows(
    evidence: Evidence,
    model: Predictor,
    labels: _Labels,
    best: float,
    config: LearnConfig,
    advance: Any,
) -> "Iterator[pa.RecordBatch]":
    """Interest, its deviation, and what is to be gained, of all objects; of labelled ones nothing but disagreement."""
    import pyarrow as pa

    ids = np.sort(labels.object_id)
    spread = labels.disagreement[np.argsort(labels.object_id)]
    has_found = bool((labels.grade > INTERESTING).any())
    for object_id, vectors, scores in evidence.blocks():
        mean, deviation = model.predict(vectors, scores)
        row, is_labelled = located(ids, object_id)
        disagreement = np.where(is_labelled, spread[row], 0.0)
        gain = gained(
            *(config.acquisition, mean, deviation, scores),
            best=best,
            has_found=has_found,
            disagreement=disagreement,
        )
        if config.acquisition != "disagreement":
            gain = np.where(is_labelled, np.nan, gain)
        columns = {"object_id": object_id, "interest": mean, "interest_std": deviation, "acquisition": gain}
        yield pa.record_batch([pa.array(each) for each in columns.values()], names=list(columns))
        advance(len(object_id))


def _asked(home: Path) -> list[dict[str, Any]]:
    """All that was asked for before, also by what is to be replaced: a random draw must not be forgotten."""
    path = home / "next.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def _ask(
    home: Path, before: list[dict[str, Any]], table: Table, labels: _Labels, config: LearnConfig
) -> list[dict[str, Any]]:
    """What is to be looked at next, after all that was: objects of the largest gain, and a random part.

    What was drawn at random is asked for until it is labelled, or the rate would be that of what was easy to label.
    """
    object_id, gain = table.object_ids(), table.column("acquisition")
    is_labelled, is_usable = np.isin(object_id, labels.object_id), np.isfinite(table.column("interest"))
    done = set(labels.object_id.tolist())
    control = [each for each in before if each["why"] == "control"]
    learned = [each for each in before if each["why"] == "learned" and int(each["object_id"]) in done]
    waiting = [int(each["object_id"]) for each in control if int(each["object_id"]) not in done]
    n_control = round(config.control * config.n_next)
    drawn = np.array(waiting[:n_control], np.int64)
    is_open = is_usable & ~is_labelled & ~np.isin(object_id, [int(each["object_id"]) for each in control])
    others = object_id[is_open]
    drawn = np.append(drawn, others[np.argsort(hashed(others, config.seed), kind="stable")[: n_control - len(drawn)]])
    if config.acquisition == "disagreement":
        is_asked = is_labelled & (gain > 0)
    else:
        is_asked = is_open & ~np.isin(object_id, drawn)
    by_gain = np.argsort(-np.where(is_asked, gain, -np.inf), kind="stable")
    chosen = object_id[by_gain[: min(config.n_next - len(drawn), int(is_asked.sum()))]]
    ready = set(chosen.tolist()) | set(drawn.tolist())
    kept = {each["object_id"]: each["why"] for each in (*learned, *control)}
    kept = {str(each): "learned" for each in chosen} | {str(each): "control" for each in drawn} | kept
    asked = [{"object_id": each, "why": why, "is_next": int(each) in ready} for each, why in kept.items()]
    asked.sort(key=lambda each: each["is_next"])  # the next stand last, the gainful before the random
    write_json(home / "next.json", asked)
    return asked


def _progress(labels: _Labels, asked: list[dict[str, Any]], n_objects: int) -> dict[str, Any]:
    """Found against looked at, and how many are still to be found by the random part of what was asked for."""
    from peculiar.scoring.interest import still_to_find

    is_found = labels.grade > INTERESTING
    control = {int(each["object_id"]) for each in asked if each["why"] == "control"}
    is_control = np.array([each in control for each in labels.object_id.tolist()], bool)
    n_control, n_left = int(is_control.sum()), n_objects - len(is_found)
    left = still_to_find(int((is_found & is_control).sum()), n_control, n_left)
    return {
        "found": np.cumsum(is_found).tolist(),
        "control": {"n_labelled": n_control, "n_found": int((is_found & is_control).sum())},
        "still_to_find": dict(zip(("mean", "low", "high"), left, strict=True)),
        "experts": labels.experts,
    }


def _draw(home: Path, progress: dict[str, Any]) -> None:
    from peculiar.figures.learning import figure_progress

    save_figure(figure_progress({"labels": np.array(progress["found"])}), home / "progress.png")
