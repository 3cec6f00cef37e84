"""From a file's columns to a `Spectrum`: one unit, one medium, one order, one meaning of the noise."""

import numpy as np
from jaxtyping import Bool, Float

from peculiar.io.spectra.raw import RawSpectrum, Refused, SpectrumOptions
from peculiar.io.spectra.units import air_to_vacuum, to_angstrom, to_flux_density
from peculiar.spectra.noise import estimate_ivar
from peculiar.spectra.spectrum import SPEED_OF_LIGHT, Spectrum

FWHM_OF_SIGMA = 2.3548  # 2 sqrt(2 ln 2)
_MASK_NAMES = {"bad": "above 0 is bad", "good": "above 0 is good"}


def finish_spectrum(raw: RawSpectrum, options: SpectrumOptions) -> Spectrum:
    """Return the spectrum in vacuum, angstrom, ascending, with inverse variances; what was done is in its facts.

    What the caller says goes before what the file says, and the facts name both. Raises Refused for what no rule can
    mend: see `peculiar.io.spectra.read_spectrum`.
    """
    facts = dict(raw.facts)
    unit = options.wavelength_unit or raw.wavelength_unit
    wavelength, factor, facts["wavelength unit"] = to_angstrom(np.asarray(raw.wavelength, float), unit)
    _note_contradiction(facts, "wavelength unit", options.wavelength_unit, raw.wavelength_unit)
    order = _ascending(wavelength, facts)
    wavelength, facts["medium"] = _in_vacuum(wavelength[order], raw, options)
    flux_factors, flux_unit, facts["flux unit"] = to_flux_density(wavelength, options.flux_unit or raw.flux_unit)
    _note_contradiction(facts, "flux unit", options.flux_unit, raw.flux_unit)
    flux = _ordered(raw.flux, order, "flux") * flux_factors
    ivar = _ivar(raw, options, order, flux, facts) / (flux_factors**2 if options.errors == "file" else 1.0)
    sigma = _instrument_sigma(wavelength, raw, options, order, factor, facts)
    said = {
        "medium": options.medium,
        "wavelength unit": options.wavelength_unit,
        "flux unit": options.flux_unit,
        "resolution": options.resolution or options.instrument_sigma,
        "errors": options.errors == "scatter",
        "mask": options.mask_means,
    }
    facts |= {key: text for key, text in raw.history.items() if not said.get(key)}
    ra, dec = raw.ra, raw.dec
    has_position = ra is not None and dec is not None and np.isfinite(ra) and -90 <= dec <= 90
    return Spectrum(
        wavelength=wavelength,
        flux=np.where(np.isfinite(flux), flux, 0.0),
        ivar=ivar,
        instrument_sigma=sigma,
        model=None if raw.model is None else _ordered(raw.model, order, "model") * flux_factors,
        flux_unit=flux_unit,
        name=raw.name.strip(),
        ra=ra if has_position else None,
        dec=dec if has_position else None,
        redshift=raw.redshift,
        facts=facts,
    )


def _note_contradiction(facts: dict[str, str], name: str, said: str, found: str) -> None:
    if said:
        facts[name] += "; said by the caller" + (f", the file says {found}" if found and found != said else "")


def _ordered(values: np.ndarray, order: np.ndarray, name: str) -> Float[np.ndarray, " n"]:
    if np.shape(values)[0] <= order.max():
        raise Refused(f"has fewer values of {name} ({len(values)}) than of wavelength")
    return np.asarray(values, float)[order]


def _ascending(wavelength: Float[np.ndarray, " n"], facts: dict[str, str]) -> np.ndarray:
    """Numbers of the pixels in ascending order; those without a wavelength, which pad a table, are left out."""
    order = np.flatnonzero(np.isfinite(wavelength) & (wavelength > 0))
    if len(order) < len(wavelength):
        facts["padding"] = f"{len(wavelength) - len(order)} pixels without a wavelength are left out"
    if len(order) < 2:
        raise Refused(f"has {len(order)} pixels with a wavelength; a spectrum needs two or more")
    steps = np.diff(wavelength[order])
    if (steps == 0).any() or len(np.unique(wavelength[order])) < len(order):
        twice = wavelength[order][1:][steps == 0]
        where = f", {twice[0]:.4f} A the first" if len(twice) else ""
        raise Refused(
            f"gives {len(order) - len(np.unique(wavelength[order]))} wavelengths twice{where}; merge them first"
        )
    if (steps < 0).all():
        facts["order"] = "wavelengths descend in the file, and were turned"
        return order[::-1]
    if not (steps > 0).all():
        raise Refused("has wavelengths that neither ascend nor descend; join its orders or arms on one grid first")
    return order


def _in_vacuum(
    wavelength: Float[np.ndarray, " n"], raw: RawSpectrum, options: SpectrumOptions
) -> tuple[Float[np.ndarray, " n"], str]:
    medium = options.medium or raw.medium
    source = "said by the caller" if options.medium else "said by the file"
    if options.medium and raw.medium and options.medium != raw.medium:
        source += f"; the file says {raw.medium}"
    if medium == "vacuum":
        return wavelength, f"vacuum, {source}"
    converted = air_to_vacuum(wavelength)
    velocity = float(np.median(converted / wavelength - 1)) * SPEED_OF_LIGHT
    if medium == "air":
        return converted, f"air, {source}; converted to vacuum by Ciddor (1996), {velocity:.1f} km/s"
    raise Refused(
        "does not say whether its wavelengths are in vacuum or in air; say --medium vacuum or --medium air: "
        f"taking one for the other shifts every velocity by {velocity:.0f} km/s"
    )


def _ivar(
    raw: RawSpectrum, options: SpectrumOptions, order: np.ndarray, flux: Float[np.ndarray, " n"], facts: dict[str, str]
) -> Float[np.ndarray, " n"]:
    """Inverse variance in the file's unit of flux (that of `flux` where it is estimated), 0 where masked."""
    is_estimated = options.errors == "scatter"
    ivar = np.ones(len(order)) if is_estimated else _ivar_of_file(raw, order, facts)
    has_error, has_flux = ivar > 0, np.isfinite(flux)
    masked = _is_masked(raw, options, order, has_error & has_flux, facts)
    if is_estimated:
        ivar = _estimated(np.where(masked, np.nan, flux))
        has_errors = raw.spread is not None and (np.asarray(raw.spread) > 0).any()
        facts["errors"] = (
            "estimated from the scatter of neighboring pixels (DER_SNR, Stoehr et al. 2008); "
            + ("the file's are not used" if has_errors else "the file gives none")
            + ". Noise that neighbors share is in them only in part"
        )
    if (has_error & ~has_flux).any():
        facts["no flux"] = f"{(has_error & ~has_flux).sum()} pixels have no flux and are masked"
    ivar = np.where(masked | ~has_flux, 0.0, ivar)
    facts["masked"] = f"{(ivar == 0).sum()} of {len(ivar)} pixels, by their mask, their error or their flux"
    if not (ivar > 0).any():
        raise Refused(
            f"has no pixel left to measure: {masked.sum()} of {len(ivar)} are masked, {(~has_error).sum()} have no "
            f"error above 0, {(~has_flux).sum()} have no flux; is the mask's meaning right (--mask-means)?"
        )
    return ivar


def _estimated(flux: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    try:
        return estimate_ivar(flux)
    except ValueError as error:
        text = f"is too short for errors from the scatter of its pixels ({error}); give errors in the file"
        raise Refused(text) from error


def _ivar_of_file(raw: RawSpectrum, order: np.ndarray, facts: dict[str, str]) -> Float[np.ndarray, " n"]:
    remedy = "say --errors scatter to have them estimated from the scatter of neighboring pixels"
    if raw.spread is None:
        raise Refused(f"has no column of errors (ivar, err, sigma, variance ...); name it so, or {remedy}")
    spread = _ordered(raw.spread, order, raw.spread_kind)
    if raw.spread_kind != "error" and (spread < 0).any():
        negative = spread < 0
        raise Refused(
            f"has {negative.sum()} pixels of negative {raw.spread_kind}, {np.nanmin(spread):g} the least; it must be "
            "0 or above: is the column something else? Set it to 0 where the pixel is bad"
        )
    usable = np.isfinite(spread) & (spread > 0)
    with np.errstate(over="ignore"):  # an error next to 0 is none
        ivar = np.where(usable, spread, 1.0) ** {"ivar": 1.0, "error": -2.0, "variance": -1.0}[raw.spread_kind]
    usable &= np.isfinite(ivar)
    if not usable.any():
        raise Refused(f"has no {raw.spread_kind} above 0 in {len(spread)} pixels: it gives no errors; {remedy}")
    if not usable.all():
        facts["no error"] = f"{(~usable).sum()} pixels have no {raw.spread_kind} above 0 and are masked"
    facts["errors"] = f"the file's {raw.spread_kind}"
    return np.where(usable, ivar, 0.0)


def _is_masked(
    raw: RawSpectrum, options: SpectrumOptions, order: np.ndarray, usable: np.ndarray, facts: dict[str, str]
) -> Bool[np.ndarray, " n"]:
    """Whether the mask forbids a pixel. Where nobody says what it means and the usual would mask most, it is asked."""
    if raw.mask is None:
        return np.zeros(len(order), bool)
    raised = _ordered(raw.mask, order, "mask") != 0
    means = options.mask_means or raw.mask_means
    share = (raised & usable).sum() / max(usable.sum(), 1)
    if not means and share > 0.5:
        raise Refused(
            f"has a mask above 0 at {100 * share:.0f} % of the pixels that have an error, and does not say whether "
            "that is good (as PypeIt has it) or bad; say --mask-means good or --mask-means bad"
        )
    means = means or "bad"
    masked = raised if means == "bad" else ~raised
    facts["mask"] = f"{_MASK_NAMES[means]}; {(masked & usable).sum()} pixels masked by it alone"
    return np.asarray(masked, bool)


def _instrument_sigma(
    wavelength: Float[np.ndarray, " n"],
    raw: RawSpectrum,
    options: SpectrumOptions,
    order: np.ndarray,
    factor: float,
    facts: dict[str, str],
) -> Float[np.ndarray, " n"] | None:
    if options.instrument_sigma is not None:
        facts["resolution"] = f"sigma {options.instrument_sigma:g} A, said by the caller"
        return np.full(len(wavelength), options.instrument_sigma)
    if options.resolution is not None:
        facts["resolution"] = f"R = {options.resolution:g}, said by the caller"
        return wavelength / options.resolution / FWHM_OF_SIGMA
    if raw.instrument_sigma is not None:
        sigma = _ordered(raw.instrument_sigma, order, "instrument_sigma") * (factor or 1.0)
        known = np.isfinite(sigma) & (sigma > 0)
        if known.any():
            sigma = np.interp(wavelength, wavelength[known], sigma[known])
            resolution = float(np.median(wavelength / sigma / FWHM_OF_SIGMA))
            facts["resolution"] = f"{facts.get('resolution', 'the file, pixel by pixel')}; R = {resolution:.0f}"
            return sigma
    if raw.resolution is not None and raw.resolution > 0:
        facts["resolution"] = f"R = {raw.resolution:g}, one number in the file's header"
        return wavelength / raw.resolution / FWHM_OF_SIGMA
    facts["resolution"] = "not known: widths of lines are as observed; say --resolution R (wavelength over FWHM)"
    return None
