"""A one-dimensional spectrum, as every function here takes it, and the lines that are looked for."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

SPEED_OF_LIGHT = 299_792.458  # km/s

# Rest wavelengths in vacuum, angstrom: METHOD.md sect. 7.
LINES = {
    "OII_3727": 3727.09,
    "OII_3730": 3729.88,
    "H_gamma": 4341.68,
    "OIII_4364": 4364.436,
    "H_beta": 4862.68,
    "OIII_4933": 4932.603,
    "OIII_4960": 4960.295,
    "OIII_5008": 5008.240,
    "OI_6302": 6302.05,
    "NII_6550": 6549.86,
    "H_alpha": 6564.61,
    "NII_6585": 6585.27,
    "SII_6718": 6718.29,
    "SII_6733": 6732.67,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Spectrum:
    """A one-dimensional spectrum.

    Parameters
    ----------
    wavelength
        Angstrom, vacuum, observed frame, ascending.
    flux
        Flux density per angstrom, in `flux_unit`.
    ivar
        Inverse variance of `flux`; 0 where the pixel is not to be used.
    instrument_sigma
        Width of the instrument's response, one standard deviation of a Gaussian, angstrom at each pixel; None where it
        is not known.
    model
        The continuum that the file gives, in the unit of `flux`; None where it gives none.
    flux_unit
        As astropy spells it, "1e-17 erg / (Angstrom s cm2)" say; empty where the file says none: fluxes are then
        relative, and what needs an absolute one refuses.
    name
        What the file or the survey calls the object.
    ra, dec
        ICRS, degrees; None where the file says none.
    redshift
        The file's own, None where it has none.
    facts
        What else a reader wants told beside a result: where resolution and air or vacuum were known from.
    """

    wavelength: Float[np.ndarray, " n"]
    flux: Float[np.ndarray, " n"]
    ivar: Float[np.ndarray, " n"]
    instrument_sigma: Float[np.ndarray, " n"] | None = None
    model: Float[np.ndarray, " n"] | None = None
    flux_unit: str = ""
    name: str = ""
    ra: float | None = None
    dec: float | None = None
    redshift: float | None = None
    facts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the arrays are of one length and mean what they must."""
        n = len(self.wavelength)
        for name in ("flux", "ivar", "instrument_sigma", "model"):
            values = getattr(self, name)
            if values is not None and values.shape != (n,):
                raise ValueError(f"{name} must be of shape ({n},), as wavelength is, got {values.shape}")
        if n < 2 or not (np.diff(self.wavelength) > 0).all() or not self.wavelength[0] > 0:
            raise ValueError(f"wavelength must ascend from above 0 over two pixels or more, got {n} pixels")
        if (self.ivar < 0).any() or not np.isfinite(self.ivar).all():
            raise ValueError(f"ivar must be finite and not negative, got {np.nanmin(self.ivar):g} at the least")
        if not np.isfinite(self.flux[self.ivar > 0]).all():
            raise ValueError("flux must be finite where ivar is above 0")
        if not (self.ivar > 0).any():
            raise ValueError("every pixel is masked (ivar 0): there is nothing to measure")
