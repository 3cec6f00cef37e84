"""Classifications of volunteers to votes: exports of Zooniverse, or plain tables; what cannot be counted, and why."""

import csv
import gzip
import json
import re
import unicodedata
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from peculiar.io.bundles import NAMES, UncountableError, bare_name, object_id_of
from peculiar.io.catalogs import ID_NAMES
from peculiar.io.ids import find_column
from peculiar.io.tables import read_table

CSV_SUFFIXES = (".csv", ".csv.gz")
ZOONIVERSE = ("annotations", "subject_data")  # columns that tell an export (help.zooniverse.org, Data Exports)
ANSWERS = ("label", "interesting", "answer", "classification", "class", "vote")
USERS = ("user_name", "user", "user_id", "expert")
TIMES = ("created_at", "at")
LONGEST_FIELD = 2**24  # bytes; drawings fill more than the 131,072 that Python's csv takes
DECODER = json.JSONDecoder(parse_float=str)  # a float as it is written, so that an id is not rounded by us
NOT_ANSWERED = "the task was not answered"
NO_TEXT = "the answer is no text: a drawing, or a place in a list"


@dataclass(frozen=True)
class Vote:
    """What one user said of one object.

    Parameters
    ----------
    row
        Number of the record in the file, the header's not counted, from 1.
    user, shown
        Who it is told apart by, and the name as it is given.
    answers
        The answer; several where several could be chosen.
    order
        The classification's number, which grows with time; the row where there is none.
    at
        When, ISO 8601; empty where it is not known.
    is_recovered
        Whether the id had been rounded, and was read from the subject's name.
    """

    row: int
    object_id: int
    user: str
    shown: str
    answers: tuple[str, ...]
    order: int
    at: str = ""
    is_recovered: bool = False


@dataclass(frozen=True)
class Failure:
    """A record that was not counted: its number, the reason, and the text it is about."""

    row: int
    reason: str
    text: str = ""


def read_classifications(path: Path, *, task: str = "", workflow: str = "") -> Iterator[Vote | Failure]:
    """Read votes one after the other; a record that cannot be counted is a `Failure`, and the rest goes on.

    Parameters
    ----------
    path
        A classification export of Zooniverse (CSV with annotations and subject_data, perhaps .gz); or any table with
        object_id, label (or interesting, answer, class, vote), and perhaps user_name (or user, user_id, expert). CSV is
        streamed, other formats are read whole.
    task
        Of an export, the task whose answers are read ("T0"); empty: the one that the first record answers first. Of a
        table, the column.
    workflow
        The id of the workflow whose classifications are read; empty: the only one.

    Notes
    -----
    Who is not logged in is told apart by the hash of the address (user_ip), so that a classroom is one user. Where
    neither is there, every record is a user of its own. A rounded id is read from the subject's name, if it has one
    that rounds to it.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is of no kind that is read, has no ids or answers, or several workflows and none is named.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give the classification export, or a table of answers")
    if path.name.lower().endswith(CSV_SUFFIXES):
        with _opened(path) as file:
            yield from _votes(_records(file, path), path, task, workflow)
    else:
        yield from _votes(_rows(path), path, task, workflow)


Record = tuple[int, dict[str, str] | Failure]  # the header is that of number 0


def _opened(path: Path) -> TextIO:
    # utf-8-sig: spreadsheet programs put a mark before the first name.
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def _records(file: TextIO, path: Path) -> Iterator[Record]:
    """The header, and the records of a CSV by column; those that are cut short, or have too much, as failures."""
    reader = csv.reader(file)
    before = csv.field_size_limit(LONGEST_FIELD)
    try:
        names = [bare_name(each) for each in next(reader, [])]
        yield 0, dict.fromkeys(names, "")
        number = 0
        while True:
            number += 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except (EOFError, zlib.error) as error:
                raise ValueError(
                    f"{path} is cut short after record {number - 1}: {error}; download it again"
                ) from error
            except csv.Error as error:
                yield number, Failure(number, "the line cannot be read as CSV", str(error))
                continue
            if not cells:
                continue
            if len(cells) != len(names):
                text = f"{len(cells)} cells, and there are {len(names)} columns"
                yield number, Failure(number, "the line is cut short or has too much", text)
            else:
                yield number, dict(zip(names, cells, strict=True))
    finally:
        csv.field_size_limit(before)


def _rows(path: Path) -> Iterator[Record]:
    """The same of a table in another format."""
    table = read_table(path)
    table = table.rename_columns([bare_name(each) for each in table.column_names])
    id_name = find_column(table.column_names, ID_NAMES)
    if id_name is not None and "float" in str(table.schema.field(id_name).type).replace("double", "float"):
        raise ValueError(f"{path} holds {id_name} as floats, some of them rounded; write it again as int64 or as text")
    yield 0, dict.fromkeys(table.column_names, "")
    number = 0
    for batch in table.to_batches(max_chunksize=65_536):
        for row in batch.to_pylist():
            number += 1
            yield number, {name: "" if each is None else str(each) for name, each in row.items()}


def _votes(records: Iterator[Record], path: Path, task: str, workflow: str) -> Iterator[Vote | Failure]:
    _, header = next(records)
    names = list(header) if isinstance(header, dict) else []
    is_export = all(each in names for each in ZOONIVERSE)
    if workflow and not is_export:
        raise ValueError(f"{path} is no export of Zooniverse and has no workflows; leave --workflow away")
    answers = "" if is_export else _answer_column(names, task, path)
    seen: dict[str, str] = {}  # workflows
    for number, record in records:
        if isinstance(record, Failure):
            yield record
            continue
        if is_export and not _is_of(record, workflow, seen, path):
            continue
        task = task or (_first_task(record) if is_export else "")  # that of the first answer, for all
        try:
            yield _exported(number, record, task) if is_export else _told(number, record, answers)
        except UncountableError as refused:
            yield Failure(number, refused.reason, refused.text)


def _is_of(record: Mapping[str, str], workflow: str, seen: dict[str, str], path: Path) -> bool:
    """Whether a classification is of the workflow that is read."""
    mine = record.get("workflow_id", "").strip()
    if workflow:
        return mine == workflow
    seen.setdefault(mine, record.get("workflow_name", ""))
    if len(seen) > 1:
        told = " and ".join(f"{each} ({name})" for each, name in seen.items())
        raise ValueError(f"{path} has classifications of several workflows, {told}; say which by --workflow")
    return True


def _answer_column(names: list[str], task: str, path: Path) -> str:
    column = find_column(names, [bare_name(task)] if task else ANSWERS)
    if column is None or not {*ID_NAMES, *NAMES} & set(names):
        what = task or "label (or interesting, answer, class, vote)"
        raise ValueError(f"{path} must have columns object_id and {what}; it has {', '.join(names)}")
    return column


def _exported(number: int, record: Mapping[str, str], task: str) -> Vote:
    """The vote of one line of an export."""
    answers = _answers(_parsed(record["annotations"], "annotations"), task)
    subjects = _parsed(record["subject_data"], "subject_data")
    if (
        not isinstance(subjects, dict)
        or len(subjects) != 1
        or not isinstance(one := next(iter(subjects.values())), dict)
    ):
        raise UncountableError("subject_data is not that of one subject", record["subject_data"])
    object_id, is_recovered = object_id_of(one)
    given = record.get("classification_id", "").strip()
    user, shown = _user(number, record)
    order = int(given) if re.fullmatch("[0-9]{1,18}", given) else number
    return Vote(number, object_id, user, shown, answers, order, _time(record.get("created_at", "")), is_recovered)


def _told(number: int, record: Mapping[str, str], column: str) -> Vote:
    """The vote of one row of a table."""
    answer = re.sub(r"^(-?[0-9]+)\.0+$", r"\1", _plain(record[column]))
    if not answer:
        raise UncountableError("there is no answer")
    object_id, is_recovered = object_id_of(record)
    said_by = next((text for each in USERS if (text := _plain(record.get(each, "")))), "")
    at = next((record[each] for each in TIMES if record.get(each)), "")
    user, shown = (f"name:{said_by}", said_by) if said_by else _nobody(number)
    return Vote(number, object_id, user, shown, (answer,), number, _time(at), is_recovered)


def _parsed(text: str, what: str) -> Any:
    try:
        return DECODER.decode(text)
    except (ValueError, RecursionError):  # also a number of thousands of digits
        raise UncountableError(f"{what} is no JSON", text) from None


def _answers(annotations: Any, task: str) -> tuple[str, ...]:
    """The answer to a task, or to the first; tasks that are asked together are within one."""
    if not isinstance(annotations, list):
        raise UncountableError("annotations is no list of tasks", annotations)
    answered = list(_tasks(annotations))
    if not answered:
        raise UncountableError(NOT_ANSWERED)
    value = answered[0][1]
    if task:
        found = [value for name, value in answered if name == task]
        if not found:
            raise UncountableError(NOT_ANSWERED, f"answered: {', '.join(name for name, _ in answered)}")
        value = found[0]
    values = value if isinstance(value, list) else [value]
    if values in ([], [None], [""]):
        raise UncountableError(NOT_ANSWERED)
    if not all(isinstance(each, str) for each in values):
        raise UncountableError(NO_TEXT, value)
    return tuple(dict.fromkeys(_plain(each) for each in values))


def _first_task(record: Mapping[str, str]) -> str:
    """The task that a record answers first; empty where that cannot be read."""
    try:
        annotations = DECODER.decode(record["annotations"])
    except (ValueError, RecursionError):
        return ""
    return next((name for name, _ in _tasks(annotations)), "") if isinstance(annotations, list) else ""


def _tasks(annotations: list[Any]) -> Iterator[tuple[str, Any]]:
    for each in annotations:
        if not isinstance(each, dict):
            continue
        value = each.get("value")
        if isinstance(value, list) and value and all(isinstance(one, dict) and "task" in one for one in value):
            yield from _tasks(value)
        else:
            yield str(each.get("task", "")), value


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _user(number: int, record: Mapping[str, str]) -> tuple[str, str]:
    """Who a user is told apart by, and the name."""
    name, user_id, address = (_plain(record.get(each, "")) for each in ("user_name", "user_id", "user_ip"))
    key = f"id:{user_id}" if user_id else f"address:{address}" if address else f"name:{name}" if name else ""
    return (key, name or key) if key else _nobody(number)


def _nobody(number: int) -> tuple[str, str]:
    return f"row:{number}", f"unnamed-{number}"


def _time(text: str) -> str:
    """A time as ISO 8601, as Zooniverse ("2024-05-06 07:08:09 UTC") and others write it; empty if it is none."""
    try:
        return datetime.fromisoformat(text.strip().replace(" UTC", "+00:00")).isoformat()
    except ValueError:
        return ""
