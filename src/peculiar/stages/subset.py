"""Make a new atlas of some of the objects, which shares the images of the one it is taken from."""

import dataclasses
import getpass
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import numpy as np

from peculiar.checkpoint import file_digest
from peculiar.conditions import in_cone, labeled, listed, ordinary
from peculiar.joined import SURVEY, Joined
from peculiar.labels import FILE as LABELS
from peculiar.labels import LabelClass, Labels, Said
from peculiar.ranking import columns_of
from peculiar.run import (
    FINISHED,
    STARTED,
    Run,
    Track,
    as_json,
    at_least,
    begin,
    compared_fields,
    finish,
    quiet,
    read_run,
    read_started,
    write_json,
)
from peculiar.standing import FOLLOWED, standings
from peculiar.survey import Table, hashed

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)
HALF_TURN = 648_000  # arcsec
HOME = "subset"  # the record of what was taken, in the new atlas
# Facts of single objects, and what says them of others; what is made of all objects together is made anew.
NETWORKS = "networks"
TAKEN = (NETWORKS, "scores", "features", "forests", "neighbors", "rankings")
TAKEN_TABLES = ("derived", "masks", "crossmatches", "classifications")  # columns; their pages tell of all objects
LINKED = (".safetensors", ".parquet")  # files that are only ever replaced, never written into
NOT_TAKEN = (FINISHED, STARTED, "events")  # records are written anew; TensorBoard's events are written into
COUNTS = ("n_missing", "n_without_vector")  # objects that a stage had to leave out


@dataclass(frozen=True, kw_only=True)
class SubsetConfig:
    """What `subset` can be told. All conditions hold; `top` and `random` take of those that pass."""

    where: Annotated[str, "filter that objects pass, as 'score_joint > 12 and ra < 150'"] = ""
    cone: Annotated[tuple[float, ...], "RA, Dec and radius of a place on the sky: degrees, degrees, arcsec"] = ()
    label: Annotated[str, "class that somebody gave them"] = ""
    ids: Annotated[Path, "table with a column object_id or source, or .txt with an id or a source in each line"] = (
        field(default=Path(), compare=False)
    )
    is_control: Annotated[bool, "ordinary objects: above -1 and below 1.5 deviations in a score"] = False
    by: Annotated[str, "score of --top and --control; empty: the order first shown, and score_disc"] = ""
    top: Annotated[int, "so many with the largest score"] = 0
    random: Annotated[int, "so many at random"] = 0
    seed: Annotated[int, "seed of --random"] = 0
    of: Annotated[str, "what to choose from: rankings/NAME, or survey"] = "rankings/main"

    def __post_init__(self) -> None:
        """Check the ranges, and that something is chosen."""
        at_least(self, 0, "top", "random")
        if self.top and self.random:
            raise ValueError(f"top {self.top} and random {self.random} choose in two ways; give one of them")
        if self.cone:
            _refuse_no_cone(self.cone)
        if not (
            self.where or self.cone or self.label or self.ids != Path() or self.is_control or self.top + self.random
        ):
            raise ValueError("say which objects: by where, cone, label, ids, control, top or random")
        if self.of.startswith("catalogs/"):
            raise ValueError(
                f"of must be rankings/NAME or survey, got {self.of!r}, whose objects may have no image here"
            )


def _refuse_no_cone(cone: tuple[float, ...]) -> None:
    is_place = len(cone) == 3 and 0 <= cone[0] <= 360 and -90 <= cone[1] <= 90
    if not is_place or not 0 < cone[2] <= HALF_TURN:
        told = ", ".join(f"{each:g}" for each in cone)
        raise ValueError(f"cone must be RA, Dec (degrees) and radius (arcsec, to {HALF_TURN}) of a place, got {told}")


def subset(folder: Path, config: SubsetConfig, new: Path, *, track: Track = quiet) -> Run:
    """Make the atlas `new` of some objects of the one in `folder`, and return what `new/subset/run.json` says.

    Its survey has their images and columns without a copy of a pixel: the files are the parent's under a second name,
    with what is not wanted marked as deleted (`Table.share`; on another disk, rows are copied). The parent may grow, be
    made anew, moved or removed; the space of its files is given back when both are gone.

    Networks, scores, features, forests, neighbor distances and rankings come along, and columns that were derived,
    masked, crossmatched or classified: raw scores are facts, and relative ones keep the parent's reference, which comes
    along, so that what is appended is compared with the same. So do labels of these objects, with who and when, but
    no tokens. What is not complete, or is made of all objects together (maps, clusters, groups, interest ...), is left
    out; `Run.outputs["left_out"]` says why. What comes along has identities of its own, each naming those that it was
    made of, so that `peculiar status` and `check` hold, and nothing takes this atlas for its parent.

    The same again is left as it is; interrupted, it starts over.

    Raises
    ------
    FileNotFoundError
        The survey, or the ranking that is chosen from, is not complete.
    ValueError
        No object passes, each condition with its number; or `new` holds something else, or another subset.
    KeyError
        A score or a class is not there.
    """
    objects, ingested = columns_of(folder, config.of), read_run(folder / SURVEY)
    if ingested is None:
        raise FileNotFoundError(f'the survey in {folder} is not complete; run "peculiar ingest" first')
    if config.ids != Path() and not config.ids.is_file():
        raise FileNotFoundError(f"there is no {config.ids}; say where the list of objects is with --ids")
    of_itself = read_run(folder / HOME)  # a subset of a subset
    identity = ingested.identity if of_itself is None else of_itself.identity
    pinned = {"identity": identity, "ids": file_digest(config.ids) if config.ids != Path() else ""}
    if (before := _refuse_another(folder, new, config, pinned)) is not None:
        return before
    chosen, n_passing = _chosen(objects, config)
    survey = Table(folder / SURVEY / "table.lance")
    inputs = {"parent": str(folder.resolve()), **pinned, SURVEY: survey.version, "tables": objects.versions}
    run = begin(new / HOME, "subset", config, inputs=inputs)
    _clear(new)
    taken, left_out = _plan(folder, chosen)
    with track("sharing tables", len(taken) + 1) as advance:
        is_shared = survey.share(new / SURVEY / "table.lance", chosen)
        advance(1)
        identities = {place: uuid4().hex for place in (SURVEY, *taken)}
        for place, record in taken.items():
            _take(folder, new, place, _renamed(record, place, identities), chosen)
            advance(1)
    told: dict[str, Any] = {
        "parent": inputs["parent"],
        "n_objects": len(chosen),
        "n_of": len(objects),
        "n_passing": n_passing,
        "images": "shared" if is_shared else "copied",
        "taken": list(taken),
        "left_out": left_out,
        "n_label_events": _take_labels(folder, new, chosen),
    }
    _remember_plan(folder, new)
    done = finish(new / HOME, run, **told)
    _finish_survey(new, _renamed(ingested, SURVEY, identities), done)  # last: without it there is no atlas
    return done


def _refuse_another(folder: Path, new: Path, config: SubsetConfig, pinned: dict[str, str]) -> Run | None:
    """The record of this very subset where it is complete; None where it is to be made."""
    if new.resolve() == folder.resolve() or folder.resolve() in new.resolve().parents:
        raise ValueError(f"{new} is in the atlas {folder} that is chosen from; give a folder outside of it")
    before = read_run(new / HOME) or read_started(new / HOME)
    if before is None:
        if new.exists() and (not new.is_dir() or any(each.name != HOME for each in new.iterdir())):
            raise ValueError(f"{new} is there, and is no subset of {folder}; give a folder that is not there yet")
        return None
    now, then = as_json(config), before.config
    changes = [
        f"{name} was {then.get(name)!r}, now {now[name]!r}"
        for name in compared_fields(config)
        if then.get(name) != now[name]
    ]
    changes += ["the ids were others"] * (before.inputs["ids"] != pinned["ids"])
    changes += [f"it is of {before.inputs['parent']} as it was"] * (before.inputs["identity"] != pinned["identity"])
    if changes:
        raise ValueError(f"{new} is another subset: {'; '.join(changes)}; give another folder")
    return before if before.finished and read_run(new / SURVEY) is not None else None


def _clear(new: Path) -> None:
    """Take away what a run that was interrupted left."""
    for parent in (SURVEY, *TAKEN, *TAKEN_TABLES):
        if (new / parent).exists():
            shutil.rmtree(new / parent)
    for each in (new / STARTED, *new.glob(f"{LABELS}*")):
        each.unlink(missing_ok=True)


# Which objects.


def _chosen(objects: Joined, config: SubsetConfig) -> tuple[np.ndarray, dict[str, int]]:
    """Ids, int64, ascending, and how many objects pass each condition."""
    ids, passing = objects.object_ids, np.ones(len(objects.object_ids), bool)
    n_passing: dict[str, int] = {}
    for name, passes in _conditions(objects, config):
        n_passing[name] = int(passes.sum())
        passing &= passes
    if not passing.any():
        told = ", ".join(f"{name} {n:,}" for name, n in n_passing.items())
        raise ValueError(f"no object of {config.of} passes, of {len(ids):,}; alone: {told}; choose less strictly")
    rows, n_wanted = np.flatnonzero(passing), config.random or config.top
    if config.random:
        rows = rows[np.argsort(hashed(ids[rows], config.seed), kind="stable")[: config.random]]
    if config.top:
        by = config.by or objects.first_shown
        if by == "object_id":
            raise ValueError(f"{config.of} has no score that --top could take the largest of; name a column with --by")
        order = objects.order(by)
        rows = order[(passing & np.isfinite(objects.column(by)))[order]][: config.top]
        if not len(rows):
            raise ValueError(f"none of the {int(passing.sum()):,} objects that pass has a {by}; take another --by")
    if len(rows) < n_wanted:
        log.warning("%d objects were asked for, and there are %d", n_wanted, len(rows))
    return np.sort(ids[rows]), n_passing


def _conditions(objects: Joined, config: SubsetConfig) -> Iterator[tuple[str, np.ndarray]]:
    """Every condition that is given, with the objects that pass it, bool."""
    if config.where:
        yield "where", objects.select(config.where)
    if config.cone:
        yield "cone", in_cone(objects, *config.cone)
    if config.label:
        yield "label", labeled(objects, config.label)
    if config.ids != Path():
        yield "ids", listed(objects, config.ids)
    if config.is_control:
        yield "control", ordinary(objects, config.by)


# What comes along.


def _plan(folder: Path, chosen: np.ndarray) -> tuple[dict[str, Run], dict[str, str]]:
    """Records of the folders that come along, by place, and why others do not."""
    taken: dict[str, Run] = {}
    left_out: dict[str, str] = {}
    for each in standings(folder):
        kind, run = each.folder.partition("/")[0], read_run(folder / each.folder)
        if each.folder == SURVEY or each.state == "absent":
            continue
        if kind not in (*TAKEN, *TAKEN_TABLES):
            left_out[each.folder] = "made of all objects together, or a product"
        elif run is None or each.state not in ("complete", "behind"):
            left_out[each.folder] = f"{each.state} {each.detail}".strip()
        elif kind != NETWORKS and not np.isin(Table(folder / each.folder / "table.lance").object_ids(), chosen).any():
            left_out[each.folder] = "has none of these objects"
        else:
            taken[each.folder] = run
    while absent := {place: gone for place, run in taken.items() if (gone := _unread(run, taken))}:
        for place, gone in absent.items():
            left_out[place] = f"made of {gone}, which is left out"
            del taken[place]
    return taken, left_out


def _unread(run: Run, taken: dict[str, Run]) -> str:
    """A folder that a record reads and that does not come along."""
    return next((each for each in run.reads if each != SURVEY and each not in taken), "")


def _renamed(run: Run, place: str, identities: dict[str, str]) -> Run:
    """A record with the identities of the new atlas."""
    reads = {each: identities[each] for each in run.reads}
    return dataclasses.replace(run, identity=identities[place], reads=reads)


def _take(folder: Path, new: Path, place: str, run: Run, chosen: np.ndarray) -> None:
    """Fill one folder of the new atlas: the rows of these objects, and the files that belong to all."""
    source, target = folder / place, new / place
    target.mkdir(parents=True, exist_ok=True)
    if place.partition("/")[0] in TAKEN:
        _take_files(source, target)
    for each in sorted(source.glob("*.lance")):
        ids = Table(each).object_ids()
        if (is_mine := np.isin(ids, chosen)).any():
            Table(each).share(target / each.name, ids[is_mine])
    outputs: dict[str, Any] = {**run.outputs, "taken_from": str(folder.resolve())}
    if not place.startswith(f"{NETWORKS}/"):
        n_objects = len(Table(target / "table.lance"))
        outputs |= {"n_objects": n_objects} if "n_objects" in outputs else {}
        followed = FOLLOWED[run.stage](run.config) if run.stage in FOLLOWED else SURVEY
        n_followed = len(Table(new / followed / "table.lance"))
        # As the parent is complete but for objects to come, what lacks a row here was left out there.
        outputs |= {name: n_followed - n_objects for name in COUNTS if outputs.get(name)}
    write_json(target / FINISHED, dataclasses.asdict(dataclasses.replace(run, outputs=outputs)))


def _take_files(source: Path, target: Path) -> None:
    """Networks, references and the like: a second name for what is only ever replaced, a copy of what is small."""
    for each in sorted(source.iterdir()):
        if each.name.startswith(".") or each.name in NOT_TAKEN or each.suffix == ".lance":
            continue
        if each.is_dir():
            (target / each.name).mkdir()
            _take_files(each, target / each.name)
        elif each.suffix not in LINKED or not _linked(each, target / each.name):
            shutil.copyfile(each, target / each.name)


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, or somebody else's
        return False
    return True


def _take_labels(folder: Path, new: Path, chosen: np.ndarray) -> int:
    """Say again, in the same order, all that was said of these objects; how much that is."""
    theirs, mine = Labels(folder), Labels(new)
    former = [each for each in theirs.every_class() if each not in mine.every_class()]
    if former or theirs.classes() != mine.classes():
        # Who set them is not known outside of the log; here it is who makes the subset.
        account = getpass.getuser()
        expert = next((each for each in theirs.experts() if each.casefold() == account.casefold()), account)
        for classes in (*([LabelClass(each)] for each in former), theirs.classes()):
            mine.set_classes(classes, expert)
    events = theirs.events()
    rows = events.filter(_are_in(events["object_id"], chosen)).to_pylist()
    for expert, said in groupby(rows, key=lambda row: row["expert"]):
        mine.add(expert, [Said(row["event_id"], row["object_id"], row["label"], row["said_at"]) for row in said])
    return len(rows)


def _are_in(column: "pa.ChunkedArray", object_ids: np.ndarray) -> "pa.Array":
    import pyarrow as pa

    return pa.array(np.isin(column.to_numpy(), object_ids))


def _remember_plan(folder: Path, new: Path) -> None:
    """Let `peculiar run` go on in the new atlas with the parent's preset and seed."""
    planned = read_run(folder) or read_started(folder)
    if planned is not None and planned.stage == "run":
        begun = dataclasses.replace(planned, outputs={}, finished="")
        write_json(new / STARTED, dataclasses.asdict(begun))


def _finish_survey(new: Path, ingested: Run, done: Run) -> None:
    """Declare the survey complete: the parent's record, but for what is another here."""
    table = Table(new / SURVEY / "table.lance")
    origin = {name: done.outputs[name] for name in ("parent", "n_objects", "n_of", "images")}
    origin |= {"identity": done.inputs["identity"], "selection": done.config}
    outputs: dict[str, Any] = {name: 0 if name.startswith("n_") else each for name, each in ingested.outputs.items()}
    outputs |= {"version": table.version, "n_ingested": len(table), "subset": origin}
    # Without these, `ingest` asks what to append, where the parent's would bring all other objects.
    emptied: dict[str, Any] = {name: str(Path()) for name in ("images", "catalog") if name in ingested.config}
    record = dataclasses.replace(ingested, config={**ingested.config, **emptied}, outputs=outputs)
    write_json(new / SURVEY / FINISHED, dataclasses.asdict(record))
