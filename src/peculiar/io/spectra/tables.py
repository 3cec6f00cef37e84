"""Columns of any table to one spectrum: which is wavelength, flux, error, mask, and what the header adds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from peculiar.io.spectra.raw import MaskMeans, Medium, RawSpectrum, Refused, SpectrumOptions, pick_row
from peculiar.io.spectra.units import LOG_ANGSTROM, parse_unit


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# What columns are called; the first that is there is taken. Lower case, "-" and blanks as "_".
_LOGARITHMS = _names("loglam loglambda log_lambda logwave log_wave loglam_vac")
_WAVELENGTHS = _names(
    "wave wavelength lambda lam wl wavelengths wave_vac wave_air wavelength_vac wavelength_vacuum wavelength_air "
    "lambda_vac lambda_air spectral_axis opt_wave"
)
_FLUXES = _names("flux flux_density flam f_lambda flux_lambda opt_flam flux_reduced spec spectrum fluxes fnu f_nu")
_IVARS = _names("ivar flux_ivar invvar inverse_variance ivar_flux flam_ivar opt_flam_ivar ivars")
_ERRORS = _names(
    "err error flux_err flux_error fluxerr err_flux error_flux e_flux eflux sigma noise uncertainty flux_uncertainty "
    "std stdev sig opt_flam_sig err_reduced errors flux_sigma"
)
_VARIANCES = _names("variance var flux_var flux_variance")
_MASKS_BAD = _names("mask and_mask bad is_bad is_masked flag flags qual quality dq")
_MASKS_GOOD = _names("good is_good good_mask gpm")
_MODELS = _names("model continuum")
_SIGMAS = _names("instrument_sigma lsf_sigma")
_NAME_KEYS = _names("name object target targname obj_name title")
_UTYPES = {"wavelength": "spectralaxis.value", "flux": "fluxaxis.value", "error": "fluxaxis.accuracy.staterror"}


@dataclass(frozen=True, kw_only=True)
class SpectrumColumn:
    """One column of the spectrum's pixels, with what its table says of it."""

    name: str
    values: np.ndarray
    unit: str = ""
    ucd: str = ""
    utype: str = ""

    @property
    def key(self) -> str:
        """The name as the lists of this module have it."""
        return self.name.strip().lower().replace("-", "_").replace(" ", "_")


def find_columns(columns: Sequence[SpectrumColumn]) -> tuple[SpectrumColumn, SpectrumColumn] | None:
    """Return the columns of wavelength and flux, by VO utype or by name; None where either is missing."""
    wavelength = _by_utype(columns, "wavelength") or _by_name(columns, (*_WAVELENGTHS, *_LOGARITHMS))
    flux = _by_utype(columns, "flux") or _by_name(columns, _FLUXES)
    return (wavelength, flux) if wavelength and flux else None


def raw_of_table(
    columns: list[SpectrumColumn], header: dict[str, Any], options: SpectrumOptions, kind: str
) -> RawSpectrum:
    """Return the one spectrum of a table, or the row that is asked for of one with vectors in its cells."""
    picked, extra = columns_of_rows(columns, options)
    raw = raw_of_columns(picked, {**header, **extra})
    raw.facts.setdefault("format", kind)
    return raw


def raw_of_columns(columns: Sequence[SpectrumColumn], header: Mapping[str, Any]) -> RawSpectrum:
    """Return the spectrum that columns make; `header` are the keywords of the table, upper or lower case.

    Raises Refused where wavelength or flux are not found or are not numbers.
    """
    found = find_columns(columns)
    if found is None:
        raise Refused(
            f"has no columns of wavelength and flux (it has: {', '.join(each.name for each in columns[:12])}); name "
            "them wave or wavelength or loglam, and flux"
        )
    wavelength, flux = found
    facts = {"columns": f"wavelength {wavelength.name}, flux {flux.name}"}
    ivar, error, variance = _by_name(columns, _IVARS), _error(columns, flux), _by_name(columns, _VARIANCES)
    spread = ivar or error or variance
    if spread is not None:
        facts["columns"] += f", errors {spread.name}"
    bad, good = _by_name(columns, _MASKS_BAD), _by_name(columns, _MASKS_GOOD)
    model, sigma = _by_name(columns, _MODELS), _by_name(columns, _SIGMAS)
    keys = _Keys(header)
    before = keys.get("facts")
    facts_before = before if isinstance(before, dict) else {}
    is_pypeit = keys.text("dmodcls") == "OneSpec"
    unit = LOG_ANGSTROM if wavelength.key in _LOGARITHMS else wavelength.unit
    ra, dec = keys.position()
    return RawSpectrum(
        wavelength=_numbers(wavelength),
        wavelength_unit=unit or ("Angstrom" if is_pypeit else ""),
        flux=_numbers(flux),
        # PypeIt's OneSpec: flux-calibrated ones are in this unit, which its table does not say; others in counts.
        flux_unit=flux.unit or ("1e-17 erg/s/cm2/Angstrom" if is_pypeit and keys.get("fluxed") is True else ""),
        spread=None if spread is None else _in_unit_of(flux, spread, -2 if ivar else 1 if error else 2),
        spread_kind="ivar" if ivar else "error" if error else "variance",
        mask=_numbers(mask) if (mask := bad or good) else None,
        mask_means=_mask_means(bad, good, is_pypeit, keys),
        model=None if model is None else _in_unit_of(flux, model, 1),
        instrument_sigma=None if sigma is None else _numbers(sigma),
        resolution=keys.number("spec_res", "resolving_power"),
        medium="vacuum" if is_pypeit else _medium(wavelength, keys),
        name=next((text for key in _NAME_KEYS if (text := keys.text(key))), ""),
        ra=ra,
        dec=dec,
        redshift=keys.number("redshift", "z_spec", "zspec", "specz"),
        facts=facts,
        history={key: str(text) for key, text in facts_before.items()},
    )


def _in_unit_of(flux: SpectrumColumn, column: SpectrumColumn, power: int) -> np.ndarray:
    """Numbers of a column in the flux's unit to a power, where both say a unit.

    Raises Refused where it is a unit of something else.
    """
    import astropy.units as u

    numbers = _numbers(column)
    if not column.unit or not flux.unit:
        return numbers
    try:
        mine, wanted = (parse_unit(each.unit, "--flux-unit") for each in (column, flux))
    except Refused:  # counts and the like: taken as they stand
        return numbers
    if mine == u.dimensionless_unscaled:
        return numbers
    try:
        factor = float(mine.to(wanted**power))
    except u.UnitConversionError as error:
        raise Refused(
            f"gives {column.name} in {column.unit} and {flux.name} in {flux.unit}, which do not belong together"
        ) from error
    return numbers if np.isclose(factor, 1, rtol=1e-12) else numbers * factor


def columns_of_rows(
    columns: Sequence[SpectrumColumn], options: SpectrumOptions
) -> tuple[list[SpectrumColumn], dict[str, Any]]:
    """Return the columns of one spectrum: the cells of one row where they hold vectors, all rows where they do not.

    Plain columns of a table of vectors (an id, a position) come back as header keywords.
    """
    vectors = [each for each in columns if each.values.ndim > 1 or _is_ragged(each.values)]
    if find_columns(vectors) is None:
        if options.row:
            raise Refused(f"holds one spectrum, so there is no row {options.row!r} to choose; leave --row out")
        return [each for each in columns if each not in vectors], {}
    plain = [each for each in columns if each not in vectors]
    ids = next(
        (each.values for name in ("targetid", "object_id", "id", "name") for each in plain if each.key == name), None
    )
    number = pick_row(options.row, ids, len(vectors[0].values), "id")
    picked = [
        SpectrumColumn(name=v.name, values=np.ravel(v.values[number]), unit=v.unit, ucd=v.ucd, utype=v.utype)
        for v in vectors
    ]
    wavelength, _ = find_columns(picked) or (picked[0], None)
    same = [each for each in picked if len(each.values) == len(wavelength.values)]
    return same, {each.key: each.values[number] for each in plain}


def _is_ragged(values: np.ndarray) -> bool:
    return values.dtype == object and len(values) > 0 and np.ndim(values[0]) == 1


def _by_name(columns: Sequence[SpectrumColumn], names: Sequence[str]) -> SpectrumColumn | None:
    return next((each for name in names for each in columns if each.key == name), None)


def _by_utype(columns: Sequence[SpectrumColumn], role: str) -> SpectrumColumn | None:
    """The first of a VO utype; ESO's own further fluxes, "eso:...", stand back."""
    return next(
        (c for c in columns if c.utype.lower().endswith(_UTYPES[role]) and not c.utype.lower().startswith("eso:")), None
    )


def _error(columns: Sequence[SpectrumColumn], flux: SpectrumColumn) -> SpectrumColumn | None:
    return _by_utype(columns, "error") or _by_name(columns, (f"err_{flux.key}", f"{flux.key}_err", *_ERRORS))


def _numbers(column: SpectrumColumn) -> np.ndarray:
    if column.values.dtype.kind not in "biuf":
        raise Refused(f"has a column {column.name} that is not of numbers; is the header line right?")
    if isinstance(column.values, np.ma.MaskedArray):
        return np.where(np.ma.getmaskarray(column.values), np.nan, column.values.data)
    return np.asarray(column.values)


def _mask_means(bad: SpectrumColumn | None, good: SpectrumColumn | None, is_pypeit: bool, keys: "_Keys") -> MaskMeans:
    if is_pypeit:
        return "good"  # PypeIt's OneSpec: 1 = good, 0 = bad
    if bad is None:
        return "good" if good is not None else ""
    return "bad" if bad.key not in ("mask", "flag", "flags") or keys.is_eso else ""


def _medium(wavelength: SpectrumColumn, keys: "_Keys") -> Medium:
    """What the file says, by the column's UCD, the header's keywords or the column's name; "" where nothing does."""
    ucd = wavelength.ucd.lower()
    if "obs.atmos" in ucd:
        return "air"
    if ucd == "em.wl" and keys.is_eso:
        return "vacuum"  # by ESO's standard of science data products; elsewhere em.wl says nothing of it
    vacuum = keys.get("vacuum")
    if isinstance(vacuum, bool | np.bool_):
        return "vacuum" if vacuum else "air"
    said = (keys.text("airorvac") or keys.text("medium") or keys.text("refframe")).lower()
    if said.startswith("vac"):
        return "vacuum"
    if said.startswith("air"):
        return "air"
    words = wavelength.key.split("_")
    if "air" in words:
        return "air"
    return "vacuum" if "vac" in words or "vacuum" in words else ""


class _Keys:
    """Header keywords, whatever their case."""

    def __init__(self, header: Mapping[str, Any]) -> None:
        self._values = {str(key).lower(): header[key] for key in header if str(key).strip()}

    @property
    def is_eso(self) -> bool:
        return self.text("vopub").startswith("ESO") or self.text("prodcatg").startswith("SCIENCE.")

    def get(self, key: str) -> Any:
        return self._values.get(key)

    def text(self, key: str) -> str:
        value = self._values.get(key)
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace").strip()
        return str(value).strip() if isinstance(value, str | int | np.integer) and not isinstance(value, bool) else ""

    def number(self, *keys: str) -> float | None:
        for key in keys:
            value = self._values.get(key)
            if isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value):
                return float(value)
        return None

    def position(self) -> tuple[float | None, float | None]:
        """Degrees, ICRS or J2000; none where the equinox is another or the values are not degrees."""
        if (self.number("equinox") or 2000.0) != 2000.0 or self.text("radecsys").upper() == "FK4":
            return None, None
        for ra, dec in (("target_ra", "target_dec"), ("ra", "dec")):
            if self.number(ra) is not None and self.number(dec) is not None:
                return self.number(ra), self.number(dec)
        return None, None
