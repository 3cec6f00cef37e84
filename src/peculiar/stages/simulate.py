"""Write a made survey to a folder: cutouts, a catalog, and, apart from both, what was planted."""

import csv
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from peculiar.run import Track, as_json, atomic, compared_fields, quiet, write_json

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

CHUNK = 50  # objects a task: under a second of work, so that the bar moves and a kill loses little
MEASURED = {"i_cmodel_mag": "IMAG", "g_r": "G_R", "r_i": "R_I", "half_light_radius": "RADIUS"}  # column: header key
DECIMALS = 4  # of the measured columns: what a survey's catalog gives, and what a header keeps exactly
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """What `simulate` can be told."""

    output: Annotated[Path, "folder to write: cutouts/, objects.fits, truth.csv, config.json"] = field(compare=False)
    n_objects: Annotated[int, "objects to make"] = 2000
    odd_fraction: Annotated[float, "share of objects with a planted oddity, half of them artefacts"] = 0.014
    seed: Annotated[int, "source of all random numbers; the same seed gives the same pixels"] = 0
    size: Annotated[int, "pixels a side of a cutout, even; 96 are 16.1 arcsec"] = 96
    n_workers: Annotated[int, "processes; 0 for one a core"] = field(default=0, compare=False)

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 1 <= self.n_objects <= 5_000_000:
            raise ValueError(f"n_objects must be 1 to 5,000,000, got {self.n_objects}")
        if not 0.0 <= self.odd_fraction <= 1.0:
            raise ValueError(f"odd_fraction must be 0 to 1, got {self.odd_fraction}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")
        if self.size < 32 or self.size % 2:
            raise ValueError(f"size must be even and at least 32 pixels, got {self.size}")
        if self.n_workers < 0:
            raise ValueError(f"n_workers must be 0 (one a core) or more, got {self.n_workers}")


def simulate(config: SimulateConfig, track: Track = quiet) -> Path:
    """Make a survey, or go on with one that was interrupted, and return its folder of cutouts.

    ``cutouts/<object_id>.fits`` holds one image extension a band and a WCS; ``objects.fits`` is the catalog. What was
    planted is in ``truth.csv`` only, so that nothing that is scored can know it. Cutouts that exist are kept; each is
    put in place whole.

    Raises
    ------
    ValueError
        If the folder holds a survey made with another config, or files of another origin.
    ImportError
        Without GalSim.
    """
    from peculiar import engine
    from peculiar.sky.simulate import plan_survey, require_galsim

    require_galsim()
    _claim(config)
    cutouts = config.output / "cutouts"
    cutouts.mkdir(exist_ok=True)
    plan = plan_survey(config.n_objects, odd_fraction=config.odd_fraction, seed=config.seed)
    chunks = [plan[start : start + CHUNK] for start in range(0, len(plan), CHUNK)]
    make = partial(_make_chunk, folder=cutouts, seed=config.seed, size=config.size)
    measured: list[tuple[float, ...]] = []
    with _one_thread_a_worker(), track("simulating", len(plan)) as advance:
        for rows in engine.map_ordered(make, chunks, n_workers=config.n_workers):
            measured += rows
            advance(len(rows))
    _write_catalog(config.output / "objects.fits", plan, measured)
    _write_truth(config.output / "truth.csv", plan)
    log.info("%d objects, %d of them odd, in %s", len(plan), (plan["planted_class"] != "").sum(), config.output)
    return cutouts


def _claim(config: SimulateConfig) -> None:
    """Record the config in the folder, or check that the folder's is the same."""
    record = config.output / "config.json"
    now = {name: as_json(config)[name] for name in compared_fields(config)}
    if record.exists():
        before = json.loads(record.read_text(encoding="utf-8"))
        differing = [name for name in now if before.get(name) != now[name]]
        if differing:
            changes = ", ".join(f"{name} was {before.get(name)!r}, now {now[name]!r}" for name in differing)
            raise ValueError(
                f"{config.output} was simulated with another config: {changes}; "
                "repeat the old values or write to another folder"
            )
        return
    if config.output.exists() and any(config.output.iterdir()):
        raise ValueError(f"{config.output} holds files but no simulated survey; write to an empty or a new folder")
    config.output.mkdir(parents=True, exist_ok=True)
    write_json(record, now)


@contextmanager
def _one_thread_a_worker() -> Iterator[None]:
    """Let the processes that are started here use one thread each: they inherit the variables."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _make_chunk(rows: "np.ndarray", *, folder: Path, seed: int, size: int) -> list[tuple[float, ...]]:
    """Make the cutouts that are missing; the measured columns of all, from the headers where they exist."""
    from astropy.io import fits

    measured = []
    for row in rows:
        path = folder / f"{row['object_id']}.fits"
        if path.exists():
            header = fits.getheader(path)
            measured.append(tuple(float(header[key]) for key in MEASURED.values()))
        else:
            measured.append(_write_cutout(path, row, seed=seed, size=size))
    return measured


def _write_cutout(path: Path, row: "np.void", *, seed: int, size: int) -> tuple[float, ...]:
    from astropy.io import fits

    from peculiar.sky.galaxies import BANDS, ZERO_POINT
    from peculiar.sky.simulate import simulate_cutout

    flux, truth = simulate_cutout(row, seed=seed, size=size)
    primary = fits.PrimaryHDU()
    primary.header["OBJECTID"] = int(row["object_id"])
    names = ("i_mag", "g_r", "r_i", "half_light_radius_arcsec")
    measured = tuple(round(float(truth[name]), DECIMALS) for name in names)
    primary.header.update(zip(MEASURED.values(), measured, strict=True))
    header = fits.Header({"MAGZERO": ZERO_POINT, "BUNIT": "adu"} | _wcs(row, truth["x"], truth["y"], size))
    images = [fits.ImageHDU(band, header, name=name) for name, band in zip(BANDS, flux, strict=True)]
    with atomic(path) as partial_path:
        # Checking headers that were made here takes a third of the time of writing.
        fits.HDUList([primary, *images]).writeto(partial_path, overwrite=True, output_verify="ignore")
    return measured


def _wcs(row: "np.void", x: float, y: float, size: int) -> dict[str, float | str]:
    """Header of a tangential projection with the object, not the frame's center, at its position."""
    from peculiar.sky.galaxies import PIXEL_ARCSEC

    return {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRPIX1": size // 2 + 1 + x,
        "CRPIX2": size // 2 + 1 + y,
        "CRVAL1": float(row["ra"]),
        "CRVAL2": float(row["dec"]),
        "CDELT1": -PIXEL_ARCSEC / 3600.0,
        "CDELT2": PIXEL_ARCSEC / 3600.0,
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "RADESYS": "ICRS",
    }


def _write_catalog(path: Path, plan: "np.ndarray", measured: list[tuple[float, ...]]) -> None:
    from astropy.table import Table

    table = Table({name: plan[name] for name in ("object_id", "ra", "dec")})
    for name, values in zip(MEASURED, zip(*measured, strict=True), strict=True):
        table[name] = values
    units = {
        "ra": "deg",
        "dec": "deg",
        "i_cmodel_mag": "mag",
        "g_r": "mag",
        "r_i": "mag",
        "half_light_radius": "arcsec",
    }
    for name, unit in units.items():
        table[name].unit = unit
    with atomic(path) as partial_path:
        table.write(partial_path, format="fits", overwrite=True)


def _write_truth(path: Path, plan: "np.ndarray") -> None:
    with atomic(path) as partial_path, partial_path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("object_id", "planted_class", "planted_kind", "planted_strength"))
        for row in plan:
            odd = (row["planted_class"], row["planted_kind"], f"{row['planted_strength']:.6g}")
            writer.writerow((int(row["object_id"]), *odd))
