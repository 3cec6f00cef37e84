"""Cutouts of the DESI Legacy Imaging Surveys by its sky viewer: one request an object, no account."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from peculiar.io.archives.archive import Ask, Flawed, Piece, Target, Traits, check_names, host_of, whole
from peculiar.io.archives.checks import check_fits, check_picture

BASE_URL = "https://www.legacysurvey.org"


@dataclass(frozen=True, kw_only=True)
class LegacySurvey:
    """Options of ``peculiar fetch legacysurvey``."""

    layer: Annotated[str, "layer of the viewer"] = "ls-dr10"
    bands: Annotated[tuple[str, ...], "bands, one letter each, in color order for ingest: red first"] = ("z", "r", "g")
    pixel_scale: Annotated[float, "arcsec a pixel; 0.262 is the survey's own, any other is resampled"] = 0.262
    size: Annotated[int, "side of the cutouts, pixels"] = 96
    form: Annotated[Literal["fits", "jpeg"], "FITS of flux, or JPEG in the viewer's colors"] = "fits"
    base_url: Annotated[str, "address of the archive"] = field(default=BASE_URL, compare=False)

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_names("bands", self.bands)
        if any(len(band) != 1 for band in self.bands):
            raise ValueError(f"bands must be one letter each, got {','.join(self.bands)!r}")
        if not 32 <= self.size <= 3_000:
            raise ValueError(f"size must be 32 to 3,000 pixels, got {self.size}")
        if not self.pixel_scale > 0:
            raise ValueError(f"pixel_scale must be positive, got {self.pixel_scale}")
        host_of(self.base_url)

    @property
    def traits(self) -> Traits:
        """A FITS cube of float32, or a JPEG of about a byte a pixel, an object."""
        is_fits = self.form == "fits"
        n_bytes = self.size**2 * (4 * len(self.bands) if is_fits else 1) + 5_760
        ingest = f"--pixel-scale {self.pixel_scale:g}" + (f" --bands {','.join(self.bands)}" if is_fits else "")
        return Traits("legacysurvey", 1, n_bytes, ingest, host_of(self.base_url))

    def pieces(self, target: Target) -> tuple[Piece, ...]:
        """One file with all bands."""
        return (Piece(target, "", ".fits" if self.form == "fits" else ".jpg"),)

    def ask(self, pieces: Sequence[Piece]) -> Ask:
        """The viewer's address of the cutout."""
        (piece,) = pieces
        params = {
            "ra": f"{piece.target.ra:.8f}",
            "dec": f"{piece.target.dec:.8f}",
            "layer": self.layer,
            "pixscale": f"{self.pixel_scale:g}",
            "size": str(self.size),
            "bands": "".join(sorted(self.bands, key="ugrizY".find)),
        }
        return Ask(f"{self.base_url.rstrip('/')}/viewer/{self.form}-cutout", params)

    def unpack(self, reply: Path, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, bytes | Flawed]]:
        """The reply is the file."""
        return whole(reply, pieces)

    def check(self, piece: Piece, path: Path) -> None:
        """The bands, the size to a pixel, light in it, the object in the middle."""
        if self.form == "fits":
            check_fits(path, piece.target, self.size, bands=self.bands if len(self.bands) > 1 else None)
        else:
            check_picture(path, self.size)
