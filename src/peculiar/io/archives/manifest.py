"""What was asked of an archive and what came: SQLite, each change committed, so that a kill loses none."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from peculiar.io.archives.archive import Piece

FILE = "manifest.sqlite"
SAME_PLACE = 1e-7  # degrees: 0.4 milliarcsec; an object that moved by more is another request
SCHEMA = (
    """CREATE TABLE IF NOT EXISTS piece (
        file TEXT PRIMARY KEY, object_id INTEGER, name TEXT NOT NULL, band TEXT NOT NULL,
        ra REAL NOT NULL, dec REAL NOT NULL,
        bytes INTEGER, blake2b TEXT, reason TEXT NOT NULL, is_final INTEGER NOT NULL, at TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS request (
        request INTEGER PRIMARY KEY, first TEXT NOT NULL, n_pieces INTEGER NOT NULL, n_came INTEGER, outcome TEXT,
        at TEXT NOT NULL
    )""",
    "CREATE TABLE IF NOT EXISTS refused (row INTEGER PRIMARY KEY, object_id INTEGER, what TEXT, reason TEXT)",
)


class State(NamedTuple):
    """What is known of a piece: `reason` is empty where it came."""

    reason: str
    is_final: bool


class Manifest:
    """`manifest.sqlite` of a folder: pieces by file, requests, and rows of the table that nothing can be asked for."""

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(folder / FILE, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")  # survives the end of a process, not of the power
        for statement in SCHEMA:
            self._connection.execute(statement)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def states(self, pieces: Sequence[Piece]) -> dict[str, State]:
        """What is known of the pieces, by file; not of those asked for at another place."""
        marks = ",".join("?" * len(pieces))
        by_file = {each.file: each.target for each in pieces}
        rows = self._rows(f"SELECT file, ra, dec, reason, is_final FROM piece WHERE file IN ({marks})", *by_file)
        return {
            file: State(reason, bool(is_final))
            for file, ra, dec, reason, is_final in rows
            if abs(by_file[file].ra - ra) <= SAME_PLACE and abs(by_file[file].dec - dec) <= SAME_PLACE
        }

    def asked(self, pieces: Sequence[Piece]) -> int:
        """Note a request before it goes out, and return its number."""
        query = "INSERT INTO request (first, n_pieces, at) VALUES (?, ?, ?) RETURNING request"
        return int(self._write(query, pieces[0].file, len(pieces), _now()) or 0)

    def answered(self, request: int, n_came: int, outcome: str) -> None:
        """Note how a request ended."""
        self._write("UPDATE request SET n_came = ?, outcome = ? WHERE request = ?", n_came, outcome, request)

    def came(self, piece: Piece, n_bytes: int, digest: str) -> None:
        """Note a piece that is in place."""
        self._piece(piece, n_bytes, digest, "", True)

    def failed(self, piece: Piece, reason: str, *, is_final: bool) -> None:
        """Note a piece that did not come, and whether to ask again is no use."""
        self._piece(piece, None, None, reason, is_final)

    def _piece(self, piece: Piece, n_bytes: int | None, digest: str | None, reason: str, is_final: bool) -> None:
        each = piece.target
        row = (piece.file, each.object_id, each.name, piece.band, each.ra, each.dec, n_bytes, digest, reason, is_final)
        self._write(f"INSERT OR REPLACE INTO piece VALUES ({','.join('?' * 11)})", *row, _now())

    def refuse(self, rows: Sequence[tuple[int | None, str, str]]) -> None:
        """Put object_id, what and reason of the table's useless rows in the place of those of before."""
        with self._lock:
            self._connection.execute("BEGIN")
            self._connection.execute("DELETE FROM refused")
            self._connection.executemany("INSERT INTO refused (object_id, what, reason) VALUES (?, ?, ?)", rows)
            self._connection.execute("COMMIT")

    def failures(self) -> Iterator[tuple[int | None, str, str]]:
        """Object_id, what and reason of all that did not come."""
        yield from self._rows("SELECT object_id, what, reason FROM refused ORDER BY row")
        yield from self._rows(
            "SELECT object_id, CASE band WHEN '' THEN name ELSE name || '_' || band END, reason "
            "FROM piece WHERE reason != '' ORDER BY name, band"
        )

    def counts(self) -> dict[str, int]:
        """Files in place, failures, requests, and bytes."""
        (came, n_bytes), (failed,), (refused,), (requests,) = (
            self._rows(query)[0]
            for query in (
                "SELECT count(*), coalesce(sum(bytes), 0) FROM piece WHERE reason = ''",
                "SELECT count(*) FROM piece WHERE reason != ''",
                "SELECT count(*) FROM refused",
                "SELECT count(*) FROM request",
            )
        )
        return {"n_files": came, "n_failed": failed + refused, "n_requests": requests, "n_bytes": n_bytes}

    def _rows(self, query: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def _write(self, query: str, *values: object) -> int | None:
        """One statement, committed; what it returns."""
        with self._lock:
            row = self._connection.execute(query, values).fetchall()
            return row[0][0] if row else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
