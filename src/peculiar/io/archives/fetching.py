"""One request after another, each until its pieces came or failed: ask, unpack, check, put in place, note."""

import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from peculiar.io.archives.archive import Archive, Flawed, Piece
from peculiar.io.archives.checks import NO_BAND, OFF_SURVEY
from peculiar.io.archives.manifest import Manifest
from peculiar.io.archives.transport import MAX_WAIT, Outcome, Pace, Stopped, receive
from peculiar.run import atomic

if TYPE_CHECKING:
    import httpx

MOST_IN_VAIN = 20  # requests in a row, each tried to the end, after which an archive counts as down
N_LOGGED = 20  # failures that are named while fetching
log = logging.getLogger(__name__)


@dataclass
class Fetcher:
    """What the threads of a fetch share; `settle` is what each does."""

    archive: Archive
    folder: Path
    manifest: Manifest
    client: "httpx.Client"
    pace: Pace
    n_tries: int
    timeout_seconds: float
    n_failed: int = 0
    n_in_vain: int = 0
    # The readers change how warnings are filtered, which is the process's: one file at a time.
    checking: threading.Lock = field(default_factory=threading.Lock)

    def is_there(self, piece: Piece) -> bool:
        """Whether a kill came between the placing of a file and the note of it."""
        path = self.folder / piece.file
        if not path.is_file():
            return False
        try:
            with self.checking:
                self.archive.check(piece, path)
        except Flawed:
            return False
        self._note(piece, path.read_bytes())
        return True

    def settle(self, pieces: list[Piece]) -> int:
        """Ask for pieces until each came or has failed; how many there were."""
        pending = dict.fromkeys(pieces, "")
        try:
            for attempt in range(self.n_tries):
                if attempt:
                    self.pace.back_off(attempt)
                pending = self._ask(list(pending))
                if not pending:
                    self.n_in_vain = 0
                    break
            for piece, reason in pending.items():
                self._fail(piece, reason, is_final=False)
            if len(pending) == len(pieces):
                self._refuse_to_go_on(pending[pieces[-1]])
        except Stopped:
            return 0
        except OSError:  # no account, an archive that is down, a full disk: it would be so for all
            self.pace.stop()
            raise
        return len(pieces)

    def _refuse_to_go_on(self, reason: str) -> None:
        """An archive that is down is left alone: the same command asks again when it is up."""
        self.n_in_vain += 1
        if self.n_in_vain >= MOST_IN_VAIN:
            host = self.archive.traits.host
            raise ConnectionError(
                f"{host} answered none of {self.n_in_vain} requests in a row, each tried {self.n_tries} times "
                f"({reason}); what came is kept, the same command goes on"
            )

    def _ask(self, pieces: list[Piece]) -> dict[Piece, str]:
        """Send one request; the pieces to ask for again, with reasons."""
        request = self.manifest.asked(pieces)
        most = 20 * len(pieces) * self.archive.traits.bytes_a_piece + 10_000_000
        ask, seconds = self.archive.ask(pieces), self.timeout_seconds
        with _scratch(self.folder) as reply:
            outcome = receive(self.client, ask, reply, self.pace, max_bytes=most, timeout_seconds=seconds)
            if outcome.retry_after > MAX_WAIT:
                host = self.archive.traits.host
                raise ConnectionError(f"{host} asks to wait {outcome.retry_after:,.0f} s; run the same command then")
            self.pace.hold(outcome.retry_after)
            settled, flaws, outcome = self._take(reply, pieces, outcome)
        self.manifest.answered(request, sum(settled.values()), outcome.reason or "complete")
        again: dict[Piece, str] = {}
        for piece in pieces:
            if piece in settled:
                continue
            if reason := flaws.get(piece, outcome.reason):
                if outcome.is_final:
                    self._fail(piece, reason, is_final=True)
                else:
                    again[piece] = reason
            else:
                self._fail(piece, self._why_absent(piece), is_final=True)
        return again

    def _take(
        self, reply: Path, pieces: list[Piece], outcome: Outcome
    ) -> tuple[dict[Piece, bool], dict[Piece, str], Outcome]:
        """Put in place what is good: pieces that came or never will, flaws of others, and how the reply ended."""
        settled: dict[Piece, bool] = {}
        flaws: dict[Piece, str] = {}
        if not outcome.has_body or (outcome.reason and self.archive.traits.per_request == 1):
            return settled, flaws, outcome
        try:
            for piece, content in self.archive.unpack(reply, pieces):
                if settled.get(piece):  # where tracts overlap an archive may give a piece twice
                    continue
                try:
                    if isinstance(content, Flawed):
                        raise content
                    self._place(piece, content)
                    settled[piece] = True
                except Flawed as flaw:
                    if flaw.is_final:
                        self._fail(piece, flaw.reason, is_final=True)
                        settled[piece] = False
                    else:
                        flaws[piece] = flaw.reason
        except Flawed as flaw:
            outcome = Outcome(outcome.reason or flaw.reason, flaw.is_final)
        return settled, flaws, outcome

    def _why_absent(self, piece: Piece) -> str:
        """A reply that is whole and lacks a piece: the archive has nothing there, or not in that band."""
        states = self.manifest.states(self.archive.pieces(piece.target))
        return f"{NO_BAND}: {piece.band}" if any(not each.reason for each in states.values()) else OFF_SURVEY

    def _place(self, piece: Piece, content: bytes) -> None:
        path = self.folder / piece.file
        path.parent.mkdir(exist_ok=True)
        with atomic(path) as partial:
            partial.write_bytes(content)
            with self.checking:
                self.archive.check(piece, partial)
        self._note(piece, content)

    def _note(self, piece: Piece, content: bytes) -> None:
        self.manifest.came(piece, len(content), hashlib.blake2b(content, digest_size=16).hexdigest())

    def _fail(self, piece: Piece, reason: str, *, is_final: bool) -> None:
        self.manifest.failed(piece, reason, is_final=is_final)
        self.n_failed += 1
        if self.n_failed <= N_LOGGED:
            log.warning("not fetched: %s: %s", piece.file, reason)
        elif self.n_failed == N_LOGGED + 1:
            log.warning("more is not fetched; failures.csv will have all of it")


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A hidden file for a reply."""
    handle, name = tempfile.mkstemp(dir=folder, prefix=".partial-")
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink()
