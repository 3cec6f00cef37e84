"""Cutouts of any survey that is a HiPS, by the service hips2fits of the CDS: one request an object and HiPS."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from peculiar.io.archives.archive import Ask, Flawed, Piece, Target, Traits, check_names, host_of, whole
from peculiar.io.archives.checks import check_fits, check_picture

BASE_URL = "https://alasky.cds.unistra.fr/hips-image-services/hips2fits"


@dataclass(frozen=True, kw_only=True)
class Hips:
    """Options of ``peculiar fetch hips``."""

    hips: Annotated[tuple[str, ...], "ids of the HiPS, one a band, red first: CDS/P/DES-DR2/i,... ; one for pictures"]
    size: Annotated[int, "side of the cutouts, pixels"] = 96
    fov_arcsec: Annotated[float, "side of the cutouts, arcsec"] = 24.0
    projection: Annotated[str, "projection of the WCS"] = "TAN"
    form: Annotated[Literal["fits", "jpg", "png"], "FITS of flux, a file a band, or pictures"] = "fits"
    base_url: Annotated[str, "address of the service"] = field(default=BASE_URL, compare=False)

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_names("the last parts of hips", self._bands)
        if self.form != "fits" and len(self.hips) > 1:
            raise ValueError(f"hips must be one, of colors, for {self.form}, got {','.join(self.hips)}")
        if not 32 <= self.size <= 5_000:
            raise ValueError(f"size must be 32 to 5,000 pixels, got {self.size}")
        if not 0 < self.fov_arcsec <= 648_000:
            raise ValueError(f"fov_arcsec must be above 0, at most 648,000, got {self.fov_arcsec}")
        host_of(self.base_url)

    @property
    def _bands(self) -> tuple[str, ...]:
        return tuple(each.rstrip("/").rsplit("/", 1)[-1] for each in self.hips)

    @property
    def traits(self) -> Traits:
        """A FITS file a band, perhaps of float64, or a picture."""
        scale = f"--pixel-scale {self.fov_arcsec / self.size:.4g}"
        if self.form != "fits":
            return Traits("hips", 1, self.size**2 * (1 if self.form == "jpg" else 3), scale, host_of(self.base_url))
        ingest = f"--bands {','.join(self._bands)} --band-pattern '{{name}}_{{band}}.fits' {scale}"
        return Traits("hips", 1, 8 * self.size**2 + 5_760, ingest, host_of(self.base_url))

    def pieces(self, target: Target) -> tuple[Piece, ...]:
        """A FITS file a HiPS, named by the last part of its id; or one picture."""
        if self.form != "fits":
            return (Piece(target, "", f".{self.form}"),)
        return tuple(Piece(target, band, ".fits") for band in self._bands)

    def ask(self, pieces: Sequence[Piece]) -> Ask:
        """The service's address of the cutout."""
        (piece,) = pieces
        params = {
            "hips": self.hips[self._bands.index(piece.band) if piece.band else 0],
            "ra": f"{piece.target.ra:.8f}",
            "dec": f"{piece.target.dec:.8f}",
            "fov": f"{self.fov_arcsec / 3600:.8g}",
            "width": str(self.size),
            "height": str(self.size),
            "projection": self.projection,
            "coordsys": "icrs",
            "format": self.form,
        }
        return Ask(self.base_url, params)

    def unpack(self, reply: Path, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, bytes | Flawed]]:
        """The reply is the file."""
        return whole(reply, pieces)

    def check(self, piece: Piece, path: Path) -> None:
        """One image of the size asked for, light in it, the object in the middle."""
        if self.form == "fits":
            check_fits(path, piece.target, self.size)
        else:
            check_picture(path, self.size)
