"""What an archive of cutouts is to the loop that fetches: objects become pieces, pieces requests, replies pieces."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Target:
    """An object to get cutouts of: `name` begins its files' names; ICRS, degrees."""

    name: str
    object_id: int | None
    ra: float
    dec: float


@dataclass(frozen=True)
class Piece:
    """One file to get: an object in one band, or in all where `band` is empty."""

    target: Target
    band: str
    suffix: str

    @property
    def file(self) -> str:
        """Its place in the folder: 256 folders, so that none holds millions of files."""
        shard = hashlib.blake2b(self.target.name.encode(), digest_size=1).hexdigest()
        return f"{shard}/{self.target.name}{'_' if self.band else ''}{self.band}{self.suffix}"


@dataclass(frozen=True)
class Ask:
    """One request: GET with `params`, or POST of an `upload` (form field, text)."""

    url: str
    params: Mapping[str, str] = field(default_factory=dict)
    upload: tuple[str, str] | None = None


@dataclass(frozen=True)
class Traits:
    """What the loop must know of an archive.

    `name` is the command's; `per_request` pieces go into a request; `bytes_a_piece` is an estimate; `ingest` are the
    options that ``peculiar ingest`` needs to read the folder. With `login`, the environment variables of user and
    password, HTTP Basic authentication is used.
    """

    name: str
    per_request: int
    bytes_a_piece: int
    ingest: str
    host: str
    login: tuple[str, str] | None = None


class Flawed(Exception):
    """What came is not what was asked for. A `is_final` flaw is not mended by asking again."""

    def __init__(self, reason: str, *, is_final: bool) -> None:
        super().__init__(reason)
        self.reason, self.is_final = reason, is_final


class Archive(Protocol):
    """An archive: a frozen dataclass of its options, whose annotations are the command's, with these methods."""

    @property
    def traits(self) -> Traits:
        """What the loop must know."""
        ...

    def pieces(self, target: Target) -> tuple[Piece, ...]:
        """The files of an object."""
        ...

    def ask(self, pieces: Sequence[Piece]) -> Ask:
        """The request for pieces, at most `per_request`."""
        ...

    def unpack(self, reply: Path, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, bytes | Flawed]]:
        """The pieces in a reply, or what is wrong with one, in any order; some may be missing.

        Raises
        ------
        Flawed
            The reply is no such thing, or ends too early; what was yielded before is good.
        """
        ...

    def check(self, piece: Piece, path: Path) -> None:
        """Read a file as ingest will, and raise `Flawed` where it is not the piece."""
        ...


def whole(reply: Path, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, bytes | Flawed]]:
    """The one piece that a reply is."""
    (piece,) = pieces
    yield piece, reply.read_bytes()


def host_of(url: str, *, is_secret: bool = False) -> str:
    """The host of a base URL.

    Raises
    ------
    ValueError
        It is no http(s) URL, holds a password, or would send one without TLS (but to this machine).
    """
    parts = urlsplit(url)
    _ = parts.port  # raises where it is no number
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"base_url must be an http or https address, got {url.split('@')[-1]!r}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("base_url must hold no user or password; give them by environment, netrc or keyring")
    if is_secret and parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError(f"base_url must be https, as a password is sent, got {url!r}")
    return parts.hostname


def check_names(what: str, names: Sequence[str]) -> None:
    """Refuse bands that cannot stand in a file's name, or none, or one twice."""
    is_plain = all(name and name.replace("-", "").replace("_", "").isalnum() for name in names)
    if not names or not is_plain or len(set(names)) < len(names):
        raise ValueError(f"{what} must be different names of letters, digits, - and _, got {','.join(names)!r}")
