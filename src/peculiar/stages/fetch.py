"""Get cutouts from an archive into a folder that ingest reads; killed at any moment, the same command goes on."""

import csv
import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from peculiar.run import FINISHED, LOCK, STARTED, Run, Track, atomic, begin, finish, quiet

if TYPE_CHECKING:
    from peculiar.io.archives.archive import Archive, Piece
    from peculiar.io.archives.fetching import Fetcher
    from peculiar.io.archives.manifest import Manifest
    from peculiar.io.archives.targets import Targets


log = logging.getLogger(__name__)

FAILURES, OBJECTS = "failures.csv", "objects.csv"
BLOCK_BYTES = 4_096  # what a file takes of a disk, at most, beyond its bytes
AHEAD = 2  # requests that are ready beyond those under way
LOOK_UP = 500  # pieces a look at the manifest


@dataclass(frozen=True, kw_only=True)
class FetchConfig:
    """What `fetch` can be told, whatever the archive; nothing of it changes what is fetched."""

    table: Annotated[Path, "CSV, FITS, VOTable, ECSV or Parquet with ra, dec and, best, object_id"]
    output: Annotated[Path, "folder to fill"]
    id_column: Annotated[str, "the table's column of ids; empty: object_id"] = ""
    n_requests: Annotated[int, "requests at a time"] = 4
    n_tries: Annotated[int, "how often to ask for what fails"] = 5
    timeout_seconds: Annotated[float, "seconds without a byte after which a request has failed"] = 60.0
    backoff_seconds: Annotated[float, "wait after the first failure, doubled each time; Retry-After goes first"] = 1.0
    is_again: Annotated[bool, "ask once more for what an earlier run found to be not there"] = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 1 <= self.n_requests <= 32:
            raise ValueError(f"n_requests must be 1 to 32, got {self.n_requests}")
        if not 1 <= self.n_tries <= 20:
            raise ValueError(f"n_tries must be 1 to 20, got {self.n_tries}")
        if not (self.timeout_seconds > 0 and self.backoff_seconds >= 0):
            raise ValueError(f"timeout_seconds must be above 0, backoff_seconds not below, got {self}")


def fetch(archive: "Archive", config: FetchConfig, *, replace: bool = False, track: Track = quiet) -> Run:
    """Fill a folder with the cutouts of a table's objects, or go on.

    ``<two letters>/<object_id>_<band>.fits`` and the like; `manifest.sqlite` says what was asked and what came,
    `failures.csv` (object_id, what, reason) what did not, if anything; `objects.csv` (object_id or file, ra, dec) is a
    catalog for ingest. Every file is read as ingest reads it before it is put in place. `Run.outputs` counts.

    Raises
    ------
    PermissionError
        No account, or the archive refuses it; nothing is lost.
    ValueError
        The table has no positions, the disk has no room, or the folder holds something else.
    """
    from peculiar.io.archives.credentials import find_credentials
    from peculiar.io.archives.fetching import Fetcher
    from peculiar.io.archives.manifest import Manifest
    from peculiar.io.archives.targets import Targets
    from peculiar.io.archives.transport import Pace, connected

    traits, output = archive.traits, config.output
    targets = Targets(config.table, config.id_column)
    credentials = None if traits.login is None else find_credentials(traits.host, traits.login)
    _refuse_foreign(output)
    run = begin(output, f"fetch {traits.name}", archive, inputs={"table": str(config.table)}, replace=replace)
    for left in output.glob("**/.partial-*"):
        left.unlink()
    manifest = Manifest(output)
    try:
        n_pieces, n_left = _plan(archive, targets, manifest, config)
        manifest.refuse(targets.useless)
        _check_room(output, n_left, traits.bytes_a_piece)
        _write_objects(output, targets)
        with (
            connected(config.timeout_seconds, config.n_requests, credentials) as client,
            track("fetching cutouts", n_pieces) as advance,
        ):
            advance(n_pieces - n_left)
            pace = Pace(config.backoff_seconds)
            fetcher = Fetcher(archive, output, manifest, client, pace, config.n_tries, config.timeout_seconds)
            for n in _fetch_all(fetcher, targets, config):
                advance(n)
        counts = manifest.counts()
        _write_failures(output, manifest)
    finally:
        manifest.close()
    return finish(output, run, n_known=n_pieces - n_left, has_ids=targets.has_ids, **counts)


def ingest_command(archive: "Archive", run: Run, folder: Path) -> str:
    """The command that reads the folder."""
    ids = " --ids name" if run.outputs.get("has_ids", True) else ""
    return (
        f"peculiar ingest my-atlas --images {folder} --catalog {folder / OBJECTS}{ids} {archive.traits.ingest}".strip()
    )


def _refuse_foreign(output: Path) -> None:
    """Nobody's folder is filled, or emptied, by mistake."""
    if output.exists() and not output.is_dir():
        raise ValueError(f"{output} is a file; give a folder to fill")
    is_ours = any((output / each).exists() for each in (STARTED, FINISHED))
    if output.exists() and not is_ours and any(each.name != LOCK for each in output.iterdir()):
        raise ValueError(f"{output} holds files but nothing that was fetched; give an empty or a new folder")


def _plan(archive: "Archive", targets: "Targets", manifest: "Manifest", config: FetchConfig) -> tuple[int, int]:
    """Numbers of pieces in all and of those to ask for."""
    n_pieces = n_left = 0
    for pieces in _chunks((piece for target in targets for piece in archive.pieces(target)), LOOK_UP):
        n_pieces += len(pieces)
        n_left += len(_missing(pieces, manifest, config.is_again))
    return n_pieces, n_left


def _missing(pieces: "Sequence[Piece]", manifest: "Manifest", is_again: bool) -> "list[Piece]":
    states = manifest.states(pieces)
    known = {file for file, each in states.items() if not each.reason or (each.is_final and not is_again)}
    return [each for each in pieces if each.file not in known]


def _check_room(output: Path, n_left: int, bytes_a_piece: int) -> None:
    """Say how much it will be, and refuse what the disk has no room for."""
    need, free = n_left * (bytes_a_piece + BLOCK_BYTES), shutil.disk_usage(output).free
    said = f"{n_left:,} files of about {bytes_a_piece / 1e3:,.0f} kB to fetch, {need / 1e9:,.2f} GB"
    if need > free:
        raise ValueError(f"{said}, but {output} has {free / 1e9:,.2f} GB free; make room, or fetch a part of the table")
    log.info("%s; %s has %.2f GB free", said, output, free / 1e9)


def _fetch_all(fetcher: "Fetcher", targets: "Targets", config: FetchConfig) -> Iterator[int]:
    """Ask for all that is missing, a few requests at a time; yield how many pieces were settled."""
    from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

    under_way: set[Future[int]] = set()
    with ThreadPoolExecutor(config.n_requests) as threads:
        try:
            for pieces, n_found in _requests(fetcher, targets, config.is_again):
                yield n_found
                if pieces:
                    under_way.add(threads.submit(fetcher.settle, pieces))
                while len(under_way) >= config.n_requests + AHEAD:
                    done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    yield sum(each.result() for each in done)
            while under_way:
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                yield sum(each.result() for each in done)
        except BaseException:
            fetcher.pace.stop()
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _requests(fetcher: "Fetcher", targets: "Targets", is_again: bool) -> "Iterator[tuple[list[Piece], int]]":
    """What is missing, in requests that part no object, with the number of files that were found in place."""
    per_request, waiting = fetcher.archive.traits.per_request, list[Any]()
    for some in _chunks((piece for target in targets for piece in fetcher.archive.pieces(target)), LOOK_UP):
        missing = _missing(some, fetcher.manifest, is_again)
        absent = [each for each in missing if not fetcher.is_there(each)]
        yield [], len(missing) - len(absent)
        waiting += absent
        while len(waiting) > per_request:
            n = per_request
            while n > 1 and waiting[n - 1].target == waiting[n].target:
                n -= 1
            yield waiting[:n], 0
            waiting = waiting[n:]
    if waiting:
        yield waiting, 0


def _chunks(items: "Iterable[Piece]", n: int) -> "Iterator[list[Piece]]":
    iterator = iter(items)
    while some := list(islice(iterator, n)):
        yield some


def _write_objects(output: Path, targets: "Targets") -> None:
    """A catalog of the objects for ingest: by object_id, or by file where there is none."""
    key = "object_id" if targets.has_ids else "file"
    _write_csv(output / OBJECTS, (key, "ra", "dec"), ((each.name, each.ra, each.dec) for each in targets))


def _write_failures(output: Path, manifest: "Manifest") -> None:
    failures = manifest.failures()
    first = next(failures, None)
    if first is None:
        (output / FAILURES).unlink(missing_ok=True)
    else:
        _write_csv(output / FAILURES, ("object_id", "what", "reason"), chain([first], failures))


def _write_csv(path: Path, names: Sequence[str], rows: "Iterable[Sequence[object]]") -> None:
    with atomic(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
