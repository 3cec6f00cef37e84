"""Oxygen abundances, 12+log(O/H): strong-line calibrations with their ranges, and the direct method."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from peculiar.spectra.conditions import OIII_RATIO, temperature_oiii
from peculiar.spectra.diagnostics import Fluxes, log_ratio

EXTREMELY_METAL_POOR: Final = 7.69  # METHOD.md sect. 7; a tenth of the Sun's 8.69 (Asplund et al. 2009)

# The lines of each index, those in brackets as their sum; `strong_line_index` says how.
INDEX_LINES: Final[dict[str, tuple[str | tuple[str, ...], ...]]] = {
    "O3N2": ("OIII_5008", "H_beta", "NII_6585", "H_alpha"),
    "N2": ("NII_6585", "H_alpha"),
    "N2S2": ("NII_6585", "H_alpha", ("SII_6718", "SII_6733")),
}


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """12+log(O/H) as a function of an index of strong lines.

    Parameters
    ----------
    index
        "O3N2", "N2" or "N2S2": see `strong_line_index`.
    coefficients
        Of a polynomial in the index, the constant first.
    minimum, maximum
        Of the index, where the calibration holds.
    scatter
        Of the objects that it was made from, dex, one standard deviation; NaN where it was made from models. It is not
        in the errors that are carried from the fluxes.
    source
        Paper and what it was fitted to.
    fifth
        Weight and zero point of a term weight (index + zero point)^5, of Dopita 2016 alone.
    """

    index: str
    coefficients: tuple[float, ...]
    minimum: float
    maximum: float
    scatter: float
    source: str
    fifth: tuple[float, float] = (0.0, 0.0)

    @property
    def lines(self) -> tuple[str | tuple[str, ...], ...]:
        """Names of the lines that it needs; those in brackets as their sum."""
        return INDEX_LINES[self.index]

    def abundance(self, index: Fluxes) -> tuple[np.ndarray, np.ndarray]:
        """Return 12+log(O/H) at values of the index, and whether they are in range; outside, the value is given too.

        NaN and False where the index is NaN.
        """
        index = np.asarray(index, np.float64)
        weight, zero_point = self.fifth
        value = np.polyval(self.coefficients[::-1], index) + weight * (index + zero_point) ** 5
        return value[()], ((index >= self.minimum) & (index <= self.maximum))[()]

    @property
    def lowest(self) -> float:
        """Smallest 12+log(O/H) that it can give within its range."""
        return float(np.min(self.abundance(np.linspace(self.minimum, self.maximum, 200))[0]))


# Marino et al. 2013: eqs 2 and 4 and their ranges are of the T_e fits. The CALIFA-ONS fits are those of METHOD.md
# sect. 7; the same ranges of the indices are used for them. Scatters: the paper's abstract.
CALIBRATIONS: Final[dict[str, Calibration]] = {
    "O3N2_marino_ons": Calibration(
        index="O3N2",
        coefficients=(8.505, -0.221),
        minimum=-1.1,
        maximum=1.7,
        scatter=0.08,
        source="Marino et al. 2013, fitted to CALIFA-ONS abundances",
    ),
    "N2_marino_ons": Calibration(
        index="N2",
        coefficients=(8.667, 0.455),
        minimum=-1.6,
        maximum=-0.2,
        scatter=0.09,
        source="Marino et al. 2013, fitted to CALIFA-ONS abundances",
    ),
    "O3N2_marino_te": Calibration(
        index="O3N2",
        coefficients=(8.533, -0.214),
        minimum=-1.1,
        maximum=1.7,
        scatter=0.18,
        source="Marino et al. 2013, eq. 2, fitted to T_e abundances",
    ),
    "N2_marino_te": Calibration(
        index="N2",
        coefficients=(8.743, 0.462),
        minimum=-1.6,
        maximum=-0.2,
        scatter=0.16,
        source="Marino et al. 2013, eq. 4, fitted to T_e abundances",
    ),
    "N2S2_dopita_linear": Calibration(
        index="N2S2",
        coefficients=(8.77, 1.0),
        minimum=-1.1,
        maximum=0.5,
        scatter=float("nan"),
        source="Dopita et al. 2016, the linear part",
    ),
    "N2S2_dopita": Calibration(
        index="N2S2",
        coefficients=(8.77, 1.0),
        minimum=-1.1,
        maximum=0.5,
        scatter=float("nan"),
        source="Dopita et al. 2016, eq. 2, with its term 0.45 (y + 0.3)^5",
        fifth=(0.45, 0.3),
    ),
    "O3N2_pettini_pagel": Calibration(
        index="O3N2",
        coefficients=(8.73, -0.32),
        minimum=-1.0,
        maximum=1.9,
        scatter=0.14,
        source="Pettini & Pagel 2004, eq. 3",
    ),
    "N2_pettini_pagel": Calibration(
        index="N2",
        coefficients=(8.90, 0.57),
        minimum=-2.5,
        maximum=-0.3,
        scatter=0.18,
        source="Pettini & Pagel 2004, eq. 1",
    ),
    "N2_pettini_pagel_cubic": Calibration(
        index="N2",
        coefficients=(9.37, 2.03, 1.26, 0.32),
        minimum=-2.5,
        maximum=-0.3,
        scatter=0.18,
        source="Pettini & Pagel 2004, eq. 2",
    ),
}


def strong_line_index(fluxes: Mapping[str, Fluxes], index: str) -> np.ndarray:
    """Return an index of strong lines, NaN where a flux that it needs is not above 0.

    O3N2 = log([OIII] 5008 / H-beta x H-alpha / [NII] 6585); N2 = log([NII] 6585 / H-alpha); N2S2, which is Dopita's y,
    = log([NII] 6585 / [SII] 6718 + 6733) + 0.264 log([NII] 6585 / H-alpha). The lines of a ratio are near in
    wavelength: fluxes as observed will do (dust of E(B-V) = 1 changes O3N2 by 0.05, N2S2 by 0.03, N2 by less).
    """
    n2 = log_ratio(fluxes["NII_6585"], fluxes["H_alpha"])
    if index == "N2":
        return n2
    if index == "O3N2":
        return log_ratio(fluxes["OIII_5008"], fluxes["H_beta"]) - n2
    if index == "N2S2":
        sulfur = np.asarray(fluxes["SII_6718"]) + fluxes["SII_6733"]
        return log_ratio(fluxes["NII_6585"], sulfur) + 0.264 * n2
    raise ValueError(f"index must be one of {', '.join(INDEX_LINES)}, got {index!r}")


def strong_line_abundance(fluxes: Mapping[str, Fluxes], calibration: str) -> tuple[np.ndarray, np.ndarray]:
    """Return 12+log(O/H) by a calibration of `CALIBRATIONS`, and whether its index is in range.

    Parameters
    ----------
    fluxes
        By line name, floats or arrays, of one unit; NaN and False where one that is needed is not above 0.
    """
    if calibration not in CALIBRATIONS:
        raise ValueError(f"calibration must be one of {', '.join(CALIBRATIONS)}, got {calibration!r}")
    chosen = CALIBRATIONS[calibration]
    return chosen.abundance(strong_line_index(fluxes, chosen.index))


@dataclass(frozen=True, kw_only=True, eq=False)
class DirectAbundance:
    """What `direct_abundance` returns; abundances are 12+log by number, against hydrogen."""

    temperature: np.ndarray
    doubly_ionized: np.ndarray
    singly_ionized: np.ndarray
    total: np.ndarray
    is_in_range: np.ndarray


def direct_abundance(fluxes: Mapping[str, Fluxes], density: float = 100.0) -> DirectAbundance:
    """Return the oxygen abundance by the electron temperature, from fluxes without dust.

    T(O++) of `temperature_oiii`; O++/H+ and O+/H+ by Izotov et al. 2006, eqs 5 and 3, at T(O+) = 0.7 T(O++) + 3,000 K
    (Campbell et al. 1986; Garnett 1992). O3+ is left out, as are [OII] 7320, 7330.

    Parameters
    ----------
    fluxes
        "OIII_4364", "OIII_5008" and "H_beta"; "OII_3727" and "OII_3730" for O+. Where these two are not given, O+ and
        the total are NaN: O++ alone is then a lower limit of the total.
    density
        Electrons per cm3; of little influence below 1,000.
    """
    temperature, is_in_range = temperature_oiii(fluxes["OIII_4364"], fluxes["OIII_5008"], density)
    t3 = np.asarray(temperature) / 1e4
    nebular = np.asarray(fluxes["OIII_5008"]) * (1 + 1 / OIII_RATIO)
    double = log_ratio(nebular, fluxes["H_beta"]) + 6.200 + 1.251 / t3 - 0.55 * np.log10(t3) - 0.014 * t3
    single = np.full_like(double, np.nan)
    if "OII_3727" in fluxes and "OII_3730" in fluxes:
        t2 = 0.7 * t3 + 0.3
        x = 1e-4 * density / np.sqrt(t2)
        oxygen = log_ratio(np.asarray(fluxes["OII_3727"]) + fluxes["OII_3730"], fluxes["H_beta"])
        single = oxygen + 5.961 + 1.676 / t2 - 0.40 * np.log10(t2) - 0.034 * t2 + np.log10(1 + 1.35 * x)
    total = np.log10(10.0**double + 10.0**single)
    return DirectAbundance(
        temperature=temperature, doubly_ionized=double, singly_ionized=single[()], total=total, is_in_range=is_in_range
    )
