"""Cutouts of the Hyper Suprime-Cam survey by the DAS cutout service: lists of up to 1,000 rows, replies as tar."""

import math
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from peculiar.io.archives.archive import Ask, Flawed, Piece, Target, Traits, check_names, host_of
from peculiar.io.archives.checks import check_fits, check_no_page

BASE_URL = "https://hsc-release.mtk.nao.ac.jp"
LOGIN = ("HSC_SSP_CAS_USER", "HSC_SSP_CAS_PASSWORD")
PIXEL_ARCSEC = 0.168
MAX_ROWS = 1_000  # of a list; the manual of the service
FIRST_LINE = 2  # the number of the first row: its header is line 1
HEADER = "#? rerun filter ra dec sw sh # column descriptor"
_NUMBER = re.compile(r"(\d+)[-_.]")
_FILTER = re.compile(r"(HSC-[A-Z]\d?|NB\d{4}|IB\d{4})(?![A-Za-z0-9])")


@dataclass(frozen=True, kw_only=True)
class Hsc:
    """Options of ``peculiar fetch hsc``."""

    release: Annotated[Literal["pdr2", "pdr3"], "data release"] = "pdr2"
    layer: Annotated[Literal["wide", "dud"], "layer of the survey"] = "wide"
    bands: Annotated[tuple[str, ...], "bands, in color order for ingest: red first"] = ("HSC-I", "HSC-R", "HSC-G")
    size_arcsec: Annotated[float, "side of the cutouts, arcsec; 20 are 120 pixels, which ingest crops to 96"] = 20.0
    rows: Annotated[int, "rows a request, at most 1,000"] = field(default=MAX_ROWS, compare=False)
    base_url: Annotated[str, "address of the archive"] = field(default=BASE_URL, compare=False)

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_names("bands", self.bands)
        if not 5.4 <= self.size_arcsec <= 1_000:
            raise ValueError(f"size_arcsec must be 5.4 (32 pixels) to 1,000, got {self.size_arcsec}")
        if not len(self.bands) <= self.rows <= MAX_ROWS:
            raise ValueError(f"rows must be {len(self.bands)} (the bands) to {MAX_ROWS}, got {self.rows}")
        host_of(self.base_url, is_secret=True)

    @property
    def _size(self) -> int:
        """Pixels a side; the service gives one more or less, by where the object lies in its pixel."""
        return math.ceil(self.size_arcsec / PIXEL_ARCSEC)

    @property
    def traits(self) -> Traits:
        """A FITS file a band, of float32 and some headers."""
        side = self._size
        ingest = "--bands " + ",".join(self.bands) + " --band-pattern '{name}_{band}.fits' "
        ingest += f"--size {min(96, side - 1) // 2 * 2} --fit crop --pixel-scale {PIXEL_ARCSEC}"
        rows = self.rows // len(self.bands) * len(self.bands)  # the bands of an object stay together
        return Traits("hsc", rows, 4 * side**2 + 14_400, ingest, host_of(self.base_url), LOGIN)

    def pieces(self, target: Target) -> tuple[Piece, ...]:
        """A file a band."""
        return tuple(Piece(target, band, ".fits") for band in self.bands)

    def ask(self, pieces: Sequence[Piece]) -> Ask:
        """A list of rows; sw and sh are half the sides."""
        half = f"{self.size_arcsec / 2:g}asec"
        rows = (
            f" {self.release}_{self.layer} {each.band} {each.target.ra:.8f} {each.target.dec:.8f} {half} {half} "
            f"# {each.target.name}"
            for each in pieces
        )
        url = f"{self.base_url.rstrip('/')}/das_cutout/{self.release}/cgi-bin/cutout"
        return Ask(url, upload=("list", "\n".join([HEADER, *rows]) + "\n"))

    def unpack(self, reply: Path, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, bytes | Flawed]]:
        """The members by the line number that their names begin with, whatever their order."""
        with reply.open("rb") as stream:
            check_no_page(stream.read(512))
        try:
            with tarfile.open(reply, "r:") as tar:
                for member in tar:
                    if member.isfile():
                        piece, flaw = _piece_of(member.name, pieces)
                        yield piece, flaw or _content(tar, member)
                if not _is_ended(reply, tar.offset):
                    raise Flawed("truncated tar", is_final=False)
        except tarfile.TarError as error:
            raise Flawed("truncated tar" if reply.stat().st_size else "an empty reply", is_final=False) from error

    def check(self, piece: Piece, path: Path) -> None:
        """One image, the size asked for to a pixel, with light in it, around the object."""
        check_fits(path, piece.target, self._size)


def _piece_of(name: str, pieces: Sequence[Piece]) -> tuple[Piece, Flawed | None]:
    """The piece that a member is by its number, and what is wrong if it is of another band by its name."""
    file = name.rsplit("/", 1)[-1]
    number = _NUMBER.match(file)
    row = int(number[1]) - FIRST_LINE if number else -1
    if not 0 <= row < len(pieces):
        raise Flawed(f"a tar with the unknown file {file[:60]!r}", is_final=False)
    band = _FILTER.search(file)
    if band and band[1] != pieces[row].band:
        return pieces[row], Flawed(f"another band: line {row + FIRST_LINE} of the tar is {band[1]}", is_final=False)
    return pieces[row], None


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    content = b"" if stream is None else stream.read()
    if len(content) < member.size:
        raise Flawed("truncated tar", is_final=False)
    return content


def _is_ended(reply: Path, offset: int) -> bool:
    """Whether a block of zeros ends the tar: to Python's tarfile the end of the file is as good."""
    with reply.open("rb") as stream:
        stream.seek(offset)
        return stream.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)
