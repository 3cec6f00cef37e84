"""A stage's record: what it was told, what it read, and that it is complete."""

import dataclasses
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

if TYPE_CHECKING:
    from filelock import FileLock

FINISHED = "run.json"  # put in place last: its presence means complete
STARTED = "started.json"  # the same promise, not yet kept
EMPTYING = ".emptying"  # a kill while it was emptied left this
LOCK = ".lock"  # held while a process works in a folder
NAME = re.compile("[A-Za-z0-9_-]{1,100}")
RECORDED_PACKAGES = ("peculiar", "torch", "numpy", "pylance", "pyarrow", "astropy", "scipy")


class Track(Protocol):
    """Follow a long loop: a context that yields `advance(n)`. The command line passes a progress bar."""

    def __call__(self, description: str, total: int | None) -> AbstractContextManager[Callable[[int], None]]:
        """Begin to follow; `total` is None where it is not known."""
        ...


@contextmanager
def quiet(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Follow nothing: the default `Track`."""
    yield lambda n: None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One record, as `run.json` holds it."""

    stage: str
    config: dict[str, Any]
    identity: str = ""  # of what stands in the folder: kept when it is added to, another when it is made anew
    reads: dict[str, str] = dataclasses.field(default_factory=dict)  # identities of other folders, by place
    inputs: dict[str, Any] = dataclasses.field(default_factory=dict)
    outputs: dict[str, Any] = dataclasses.field(default_factory=dict)
    packages: dict[str, str] = dataclasses.field(default_factory=dict)
    started: str = ""
    finished: str = ""


def home_of(folder: Path, kind: str, name: str) -> Path:
    """The folder of a product in the atlas `folder`: `kind` is networks, scores, maps ..., `name` the user's.

    Raises
    ------
    ValueError
        The name holds anything but letters, digits, - and _, so that it might be a path.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"a name of {kind} must be letters, digits, - and _, at most 100 of them, got {name!r}")
    return folder / kind / name


_held: "dict[Path, FileLock]" = {}  # by folder; a process may begin again where an error ended its work


def _hold(folder: Path) -> None:
    """Keep every other process from working in `folder` until `finish`, or until this process ends."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = _held.setdefault(folder.resolve(), FileLock(folder.resolve() / LOCK, thread_local=False))
    if not lock.is_locked:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(f"another process is at work in {folder}; wait until it is done, or end it") from None


def _empty(folder: Path) -> None:
    """Take out all but the lock; the record first, so that what a kill leaves does not pass for complete.

    Raises
    ------
    ValueError
        No stage has put its record there: what it holds is somebody else's.
    """
    held = [path for path in folder.iterdir() if path.name not in (LOCK, EMPTYING)]
    is_ours = any((folder / each).exists() for each in (FINISHED, STARTED, EMPTYING))
    if held and not is_ours:
        raise ValueError(f"{folder} holds what no stage has made, {held[0].name} for one; move it away first")
    (folder / EMPTYING).touch()
    (folder / FINISHED).unlink(missing_ok=True)
    for path in held:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    (folder / EMPTYING).unlink()


def _holds_work(folder: Path) -> bool:
    """Whether anything but a record was written: what was refused at once is not gone on with."""
    return folder.is_dir() and any(path.name not in (STARTED, LOCK, EMPTYING) for path in folder.iterdir())


def begin(
    folder: Path,
    stage: str,
    config: Any,
    *,
    inputs: Mapping[str, Any],
    reads: Mapping[str, str] | None = None,
    replace: bool = False,
) -> Run:
    """Open a stage's folder for work, and return the record to `finish` with.

    A folder that was begun or finished with the same config is gone on with. Fields declared with
    ``compare=False`` (workers, device) may differ. `reads` are the identities of the folders that are read, by their
    place in the atlas: where one of them is made anew, `peculiar status` calls this one stale.

    Raises
    ------
    ValueError
        The folder was made with another config, naming the fields that differ; with `replace` it is emptied instead.
        Or another process is at work in it.
    """
    now = as_json(config)
    before = read_run(folder) or read_started(folder)
    if before is not None and before.stage != stage:
        raise ValueError(f"{folder} was made by {before.stage}, not by {stage}; take another --name")
    if before is not None and not replace and _holds_work(folder):
        _refuse_another_config(folder, config, before)
    _hold(folder)
    if replace:
        _empty(folder)
        before = None
    for partial in folder.glob(".partial-*"):  # what a kill left of files that were being written
        partial.unlink(missing_ok=True)
    run = Run(
        stage=stage,
        config=now,
        identity=before.identity if before else uuid4().hex,
        reads=dict(reads or {}),
        inputs=dict(inputs),
        outputs=dict(before.outputs) if before else {},
        packages=_package_versions(),
        started=before.started if before and not before.finished else _now(),
    )
    write_json(folder / STARTED, dataclasses.asdict(run))
    (folder / FINISHED).unlink(missing_ok=True)
    return run


def _refuse_another_config(folder: Path, config: Any, before: Run) -> None:
    now = as_json(config)
    # A field that the package did not have when the record was written was as its default says.
    usual = {each.name: each.default for each in dataclasses.fields(config) if each.default is not dataclasses.MISSING}
    then = {**json.loads(json.dumps(usual, default=str)), **before.config}
    differing = [name for name in compared_fields(config) if then.get(name) != now.get(name)]
    if differing:
        changes = ", ".join(f"{name} was {before.config.get(name)!r}, now {now.get(name)!r}" for name in differing)
        raise ValueError(
            f"{folder} was made by {before.stage} with another config: {changes}; "
            "repeat the old values, give --replace to start over, or another --name to keep both"
        )


def refuse_made_anew(folder: Path, reads: Mapping[str, str], message: str, *, replace: bool) -> None:
    """Stop where a folder that this one was begun with, by its place, is no longer what it was.

    Raises
    ------
    ValueError
        The message: what was made anew, and what to do.
    """
    before = read_run(folder) or read_started(folder)
    if before is None or replace:
        return
    if any(before.reads.get(place, identity) != identity for place, identity in reads.items()):
        raise ValueError(message)


def finish(folder: Path, run: Run, **outputs: Any) -> Run:
    """Declare a stage complete: write `run.json`, and only then take the started record away."""
    done = dataclasses.replace(run, outputs={**run.outputs, **outputs}, finished=_now())
    write_json(folder / FINISHED, dataclasses.asdict(done))
    (folder / STARTED).unlink(missing_ok=True)
    if lock := _held.pop(folder.resolve(), None):
        lock.release(force=True)
    return done


def read_run(folder: Path) -> Run | None:
    """The record of a complete stage, or None."""
    return _read(folder / FINISHED)


def read_started(folder: Path) -> Run | None:
    """The record of a stage that was begun and not finished, or None."""
    return _read(folder / STARTED)


def recorded_config(folder: Path) -> dict[str, Any] | None:
    """The config that a folder was begun or finished with, or None."""
    run = read_run(folder) or read_started(folder)
    return None if run is None else run.config


def at_least(config: Any, least: float, *names: str) -> None:
    """Refuse a config in which one of these numbers is smaller, or none.

    Raises
    ------
    ValueError
        One is.
    """
    for name in names:
        if not getattr(config, name) >= least:
            must = f"be at least {least:g}" if least else "not be negative"
            raise ValueError(f"{name} must {must}, got {getattr(config, name)}")


def positive(config: Any, *names: str) -> None:
    """Refuse a config in which one of these numbers is not above 0, as `at_least`."""
    for name in names:
        if not getattr(config, name) > 0:
            raise ValueError(f"{name} must be positive, got {getattr(config, name)}")


def as_json(config: Any) -> dict[str, Any]:
    """A config dataclass as JSON types: paths become text, tuples lists."""
    fields: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    return fields


def compared_fields(config: Any) -> list[str]:
    """Names of the config fields that change the result."""
    return [field.name for field in dataclasses.fields(config) if field.compare]


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half."""
    with atomic(path) as partial:
        partial.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")


def save_figure(figure: Any, path: Path) -> None:
    """Write a matplotlib figure, in the format of the path's ending, so that a reader never sees half of it."""
    with atomic(path) as partial:
        figure.savefig(partial, dpi=150)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, put in its place when the block ends without an error."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".partial-", suffix=path.suffix)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _read(path: Path) -> Run | None:
    if not path.exists():
        return None
    try:
        return Run(**json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, TypeError) as error:
        raise ValueError(
            f"{path} is not a stage record: {error}; move the folder away and run the stage again"
        ) from error


def _package_versions() -> dict[str, str]:
    found = {}
    for name in RECORDED_PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
