"""What people said of objects: the labels of many experts, an append-only log in the atlas's `labels.sqlite`."""

import hashlib
import json
import operator
import os
import re
import secrets
import sqlite3
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

FILE = "labels.sqlite"
FORM = 1  # of the file, in its user_version; a newer one is refused
PATIENCE, PAUSE = 30.0, 0.05  # seconds to wait for others who write
ROWS_AT_ONCE = 65_536
MAX_CLASSES = 40
MAX_EXPERT, MAX_CLASS, MAX_EVENT_ID, MAX_DESCRIPTION = 64, 40, 200, 500  # characters
TOKEN_BYTES = 32
APPEND_ONLY = ("event", "class_list")

SCHEMA = (
    """CREATE TABLE event (
        event INTEGER PRIMARY KEY AUTOINCREMENT,
        event_id TEXT UNIQUE NOT NULL,
        object_id INTEGER NOT NULL,
        expert TEXT NOT NULL REFERENCES expert,
        label TEXT,
        said_at TEXT NOT NULL,
        stored_at TEXT NOT NULL,
        replaces INTEGER REFERENCES event
    )""",
    # The current vote is the last of an expert on an object: the end of a range in this index, and no state of its own.
    "CREATE INDEX event_of_expert ON event (expert, object_id, event)",
    "CREATE INDEX event_of_object ON event (object_id, expert, event)",
    "CREATE TABLE expert (name TEXT PRIMARY KEY, folded TEXT UNIQUE NOT NULL, digest TEXT UNIQUE, since TEXT NOT NULL)",
    """CREATE TABLE class_list (
        version INTEGER PRIMARY KEY AUTOINCREMENT,
        classes TEXT NOT NULL,
        expert TEXT NOT NULL REFERENCES expert,
        stored_at TEXT NOT NULL
    )""",
    *(
        f"CREATE TRIGGER {table}_no_{act.lower()} BEFORE {act} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for table in APPEND_ONLY
        for act in ("UPDATE", "DELETE")
    ),
    # INSERT OR REPLACE deletes without the trigger of DELETE.
    """CREATE TRIGGER event_no_replace BEFORE INSERT ON event
        WHEN EXISTS (SELECT 1 FROM event WHERE event = NEW.event OR event_id = NEW.event_id)
        BEGIN SELECT RAISE(ABORT, 'event is append-only'); END""",
    """CREATE TRIGGER class_list_no_replace BEFORE INSERT ON class_list
        WHEN EXISTS (SELECT 1 FROM class_list WHERE version = NEW.version)
        BEGIN SELECT RAISE(ABORT, 'class_list is append-only'); END""",
)
CLASS_LISTS = "SELECT classes FROM class_list ORDER BY version"
CURRENT = """SELECT object_id, expert, label, event, said_at FROM event
    WHERE label IS NOT NULL AND event IN (SELECT max(event) FROM event GROUP BY expert, object_id)"""
CURRENT_ON = """SELECT object_id, expert, label, event, said_at FROM event WHERE label IS NOT NULL
    AND event IN (SELECT max(event) FROM event WHERE object_id = ? GROUP BY expert)"""
CURRENT_OF = """SELECT object_id, expert, label, event, said_at FROM event WHERE label IS NOT NULL
    AND event IN (SELECT max(event) FROM event WHERE expert = ? GROUP BY object_id)"""


def _printable(text: str, what: str, longest: int) -> str:
    """Text as it is kept: stripped, and composed as NFC."""
    kept = unicodedata.normalize("NFC", text).strip()
    if not 1 <= len(kept) <= longest or not kept.isprintable():
        raise ValueError(f"{what} must be 1 to {longest} printable characters, got {text!r}")
    return kept


@dataclass(frozen=True)
class Said:
    """What is said of one object; without a label, what this expert said of it is taken back.

    Parameters
    ----------
    event_id
        Made by who sends it, once for each thing said, so that it may be sent again and is stored once.
    said_at
        ISO 8601, by the clock of who says it.
    """

    event_id: str
    object_id: int
    label: str | None
    said_at: str


@dataclass(frozen=True)
class LabelClass:
    """A class that labels can name: its color (#rrggbb), its key ("0" to "9", or none), and what it means."""

    name: str
    color: str = "#bbbbbb"
    key: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        """Check the fields; the name is stripped, and composed as NFC."""
        object.__setattr__(self, "name", _printable(self.name, "a class's name", MAX_CLASS))
        if not re.fullmatch("#[0-9a-fA-F]{6}", self.color):
            raise ValueError(f"the color of {self.name} must be #rrggbb, got {self.color!r}")
        if not re.fullmatch("[0-9]?", self.key):
            raise ValueError(f"the key of {self.name} must be one of 0 to 9 or empty, got {self.key!r}")
        if len(self.description) > MAX_DESCRIPTION:
            raise ValueError(f"the description of {self.name} must have at most {MAX_DESCRIPTION} characters")


# Colors of Okabe & Ito (2008), which color-blind readers tell apart; without the two that are dark on a dark ground.
DEFAULT_CLASSES = (
    LabelClass("merger", "#e69f00", "1", "two galaxies or more that merge, or are about to"),
    LabelClass("tidal tail", "#56b4e9", "2", "a tail, stream, bridge or shell drawn out by tides"),
    LabelClass("star-forming", "#009e73", "3", "knots or a whole of young stars, bluer than its like"),
    LabelClass("lens", "#f0e442", "4", "arcs or several images by gravitational lensing"),
    LabelClass("unusual", "#cc79a7", "5", "real, and of no class that is here"),
    LabelClass("artefact", "#d55e00", "6", "made by telescope or pipeline, not by the sky"),
    LabelClass("normal", "#bbbbbb", "7", "nothing special"),
)


class Labels:
    """`labels.sqlite` of the atlas in `folder`: experts, classes, and the log of what was said.

    The log is only ever appended to, and is the truth; the current vote of an expert on an object is the last there.
    Every call has its own connection and every write is one short transaction, so that threads and processes may share
    the file. What a method returned is on the disk. Without the file everything is empty, and reading makes none.

    Raises
    ------
    ValueError
        The file was written by a newer version of this package.
    OSError
        It cannot be read or written: no labels, no space left, or others wrote for longer than 30 s.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / FILE

    def exists(self) -> bool:
        """Whether anything was ever written: a label, a list of classes or an expert."""
        return self.path.is_file()

    # Experts.

    def add_expert(self, name: str) -> str:
        """A new token of an expert, who is added where unknown; one given before no longer works.

        It is told once: only its SHA-256 is kept.

        Raises
        ------
        ValueError
            The name is not 1 to 64 printable characters, or differs from another in case only.
        """
        name, token = _expert(name), secrets.token_urlsafe(TOKEN_BYTES)
        with self._writing() as connection:
            _note_expert(connection, name)
            connection.execute("UPDATE expert SET digest = ? WHERE name = ?", (_digest(token), name))
        return token

    def expert_of(self, token: str) -> str | None:
        """Whose token this is; None where it is nobody's. Sought by its digest, so that time tells nothing."""
        return next((name for (name,) in self._rows("SELECT name FROM expert WHERE digest = ?", _digest(token))), None)

    def experts(self) -> list[str]:
        """All who were added or said anything, by name."""
        return [name for (name,) in self._rows("SELECT name FROM expert ORDER BY folded")]

    # Classes.

    def classes(self) -> list[LabelClass]:
        """The newest list of classes; `DEFAULT_CLASSES` where none was ever set."""
        query = "SELECT classes FROM class_list ORDER BY version DESC LIMIT 1"
        newest = next((text for (text,) in self._rows(query)), None)
        return list(DEFAULT_CLASSES) if newest is None else [LabelClass(**each) for each in json.loads(newest)]

    def every_class(self) -> list[str]:
        """Names of the classes of all lists that there were, and of the default one: what can be said."""
        return _named_in(self._rows(CLASS_LISTS))

    def set_classes(self, classes: Sequence[LabelClass], expert: str) -> None:
        """Append a new list of classes; earlier ones are kept, with who set them and when.

        A class may be recolored, described and given another key. One that is left out keeps its labels, which count
        as before, and can still be said.

        Raises
        ------
        ValueError
            There are none or more than 40; two have one key, or one name whatever the case; or labels exist on a class
            whose name differs in case only.
        """
        _refuse_alike(classes)
        expert = _expert(expert)
        with self._writing() as connection:
            _note_expert(connection, expert)
            used = {
                label.casefold(): label for (label,) in connection.execute("SELECT DISTINCT label FROM event") if label
            }
            for each in classes:
                if (there := used.get(each.name.casefold(), each.name)) != each.name:
                    raise ValueError(f"there are labels of the class {there!r}; keep its spelling, not {each.name!r}")
            text = json.dumps([asdict(each) for each in classes], ensure_ascii=False)
            connection.execute(
                "INSERT INTO class_list (classes, expert, stored_at) VALUES (?, ?, ?)", (text, expert, _now())
            )

    # The log.

    def add(self, expert: str, said: Sequence[Said]) -> list[int]:
        """Store what an expert said, all or none, and return the event numbers, in the order given.

        What is there already, by its event_id, is not stored again, and its number is returned: after a lost answer the
        same may be sent again. An expert who is not known yet is noted, without a token. Whether the survey has these
        objects is for the caller to check.

        Raises
        ------
        ValueError
            A label is no class of this list or of an earlier one; an id is not int64; a time is not ISO 8601; or an
            event_id is there and says something else.
        """
        expert, stored_at = _expert(expert), _now()
        rows = [_checked(each) for each in said]
        with self._writing() as connection:
            _note_expert(connection, expert)
            known = _named_in(connection.execute(CLASS_LISTS))
            if unknown := {each.label for each in rows if each.label is not None} - set(known):
                raise ValueError(f"no class {', '.join(map(repr, sorted(unknown)))}; there are {', '.join(known)}")
            return [_stored(connection, expert, each, stored_at) for each in rows]

    def votes(self, expert: str | None = None) -> "pa.Table":
        """Current votes, of all or of one expert, in the order of the log; what was taken back is left out.

        Columns: object_id (int64), expert, label, event (int64), at (the time at which it was said).
        """
        if expert is None:
            return self._votes(CURRENT)
        return self._votes(CURRENT_OF, _expert(expert))

    def visible_votes(self, expert: str, *, is_blind: bool) -> "pa.Table":
        """The votes that an expert may see: all, or, if blind, of objects that this expert has voted on."""
        if not is_blind:
            return self.votes()
        mine = f"SELECT object_id FROM ({CURRENT_OF})"
        return self._votes(f"{CURRENT} AND object_id IN ({mine})", _expert(expert))

    def visible_votes_on(self, object_id: int, expert: str, *, is_blind: bool) -> "pa.Table":
        """Those of `visible_votes` that are on one object."""
        votes = self._votes(CURRENT_ON, int(object_id))
        is_told = not is_blind or _expert(expert) in votes["expert"].to_pylist()
        return votes if is_told else votes.slice(0, 0)

    def seen_by(self, expert: str) -> np.ndarray:
        """Ids, ascending, of objects that an expert's current votes are on."""
        query = f"SELECT object_id FROM ({CURRENT_OF}) ORDER BY object_id"
        return np.array([each for (each,) in self._rows(query, _expert(expert))], np.int64)

    def events(self, after: int = 0) -> "pa.Table":
        """The log, or what follows the event numbered `after`; a label that is null takes back."""
        import pyarrow as pa

        text, number = pa.string(), pa.int64()
        kinds = {"event": number, "event_id": text, "object_id": number, "expert": text, "label": text}
        kinds |= {"said_at": text, "stored_at": text, "replaces": number}
        query = f"SELECT {', '.join(kinds)} FROM event WHERE event > ? ORDER BY event"
        return self._table(pa.schema(kinds.items()), query, after)

    def last_event(self) -> int:
        """Number of the last event; 0 before the first. What products of the labels are pinned by."""
        return next((number for (number,) in self._rows("SELECT coalesce(max(event), 0) FROM event")), 0)

    # The file.

    def _votes(self, query: str, *values: Any) -> "pa.Table":
        import pyarrow as pa

        names = ("object_id", "expert", "label", "event", "at")
        kinds = (pa.int64(), pa.string(), pa.string(), pa.int64(), pa.string())
        return self._table(pa.schema(zip(names, kinds, strict=True)), f"{query} ORDER BY event", *values)

    def _table(self, schema: "pa.Schema", query: str, *values: Any) -> "pa.Table":
        """Rows of a query as Arrow, made in parts, as Python's objects take ten times the room."""
        import pyarrow as pa

        rows, batches = self._rows(query, *values), []
        while part := [row for _, row in zip(range(ROWS_AT_ONCE), rows, strict=False)]:
            columns = [pa.array(each, field.type) for each, field in zip(zip(*part, strict=True), schema, strict=True)]
            batches.append(pa.record_batch(columns, schema=schema))
        return pa.Table.from_batches(batches, schema)

    def _rows(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Rows of a query; none where nothing was ever written."""
        if not self.exists():
            return
        # A folder that is not ours to write to has no place for the log's index, unless somebody is writing there.
        is_fixed = not os.access(self.folder, os.W_OK) and not Path(f"{self.path}-wal").exists()
        with self._connected("mode=ro&immutable=1" if is_fixed else "mode=rw") as connection:
            if self._form_of(connection):
                yield from connection.execute(query, values)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: what is done in it is on the disk when it ends, or, after an error, was never done."""
        if not self.folder.is_dir():
            raise FileNotFoundError(f'there is no atlas {self.folder}; "peculiar ingest" makes one')
        with self._connected("mode=rwc") as connection:
            connection.execute("PRAGMA synchronous = FULL")
            if not self._form_of(connection):
                self._make(connection)
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def _make(self, connection: sqlite3.Connection) -> None:
        """Make the tables, unless another process was quicker, and let readers read while somebody writes."""
        connection.execute("BEGIN IMMEDIATE")
        if not self._form_of(connection):
            for statement in (*SCHEMA, f"PRAGMA user_version = {FORM}"):
                connection.execute(statement)
        connection.execute("COMMIT")
        end = time.monotonic() + PATIENCE
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError:  # others hold the file that was just made; here SQLite does not wait
                if time.monotonic() > end:
                    raise
                time.sleep(PAUSE)

    def _form_of(self, connection: sqlite3.Connection) -> int:
        """The form of the file; 0 where it was made and nothing was written yet."""
        form = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if form > FORM:
            raise ValueError(
                f"{self.path} was written by a newer peculiar (form {form}, known {FORM}); update peculiar"
            )
        return form

    @contextmanager
    def _connected(self, mode: str) -> Iterator[sqlite3.Connection]:
        try:
            address = f"{self.path.resolve().as_uri()}?{mode}"
            connection = sqlite3.connect(address, timeout=PATIENCE, isolation_level=None, uri=True)
            try:
                yield connection
            finally:
                connection.close()  # undoes a transaction that is not done
        except sqlite3.Error as error:
            raise OSError(f"{self.path} cannot be read or written: {error}") from error


def _note_expert(connection: sqlite3.Connection, name: str) -> None:
    """Keep an expert's name, if it is new."""
    there = connection.execute("SELECT name FROM expert WHERE folded = ?", (name.casefold(),)).fetchone()
    if there is None:
        connection.execute("INSERT INTO expert (name, folded, since) VALUES (?, ?, ?)", (name, name.casefold(), _now()))
    elif there[0] != name:
        raise ValueError(f"there is an expert {there[0]!r}; {name!r} differs in case only")


def _named_in(lists: Iterable[tuple[str]]) -> list[str]:
    """Names of the default classes and of these lists'."""
    named = {each["name"] for (text,) in lists for each in json.loads(text)}
    return sorted(named | {each.name for each in DEFAULT_CLASSES})


def _stored(connection: sqlite3.Connection, expert: str, said: Said, stored_at: str) -> int:
    """The number of what was said, new or there already."""
    query = "SELECT event, expert, object_id, label FROM event WHERE event_id = ?"
    there = connection.execute(query, (said.event_id,)).fetchone()
    if there is not None:
        _refuse_other(expert, said, *there)
        return int(there[0])
    done = connection.execute(
        "INSERT INTO event (event_id, object_id, expert, label, said_at, stored_at, replaces) VALUES "
        "(?, ?, ?, ?, ?, ?, (SELECT max(event) FROM event WHERE expert = ? AND object_id = ?))",
        (said.event_id, said.object_id, expert, said.label, said.said_at, stored_at, expert, said.object_id),
    )
    return int(done.lastrowid or 0)


def _refuse_other(expert: str, said: Said, event: int, whose: str, object_id: int, label: str | None) -> None:
    """Raise where an event is there already, and is not this one."""
    if whose != expert:  # of what, and what, is not for everybody to know
        raise ValueError(f"event_id {said.event_id!r} is another expert's: every new thing said needs one of its own")
    if (object_id, label) != (said.object_id, said.label):
        raise ValueError(
            f"event_id {said.event_id!r} is event {event}, where {whose} said {label!r} of {object_id}; "
            f"not {said.label!r} of {said.object_id}: every new thing said needs an event_id of its own"
        )


def _checked(said: Said) -> Said:
    """The same, its id a plain integer."""
    object_id = operator.index(said.object_id)
    if not -(2**63) <= object_id < 2**63:
        raise ValueError(f"object_id must be int64, got {object_id}")
    _printable(said.event_id, "an event_id", MAX_EVENT_ID)
    try:
        datetime.fromisoformat(said.said_at)
    except (TypeError, ValueError):
        raise ValueError(f"said_at must be a time as ISO 8601 has it, got {said.said_at!r}") from None
    return Said(said.event_id, object_id, said.label, said.said_at)


def _refuse_alike(classes: Sequence[LabelClass]) -> None:
    if not 1 <= len(classes) <= MAX_CLASSES:
        raise ValueError(f"there must be 1 to {MAX_CLASSES} classes, got {len(classes)}")
    for what, given in (("name", [each.name.casefold() for each in classes]), ("key", [each.key for each in classes])):
        twice = sorted({each for each in given if each and given.count(each) > 1})
        if twice:
            raise ValueError(f"two classes have the {what} {', '.join(map(repr, twice))}; give each its own")


def _expert(name: str) -> str:
    return _printable(name, "an expert's name", MAX_EXPERT)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
