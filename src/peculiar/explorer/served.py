"""What all requests share, and how a route asks for it: the atlas as it stands, its labels, who asks."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, TypeAlias

from fastapi import Depends, HTTPException, Query, Request
from fastapi import Path as InPath
from pydantic import BaseModel

from peculiar.explorer.evidence import Evidence
from peculiar.explorer.opened import Opened
from peculiar.explorer.sheets import Look, Part
from peculiar.explorer.teaching import Teacher
from peculiar.labels import Labels

KEPT_SHEETS = 2**27  # bytes of sheets that are kept
ID = r"^-?[0-9]{1,19}$"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a server is run.

    Parameters
    ----------
    host, port
        Where it listens. A port of 0 is any that is free.
    ranking
        Whose order is shown.
    expert
        Who asks, where no token is needed; empty: a token is needed.
    is_read_only
        There are no routes that write.
    is_blind
        Others' votes on an object are told when one's own is in.
    allowed_hosts
        Names by which the server may be called, besides its own.
    """

    host: str = "127.0.0.1"
    port: int = 8460
    ranking: str = "main"
    expert: str = ""
    is_read_only: bool = False
    is_blind: bool = False
    allowed_hosts: tuple[str, ...] = ()

    @property
    def is_loopback(self) -> bool:
        """Whether this machine alone can ask."""
        return self.host in ("127.0.0.1", "::1", "localhost")

    @property
    def has_samp(self) -> bool:
        """Whether other programs of the one who asks are on this machine too."""
        return self.is_loopback and bool(self.expert) and not self.is_read_only

    def __post_init__(self) -> None:
        """Check what goes together."""
        if not self.is_loopback and self.expert:
            raise ValueError(
                f"{self.host} is open to other machines: every expert needs a token there, none is assumed"
            )
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"port must be from 0 to 65535, got {self.port}")


class Bytes:
    """Answers by what was asked for, the last ones used, up to some bytes."""

    def __init__(self, most: int) -> None:
        self.most, self.held = most, 0
        self._kept: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()
        self._lock = Lock()

    def of(self, key: tuple[Any, ...], make: Callable[[], bytes]) -> bytes:
        """What is kept under the key, else what `make` gives."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self.held += len(made)
            while self.held > self.most:
                self.held -= len(self._kept.popitem(last=False)[1])
        return made


class Served:
    """What all requests share: the atlas as it stands, its labels, the teacher, sheets that were made."""

    def __init__(self, folder: Path, options: Options) -> None:
        self.folder, self.options = folder, options
        self.labels = Labels(folder)
        self.sheets = Bytes(KEPT_SHEETS)
        self.teacher = Teacher(folder, self.reopen)
        self.reopen()

    def reopen(self) -> None:
        """Read the atlas anew, as interest and labels have become other columns."""
        self.opened = Opened(self.folder, self.options.ranking)
        self.evidence = Evidence(self.opened)


class Refusal(BaseModel):
    """Why something was not done."""

    detail: str | list[Any]


def _served(request: Request) -> Served:
    return request.app.state.served


def _expert(request: Request) -> str:
    expert = request.scope["state"].get("expert")
    if not expert:
        raise HTTPException(401, "a token is needed")
    return str(expert)


def _pinned(request: Request, digest: Annotated[str, Query(max_length=64)] = "") -> Opened:
    """The atlas, if it is still the one that the page has rows of."""
    opened = _served(request).opened
    if digest and digest != opened.digest:
        raise HTTPException(409, "the atlas has changed since this page was opened; load the page again")
    return opened


def _look(
    part: Part = "image",
    stretch: Annotated[float, Query(ge=0.1, le=10, allow_inf_nan=False)] = 1.0,
    invert: bool = False,
    channels: Annotated[str, Query(pattern="^[rgb]{1,3}$")] = "rgb",
) -> Look:
    return Look(part=part, stretch=stretch, invert=invert, channels=channels)


InServed: TypeAlias = Annotated[Served, Depends(_served)]
Who: TypeAlias = Annotated[str, Depends(_expert)]
Pinned: TypeAlias = Annotated[Opened, Depends(_pinned)]
Looked: TypeAlias = Annotated[Look, Depends(_look)]
ObjectId = Annotated[str, InPath(pattern=ID)]
Text = Annotated[str, Query(max_length=32_000)]
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal} for status in (400, 401, 403, 404, 405, 408, 409, 413, 414, 421, 429, 431, 503)
}


def file_of(*media: str) -> dict[int | str, dict[str, Any]]:
    """What the schema says of a route that answers with a file."""
    return {200: {"content": {each: {"schema": {"type": "string", "format": "binary"}} for each in media}}}
