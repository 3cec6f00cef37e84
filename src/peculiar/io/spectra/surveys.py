"""Spectra of SDSS and DESI, by their data models."""

import re
from typing import Any

import numpy as np
from jaxtyping import Float

from peculiar.io.spectra.raw import RawSpectrum, Refused, SpectrumOptions, pick_row

SDSS_COLUMNS = {"loglam", "flux", "ivar", "and_mask"}
# Bits of SPPIXMASK (www.sdss.org/dr18/algorithms/bitmasks) that say that every exposure is bad at this pixel. The
# bits below 16 concern the whole fiber, and bits 16, 17, 19, 20, 21 pixels that were mended or are slightly unsure:
# their ivar is right, so they are used.
SDSS_BAD = {
    18: "FULLREJECT",
    22: "NOSKY",
    23: "BRIGHTSKY",
    24: "NODATA",
    25: "COMBINEREJ",
    26: "BADFLUXFACTOR",
    27: "BADSKYCHI",
    28: "REDMONSTER",
}
SDSS_UNIT = "1e-17 erg/cm^2/s/Angstrom"
_ARM = re.compile(r"([A-Z]+)_WAVELENGTH")


def is_sdss(hdus: Any) -> bool:
    """Return whether the file's first table is an SDSS coadd."""
    return len(hdus) > 1 and _column_names(hdus[1]) >= SDSS_COLUMNS


def raw_of_sdss(hdus: Any, options: SpectrumOptions) -> RawSpectrum:
    """Return the coadd of an SDSS ``spec`` file (data model of BOSS_SPECTRO_REDUX spec, full or lite).

    Wavelengths are in vacuum unless the header denies it. `instrument_sigma` is from ``wdisp``, in pixels of the
    logarithmic grid. `model` is the pipeline's best template: of a galaxy or quasar it holds the emission lines too,
    and the facts say so.
    """
    if options.row:
        raise Refused(f"holds one spectrum, so there is no row {options.row!r} to choose; leave --row out")
    table, header = hdus[1].data, hdus[0].header
    names = _column_names(hdus[1])
    # The grid is of steps of 1e-4; loglam is kept as float32, which shifts pixels by up to 0.1 km/s.
    stored = np.asarray(table["loglam"], float)
    loglam = np.round(stored, 4) if np.allclose(stored, np.round(stored, 4), rtol=0, atol=1e-6) else stored
    and_mask = np.asarray(table["and_mask"]).astype(np.int64)
    raised = {name: int(((and_mask >> bit) & 1).sum()) for bit, name in SDSS_BAD.items()}
    facts = {
        "format": "SDSS spec file",
        "and_mask": ", ".join(f"{name} {n}" for name, n in raised.items() if n) or "no bad pixel",
    }
    sigma = None
    if "wdisp" in names:
        facts["resolution"] = "wdisp, pixel by pixel"
        sigma = np.asarray(table["wdisp"], float) * np.median(np.diff(loglam)) * np.log(10.0) * 10.0**loglam
    found = _sdss_object(hdus, facts)
    if "model" in names:
        has_lines = facts.get("class", "unknown") != "STAR"
        facts["model"] = f"the pipeline's best template, of class {facts.get('class', 'unknown')}" + (
            "; it holds emission lines too, so it is no continuum under them" if has_lines else ""
        )
    return RawSpectrum(
        wavelength=10.0**loglam,
        wavelength_unit="Angstrom",
        flux=np.asarray(table["flux"]),
        flux_unit=str(header.get("BUNIT", SDSS_UNIT)),
        spread=np.asarray(table["ivar"]),
        mask=np.any([(and_mask >> bit) & 1 for bit in SDSS_BAD], axis=0),
        mask_means="bad",
        model=np.asarray(table["model"]) if "model" in names else None,
        instrument_sigma=sigma,
        medium="air" if header.get("VACUUM") is False else "vacuum",
        facts=facts,
        **found,
    )


def _sdss_object(hdus: Any, facts: dict[str, str]) -> dict[str, Any]:
    """Name, position and redshift of the pipeline, from the one row of SPECOBJ (SPALL in BOSS files)."""
    table = next((hdu for hdu in hdus[2:] if {"plug_ra", "plug_dec"} <= _column_names(hdu)), None)
    if table is None or not len(table.data):
        return {}
    row, names = table.data[0], _column_names(table)
    found: dict[str, Any] = {"ra": float(row["PLUG_RA"]), "dec": float(row["PLUG_DEC"])}
    if {"plate", "mjd", "fiberid"} <= names:
        found["name"] = f"SDSS {row['PLATE']:04d}-{row['MJD']:05d}-{row['FIBERID']:04d}"
    if "class" in names:
        facts["class"] = f"{row['CLASS']}".strip()
    if "z" in names:
        found["redshift"] = float(row["Z"])
        error = f" +- {row['Z_ERR']:.2g}" if "z_err" in names else ""
        warning = f", ZWARNING {row['ZWARNING']}" if "zwarning" in names else ""
        of = f" of class {facts['class']}" if "class" in facts else ""
        star = ": the velocity of a star, as the pipeline has it" if facts.get("class") == "STAR" else ""
        facts["redshift"] = f"{found['redshift']:.6f}{error} of the pipeline's template{of}{star}{warning}"
    return found


def is_desi(hdus: Any) -> bool:
    """Return whether the file has DESI's arms and fiber map."""
    names = {hdu.name for hdu in hdus}
    return "FIBERMAP" in names and any(_ARM.fullmatch(name) for name in names)


def raw_of_desi(hdus: Any, options: SpectrumOptions) -> RawSpectrum:
    """Return one spectrum of a DESI ``coadd`` or ``spectra`` file, its arms joined on their common grid.

    Where arms overlap, flux is the mean weighted by inverse variance over unmasked pixels; the sum of weights is the
    new inverse variance. The row is chosen by TARGETID or by its number. Wavelengths are in vacuum and barycentric
    (the survey's data model). Only the row that is asked for is read.
    """
    fibermap = hdus["FIBERMAP"].data
    names = _column_names(hdus["FIBERMAP"])
    if "targetid" not in names:
        raise Refused("has a FIBERMAP without TARGETID; it is no DESI file that is known")
    row = pick_row(options.row, np.asarray(fibermap["TARGETID"]), len(fibermap), "TARGETID")
    arms = [_arm(hdus, match[1], row) for hdu in hdus if (match := _ARM.fullmatch(hdu.name))]
    wavelength, flux, ivar, sigma = _join_arms(arms)
    facts = {"format": "DESI", "arms": ", ".join(arm["name"] for arm in arms)}
    facts["mask"] = f"above 0 is bad; {sum(arm['n_masked'] for arm in arms)} pixels of the arms masked by it"
    if sigma is not None:
        facts["resolution"] = "second moment of the resolution matrix, pixel by pixel"
    for key in ("OBJTYPE", "COADD_FIBERSTATUS", "FIBERSTATUS"):
        if key.lower() in names:
            facts[key.lower()] = str(fibermap[key][row]).strip()
    position = [f"{key}_{axis}" for key in ("target", "mean_fiber") for axis in ("ra", "dec")]
    ra, dec = next((p for p in (position[:2], position[2:]) if set(p) <= names), ("", ""))
    return RawSpectrum(
        wavelength=wavelength,
        wavelength_unit="Angstrom",
        flux=flux,
        flux_unit=arms[0]["unit"],
        spread=ivar,
        instrument_sigma=sigma,
        medium="vacuum",
        name=f"DESI {fibermap['TARGETID'][row]}",
        ra=float(fibermap[ra][row]) if ra else None,
        dec=float(fibermap[dec][row]) if dec else None,
        facts=facts,
    )


def resolution_sigma(diagonals: Float[np.ndarray, "n_diagonals n"]) -> Float[np.ndarray, " n"]:
    """Return the width of each pixel's response, pixels, from the diagonals of a DESI resolution matrix.

    Column j of the stored array is the response to light at pixel j (scipy's layout, offsets from high to low). The
    width is its second central moment, less 1/12 for the pixel itself, over which the survey's extraction integrates
    a Gaussian. NaN where the response is empty, has no width, or is cut off by the end of the arm.
    """
    half = len(diagonals) // 2
    offsets = (half - np.arange(len(diagonals)))[:, None].astype(float)
    weight = np.where(np.isfinite(diagonals), diagonals, 0.0).astype(float)
    pixel = np.arange(diagonals.shape[1])
    is_whole = (pixel >= half) & (pixel < len(pixel) - half)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = weight.sum(axis=0)
        mean = (weight * offsets).sum(axis=0) / total
        variance = (weight * (offsets - mean) ** 2).sum(axis=0) / total - 1 / 12
        return np.where(is_whole & (total > 0) & (variance > 0), np.sqrt(np.abs(variance)), np.nan)


def _arm(hdus: Any, name: str, row: int) -> dict[str, Any]:
    """One arm of one spectrum: wavelength, flux, ivar with the mask applied, and sigma in angstrom."""
    present = {hdu.name for hdu in hdus}
    lacking = [f"{name}_{part}" for part in ("FLUX", "IVAR") if f"{name}_{part}" not in present]
    if lacking:
        raise Refused(f"lacks {', '.join(lacking)}; it is no whole DESI file, fetch it again")
    wavelength = np.asarray(hdus[f"{name}_WAVELENGTH"].data, float)
    flux, ivar = (np.asarray(hdus[f"{name}_{part}"].section[row], float) for part in ("FLUX", "IVAR"))
    if np.nanmin(ivar) < 0:
        text = f"has {(ivar < 0).sum()} pixels of negative ivar in arm {name}, {np.nanmin(ivar):g} the least"
        raise Refused(f"{text}; it must be 0 or above: fetch the file again")
    usable = np.isfinite(flux) & (ivar > 0)
    masked = np.zeros(len(flux), bool)
    if f"{name}_MASK" in present:
        masked = np.asarray(hdus[f"{name}_MASK"].section[row]) != 0
    sigma = None
    if f"{name}_RESOLUTION" in present:
        sigma = resolution_sigma(np.asarray(hdus[f"{name}_RESOLUTION"].section[row], float)) * np.gradient(wavelength)
    return {
        "name": name,
        "wavelength": wavelength,
        "flux": np.where(usable, flux, 0.0),
        "ivar": np.where(usable & ~masked, ivar, 0.0),
        "sigma": sigma,
        "n_masked": int((masked & usable).sum()),
        "unit": str(hdus[f"{name}_FLUX"].header.get("BUNIT", "1e-17 erg/(s cm2 Angstrom)")),
    }


def _join_arms(arms: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Weighted mean over arms at each step of the grid that they share."""
    every = np.concatenate([arm["wavelength"] for arm in arms])
    step, first = float(np.median(np.diff(arms[0]["wavelength"]))), float(every.min())
    places = [(arm["wavelength"] - first) / step for arm in arms]
    apart = max(float(np.abs(place - np.round(place)).max()) for place in places)
    if apart > 0.01:
        raise Refused(f"has arms {', '.join(a['name'] for a in arms)} that share no grid of {step:g} A; resample them")
    n_steps = round(max(float(place.max()) for place in places)) + 1
    flux, ivar, wide, weight, n_arms = (np.zeros(n_steps) for _ in range(5))
    for arm, place in zip(arms, places, strict=True):
        at = np.round(place).astype(int)
        flux[at] += arm["flux"] * arm["ivar"]
        ivar[at] += arm["ivar"]
        n_arms[at] += 1
        if arm["sigma"] is not None:
            # where no arm is usable the plain mean stands in: a fit wants a width in its gaps too
            share = np.where(np.isfinite(arm["sigma"]), np.maximum(arm["ivar"], 1e-30), 0.0)
            wide[at] += np.nan_to_num(arm["sigma"]) * share
            weight[at] += share
    there = n_arms > 0
    mean = np.where(ivar > 0, flux / np.where(ivar > 0, ivar, 1.0), 0.0)
    sigma = np.where(weight > 0, wide / np.where(weight > 0, weight, 1.0), np.nan) if weight.any() else None
    wavelength = first + step * np.arange(n_steps)
    return wavelength[there], mean[there], ivar[there], None if sigma is None else sigma[there]


def _column_names(hdu: Any) -> set[str]:
    columns = getattr(hdu, "columns", None)
    return {name.lower() for name in columns.names} if columns is not None else set()
