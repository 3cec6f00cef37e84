"""Bring the votes of a citizen-science project back: counts of "interesting" by object, the surest of each kind."""

import csv
import shutil
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Annotated

import numpy as np

from peculiar.checkpoint import file_digest
from peculiar.ranking import columns_of
from peculiar.run import Run, Track, atomic, begin, finish, home_of, quiet, read_run, save_figure, write_json
from peculiar.survey import Survey, Table, hashed, placed

if TYPE_CHECKING:
    from peculiar.io.pages import Cell, Section

NORMAL_95 = 1.959963984540054  # the normal distribution's 97.5th percentile: two sides of 95 %
ROWS_AT_ONCE = 10_000
UNKNOWN = -(2**63)  # a time that is not known
MOST_ANSWERS, MOST_REASONS = 40, 20  # on the page
FAILURES = ("row", "reason", "text")


@dataclass(frozen=True, kw_only=True)
class ClassifyConfig:
    """What `classify` can be told."""

    table: Annotated[Path, "Zooniverse's classification export, or a table of object_id, label and perhaps user"] = (
        field(compare=False)  # a newer export of the same project counts anew
    )
    of: Annotated[str, "objects: survey, or rankings/NAME"] = "survey"
    task: Annotated[str, "task whose answers count (T0), or a table's column; empty: the first"] = ""
    workflow: Annotated[str, "id of the workflow whose classifications count; empty: the only one"] = ""
    interesting: Annotated[
        tuple[str, ...], "answers that count as interesting, whatever the case; * stands for anything"
    ] = ("interesting", "yes", "true", "1")
    min_votes: Annotated[int, "objects with fewer votes have counts, but no part that is for interesting"] = 1
    bundle: Annotated[str, "bundle whose first and controls are compared; empty: none"] = ""
    n_shown: Annotated[int, "objects in each gallery"] = 25
    seed: Annotated[int, "seed of the order of equal ones"] = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.min_votes < 1 or self.n_shown < 1:
            raise ValueError(f"min_votes and n_shown must be at least 1, got {self.min_votes} and {self.n_shown}")
        if not self.interesting:
            raise ValueError('interesting must name an answer, such as "Interesting", got none')


@dataclass
class _Read:
    """The votes of a file, 48 bytes each, and what could not be counted."""

    failures: IO[str]
    object_id: "array[int]" = field(default_factory=lambda: array("q"))
    user: "array[int]" = field(default_factory=lambda: array("q"))
    answer: "array[int]" = field(default_factory=lambda: array("q"))
    order: "array[int]" = field(default_factory=lambda: array("q"))
    row: "array[int]" = field(default_factory=lambda: array("q"))
    at: "array[int]" = field(default_factory=lambda: array("q"))  # seconds of the epoch, or UNKNOWN
    users: dict[str, int] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)
    answers: dict[tuple[str, ...], int] = field(default_factory=dict)
    reasons: "Counter[str]" = field(default_factory=Counter)
    n_recovered: int = 0

    def refuse(self, row: int, reason: str, text: object) -> None:
        """Write down what is not counted."""
        csv.writer(self.failures, lineterminator="\n").writerow((row, reason, text))
        self.reasons[reason] += 1


@dataclass(frozen=True)
class _Votes:
    """One vote for each user and object, ordered by object."""

    object_id: np.ndarray
    user: np.ndarray
    answer: np.ndarray
    at: np.ndarray
    n_repeated: int


@dataclass(frozen=True)
class _Counts:
    """By object: votes, those for interesting, their part and its bounds, NaN where there are too few."""

    object_id: np.ndarray
    n_votes: np.ndarray
    n_interesting: np.ndarray
    part: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def classify(
    folder: Path, config: ClassifyConfig, *, name: str = "main", replace: bool = False, track: Track = quiet
) -> Run:
    """Fill `classifications/<name>` of the atlas in `folder`, anew from all votes of the table.

    `table.lance` holds object_id, classification_n_votes, classification_n_interesting, classification_interesting (the
    part of the votes that is for interesting) and its 95 % bounds, classification_lower and _upper (Wilson 1927). They
    stand in the ranking then. `counts.csv` holds the same, `answers.csv` every answer's number of votes,
    `failures.csv` what was not counted and why, `votes.csv` who said what in the form that `peculiar labels --import`
    reads.

    Notes
    -----
    Of what a user said of an object more than once the first counts, as Zooniverse's own aggregation has it: later
    answers may be formed by what others wrote since. Most interesting are those of the highest lower bound, least those
    of the lowest upper one, so that one vote of one is not above nine of ten.

    Raises
    ------
    FileNotFoundError
        The table, the ranking or the bundle is not there.
    ValueError
        No vote could be counted, or no answer is one of `interesting`; then nothing is begun.
    """
    if config.of.startswith("catalogs/"):
        raise ValueError(f"{config.of} has no images; of must be survey or rankings/NAME")
    objects = columns_of(folder, config.of)
    samples = _samples(folder, config)
    home = home_of(folder, "classifications", name)
    with TemporaryFile("w+", encoding="utf-8", newline="") as failures:
        read = _gather(config, failures, track)
        votes = _first_votes(read, objects.object_ids)
        _refuse_empty(read, votes, config)
        is_yes = np.array([_is_interesting(each, config.interesting) for each in read.answers], bool)
        _refuse_boring(read, votes, is_yes, config)
        counts = _count(votes, is_yes, config.min_votes)
        inputs = {"table": file_digest(config.table)}
        reads = {config.of: objects.run.identity}
        run = begin(home, "classify", config, inputs=inputs, reads=reads, replace=replace)
        failures.seek(0)
        with atomic(home / "failures.csv") as partial, partial.open("w", encoding="utf-8", newline="") as file:
            file.write(",".join(FAILURES) + "\n")
            shutil.copyfileobj(failures, file)
    by_answer = _by_answer(votes, read)
    _write_tables(home, counts, votes, read, by_answer)
    summary = {
        "n_objects": len(counts.object_id),
        "n_votes": len(votes.object_id),
        "n_users": len(np.unique(votes.user)),
        "n_interesting": int(counts.n_interesting.sum()),
        "n_rated": int(np.isfinite(counts.part).sum()),
        "n_repeated": votes.n_repeated,
        "n_failed": sum(read.reasons.values()),
        "n_recovered": read.n_recovered,
    }
    write_json(home / "classifications.json", {**summary, "reasons": dict(read.reasons)})
    page = _write_page(folder, home, config, counts, summary, read, by_answer, samples)
    return finish(home, run, **summary, page=page.relative_to(folder).as_posix())


def wilson_bounds(n_yes: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper 95 % bound of a part, of n_yes of n, 0 to 1 (Wilson 1927); 0 and 1 where n is 0."""
    n_all = np.maximum(n, 1).astype(np.float64)
    part, square = n_yes / n_all, NORMAL_95**2
    middle = part + square / (2 * n_all)
    half = NORMAL_95 * np.sqrt(part * (1 - part) / n_all + square / (4 * n_all**2))
    scale = 1 + square / n_all
    lower, upper = (middle - half) / scale, (middle + half) / scale
    return np.where(n > 0, np.clip(lower, 0, 1), 0.0), np.where(n > 0, np.clip(upper, 0, 1), 1.0)


def _gather(config: ClassifyConfig, failures: IO[str], track: Track) -> _Read:
    """Read the whole table."""
    from peculiar.io.classifications import Failure, read_classifications

    read, n_read = _Read(failures), 0
    with track("reading votes", None) as advance:
        for vote in read_classifications(config.table, task=config.task, workflow=config.workflow):
            n_read += 1
            if n_read % ROWS_AT_ONCE == 0:
                advance(ROWS_AT_ONCE)
            if isinstance(vote, Failure):
                read.refuse(vote.row, vote.reason, vote.text)
                continue
            if vote.user not in read.users:
                read.users[vote.user] = len(read.shown)
                read.shown.append(vote.shown)
            read.user.append(read.users[vote.user])
            read.answer.append(read.answers.setdefault(vote.answers, len(read.answers)))
            read.object_id.append(vote.object_id)
            read.order.append(vote.order)
            read.row.append(vote.row)
            read.at.append(_seconds(vote.at) if vote.at else UNKNOWN)
            read.n_recovered += vote.is_recovered
    return read


def _seconds(at: str) -> int:
    """Seconds of the epoch of a time as ISO 8601; one that names no zone is UTC, as Zooniverse's are."""
    time = datetime.fromisoformat(at)
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


def _first_votes(read: _Read, known: np.ndarray) -> _Votes:
    """The first vote of each user on each object that is known; what is of others is written down as not counted."""
    object_id, user, answer, order, row, at = (
        np.frombuffer(each, np.int64) if len(each) else np.empty(0, np.int64)
        for each in (read.object_id, read.user, read.answer, read.order, read.row, read.at)
    )
    is_there = placed(known, object_id)[1] if len(known) else np.zeros(len(object_id), bool)
    for place in np.flatnonzero(~is_there).tolist():
        read.refuse(int(row[place]), "there is no such object here", int(object_id[place]))
    rows = np.flatnonzero(is_there)
    rows = rows[np.lexsort((row[rows], order[rows], user[rows], object_id[rows]))]
    is_first = np.ones(len(rows), bool)
    is_first[1:] = (np.diff(object_id[rows]) != 0) | (np.diff(user[rows]) != 0)
    first = rows[is_first]
    return _Votes(object_id[first], user[first], answer[first], at[first], int((~is_first).sum()))


def _refuse_empty(read: _Read, votes: _Votes, config: ClassifyConfig) -> None:
    if len(votes.object_id):
        return
    if not read.reasons:
        raise ValueError(f"{config.table} holds no classification; export it again")
    reason, n = read.reasons.most_common(1)[0]
    read.failures.seek(0)
    row, _, text = next(each for each in csv.reader(read.failures) if each[1] == reason)
    raise ValueError(
        f"no classification in {config.table} could be counted; {n} of {sum(read.reasons.values())} as {reason} "
        f"(the first in row {row}: {text!r})"
    )


def _is_interesting(answers: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    """Whether one of the answers is one of those that count."""
    folded = [each.strip().casefold() for each in patterns]
    said = [each.casefold() for each in answers]
    return any(each == pattern or fnmatchcase(each, pattern) for each in said for pattern in folded)


def _refuse_boring(read: _Read, votes: _Votes, is_yes: np.ndarray, config: ClassifyConfig) -> None:
    """All said No is a result where Yes could be said; but most likely the answer has another name."""
    if is_yes.any():
        return
    counts = np.bincount(votes.answer, minlength=len(is_yes))
    said = sorted(zip(counts.tolist(), read.answers, strict=True), reverse=True)[:8]
    told = ", ".join(f"{_joined(answers)!r} ({n})" for n, answers in said)
    raise ValueError(
        f"no answer counts as interesting, which are {', '.join(config.interesting)}; the answers are {told}; "
        "say which by --interesting"
    )


def _joined(answers: tuple[str, ...]) -> str:
    return " + ".join(answers)


def _count(votes: _Votes, is_yes: np.ndarray, min_votes: int) -> _Counts:
    ids, place = np.unique(votes.object_id, return_inverse=True)
    n_votes = np.bincount(place, minlength=len(ids)).astype(np.int64)
    n_yes = np.bincount(place[is_yes[votes.answer]], minlength=len(ids)).astype(np.int64)
    is_rated = n_votes >= min_votes
    lower, upper = wilson_bounds(n_yes, n_votes)
    part, lower, upper = (np.where(is_rated, each, np.nan) for each in (n_yes / n_votes, lower, upper))
    return _Counts(ids, n_votes, n_yes, part, lower, upper)


def _by_answer(votes: _Votes, read: _Read) -> list[tuple[int, str, int]]:
    """Votes on each object for each answer: object_id, answer, number; who gave several answers counts in each."""
    single = sorted({each for answers in read.answers for each in answers})
    code = {each: place for place, each in enumerate(single)}
    of = [[code[each] for each in answers] for answers in read.answers]
    pairs: Counter[tuple[int, int]] = Counter()
    for object_id, answer in zip(votes.object_id.tolist(), votes.answer.tolist(), strict=True):
        pairs.update((object_id, each) for each in of[answer])
    return [(object_id, single[each], n) for (object_id, each), n in sorted(pairs.items())]


def _write_tables(
    home: Path, counts: _Counts, votes: _Votes, read: _Read, by_answer: list[tuple[int, str, int]]
) -> None:
    import pyarrow as pa

    from peculiar.io.exports import write_csv

    names = ("n_votes", "n_interesting", "interesting", "lower", "upper")
    values = (counts.n_votes, counts.n_interesting, counts.part, counts.lower, counts.upper)
    columns = {
        f"classification_{each}": pa.array(column, from_pandas=True) for each, column in zip(names, values, strict=True)
    }
    batch = pa.record_batch({"object_id": pa.array(counts.object_id), **columns})
    Table(home / "table.lance").overwrite([batch])
    write_csv(home / "counts.csv", batch.schema, [batch])
    with atomic(home / "answers.csv") as partial, partial.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("object_id", "answer", "n_votes"), *by_answer])
    with atomic(home / "votes.csv") as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("object_id", "label", "expert", "at"))
        writer.writerows(_said(votes, read))


def _said(votes: _Votes, read: _Read) -> Iterator[tuple[int, str, str, str]]:
    """Who said what of which object, and when."""
    answers = [_joined(each) for each in read.answers]
    for start in range(0, len(votes.object_id), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        columns = (each[part].tolist() for each in (votes.object_id, votes.answer, votes.user, votes.at))
        for object_id, answer, user, at in zip(*columns, strict=True):
            time = "" if at == UNKNOWN else datetime.fromtimestamp(at, UTC).isoformat()
            yield object_id, answers[answer], read.shown[user], time


def _samples(folder: Path, config: ClassifyConfig) -> dict[str, np.ndarray]:
    """Ids of the first and of the controls of a bundle, by the sample's name; nothing where no bundle is named."""
    if not config.bundle:
        return {}
    from peculiar.io.tables import read_table

    home = home_of(folder, "bundles", config.bundle)
    if read_run(home) is None:
        raise FileNotFoundError(f'bundles/{config.bundle} is not complete in {folder}; run "peculiar bundle" first')
    table = read_table(home / "key.csv", text_columns=("sample",))
    ids, sample = table["object_id"].to_numpy(), np.array(table["sample"].to_pylist())
    return {each: ids[sample == each] for each in ("first", "control") if (sample == each).any()}


def _draw(
    folder: Path, home: Path, config: ClassifyConfig, counts: _Counts, samples: dict[str, np.ndarray]
) -> Iterator[tuple[Path, str, str]]:
    """Figures: file, heading, caption."""
    from peculiar.figures.classifications import choose_surest, figure_classified, figure_votes

    survey = Survey(folder / "survey" / "table.lance")
    tie = hashed(counts.object_id, config.seed)
    most, least = choose_surest(counts.lower, counts.upper, tie, config.n_shown)
    captions = [
        [f"{counts.object_id[each]}\n{counts.n_interesting[each]} of {counts.n_votes[each]}" for each in rows]
        for rows in (most, least)
    ]
    images = [survey.images(counts.object_id[rows]) for rows in (most, least)]
    save_figure(figure_classified(images[0], images[1], captions[0], captions[1]), home / "classified.png")
    yield home / "classified.png", "Most and least interesting", str(figure_classified.__doc__)
    parts = {name: counts.part[np.isin(counts.object_id, ids)] for name, ids in samples.items()} or {"all": counts.part}
    save_figure(figure_votes(counts.n_votes, parts), home / "votes.png")
    yield home / "votes.png", "Votes", str(figure_votes.__doc__)


def _write_page(
    folder: Path,
    home: Path,
    config: ClassifyConfig,
    counts: _Counts,
    summary: dict[str, int],
    read: _Read,
    by_answer: list[tuple[int, str, int]],
    samples: dict[str, np.ndarray],
) -> Path:
    from peculiar.io.pages import Facts, Picture, Text, write_page
    from peculiar.io.pages import Table as Shown

    labels = {"n_votes": "votes", "n_users": "users", "n_objects": "objects", "n_interesting": "for interesting"}
    labels |= {"n_repeated": "said before, not counted", "n_failed": "not counted"}
    labels |= {"n_recovered": "rounded ids, read from names"}
    sections: list[Section] = [Facts(items={text: summary[key] for key, text in labels.items()}, heading="In short")]
    for path, heading, caption in _draw(folder, home, config, counts, samples):
        text = " ".join(caption.partition("Parameters")[0].split())
        sections.append(Picture(path=path, alt=heading, heading=heading, caption=text))
    if samples:
        sections.append(_compared(counts, samples))
    totals: Counter[str] = Counter()
    for _, answer, n in by_answer:
        totals[answer] += n
    rows: list[list[Cell]] = [[answer, n] for answer, n in totals.most_common(MOST_ANSWERS)]
    sections.append(Shown(columns=["answer", "votes"], rows=rows, heading="Answers", caption="answers.csv: by object"))
    if read.reasons:
        reasons: list[list[Cell]] = [[reason, n] for reason, n in read.reasons.most_common(MOST_REASONS)]
        caption = "failures.csv: each with its row"
        sections.append(Shown(columns=["reason", "rows"], rows=reasons, heading="Not counted", caption=caption))
    hint = f"peculiar labels {folder.name} --import {home.relative_to(folder.parent) / 'votes.csv'} --add-classes adds "
    hint += (
        "these votes to the experts' labels, each user an expert; labels --columns then weighs users by how far they "
    )
    hint += "agree with the others (Dawid & Skene 1979)."
    sections.append(Text(body=hint, heading="As labels"))
    path = home / "classifications.html"
    title = f"{folder.resolve().name}: what volunteers find interesting"
    provenance: dict[str, Cell] = {
        "table": str(config.table),
        "task": config.task or "the first",
        "order of equal ones": config.seed,
    }
    write_page(
        path, title, sections, subtitle="counts.csv, answers.csv, failures.csv, votes.csv", provenance=provenance
    )
    return path


def _compared(counts: _Counts, samples: dict[str, np.ndarray]) -> "Section":
    """What volunteers make of a bundle's first and of its controls."""
    from peculiar.io.pages import Table as Shown

    rows: list[list[Cell]] = []
    for name, ids in samples.items():
        part = counts.part[np.isin(counts.object_id, ids)]
        part = part[np.isfinite(part)]
        rows.append([name, len(ids), len(part), float(part.mean()) if len(part) else None])
    return Shown(
        columns=["sample", "in the bundle", "voted on", "mean part for interesting"],
        rows=rows,
        heading="First and controls",
        caption="If scores find what people find interesting, the mean of the first is above that of the controls.",
    )
