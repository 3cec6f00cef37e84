"""What ionizes the gas: line ratios, the curves that part them, and the class on each side (BPT diagrams)."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float

Fluxes = float | np.ndarray  # a flux, or any number of them, one unit for all
Diagram = Literal["NII", "SII", "OI"]

STAR_FORMING, COMPOSITE, SEYFERT, LINER, UNKNOWN = "star-forming", "composite", "Seyfert", "LINER", ""

# y = a / (x - x0) + b, left of x0; right of it, every object is beyond the curve. x is log of the low-ionization line
# to H-alpha, y = log([OIII] 5008 / H-beta).
KAUFFMANN_2003 = (0.61, 0.05, 1.30)  # Kauffmann et al. 2003, eq. 1
KEWLEY_2001 = {  # Kewley et al. 2001, eqs 5 to 7
    "NII": (0.61, 0.47, 1.19),
    "SII": (0.72, 0.32, 1.30),
    "OI": (0.73, -0.59, 1.33),
}
# y = slope x + b parts Seyferts, above, from LINERs.
SEYFERT_LINER = {
    "NII": (1.05, 0.45),  # Schawinski et al. 2007
    "SII": (1.89, 0.76),  # Kewley et al. 2006
    "OI": (1.18, 1.30),  # Kewley et al. 2006
}
SHARED_LINES = ("H_alpha", "OIII_5008", "H_beta")
LOW_LINES: dict[Diagram, tuple[str, ...]] = {  # of low ionization: their sum against H-alpha
    "NII": ("NII_6585",),
    "SII": ("SII_6718", "SII_6733"),
    "OI": ("OI_6302",),
}


def log_ratio(above: Fluxes, below: Fluxes) -> np.ndarray:
    """Return log10(above / below), element by element; NaN where either is not above 0."""
    above, below = np.broadcast_arrays(np.asarray(above, np.float64), np.asarray(below, np.float64))
    is_defined = (above > 0) & (below > 0)
    return (np.log10(np.where(is_defined, above, np.nan)) - np.log10(np.where(is_defined, below, np.nan)))[()]


def diagram_place(fluxes: Mapping[str, Fluxes], diagram: Diagram = "NII") -> tuple[np.ndarray, np.ndarray]:
    """Return an object's place on a BPT diagram: x and y, NaN where a flux is not above 0.

    Parameters
    ----------
    fluxes
        By line name; those of `LOW_LINES` and `SHARED_LINES` are needed. y = log([OIII] 5008 / H-beta); x = log of
        [NII] 6585, [SII] 6718 + 6733 or [OI] 6302 to H-alpha. Dust changes them by little.
    """
    if diagram not in LOW_LINES:
        raise ValueError(f"diagram must be one of {', '.join(LOW_LINES)}, got {diagram!r}")
    low = sum(np.asarray(fluxes[name]) for name in LOW_LINES[diagram])
    return log_ratio(low, fluxes["H_alpha"]), log_ratio(fluxes["OIII_5008"], fluxes["H_beta"])


def kewley_2001(x: Fluxes, diagram: Diagram = "NII") -> np.ndarray:
    """Return the upper end of what star formation can do, log([OIII]/H-beta) at x (Kewley et al. 2001).

    -inf from the curve's asymptote on (x = 0.47, 0.32 and -0.59 for NII, SII and OI): all there is beyond it.
    """
    return _curve(x, KEWLEY_2001[diagram])


def kauffmann_2003(x: Fluxes) -> np.ndarray:
    """Return the empirical end of the star-forming sequence, log([OIII]/H-beta) at x = log([NII]/H-alpha).

    Kauffmann et al. 2003, eq. 1; -inf from x = 0.05 on.
    """
    return _curve(x, KAUFFMANN_2003)


def seyfert_liner(x: Fluxes, diagram: Diagram = "NII") -> np.ndarray:
    """Return the line between Seyferts, above, and LINERs, below (Schawinski 2007 for NII, Kewley 2006 else)."""
    slope, intercept = SEYFERT_LINER[diagram]
    return (slope * np.asarray(x, np.float64) + intercept)[()]


def classify(x: Fluxes, y: Fluxes, diagram: Diagram = "NII") -> np.ndarray:
    """Name the class of each place on a BPT diagram.

    "star-forming" is below Kewley 2001, and in NII below Kauffmann 2003 too; "composite", of NII alone, between the two
    curves; "Seyfert" and "LINER" beyond Kewley 2001, above and not above the line between them. "" where x or y is NaN.
    A place on a curve is beyond it.
    """
    x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    is_starburst = y < kewley_2001(x, diagram)
    is_pure = y < kauffmann_2003(x) if diagram == "NII" else is_starburst
    conditions = [np.isnan(x) | np.isnan(y), is_starburst & is_pure, is_starburst, y > seyfert_liner(x, diagram)]
    return np.select(conditions, [UNKNOWN, STAR_FORMING, COMPOSITE, SEYFERT], LINER)[()]


def class_probabilities(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], diagram: Diagram) -> dict[str, float]:
    """Return the part of the draws in each class, the largest first; of those whose ratios are defined.

    Empty where none is.
    """
    names, counts = np.unique(classify(x, y, diagram), return_counts=True)
    known = {str(name): int(count) for name, count in zip(names, counts, strict=True) if name != UNKNOWN}
    total = sum(known.values())
    return {name: count / total for name, count in sorted(known.items(), key=lambda each: -each[1])}


def diagram_curves(diagram: Diagram = "NII", n: int = 200) -> dict[str, Float[np.ndarray, "2 n"]]:
    """Return the curves of a diagram to draw, by source: rows x and y, from x = -2.5 to near the asymptote.

    Kauffmann 2003 is drawn to x = 0, as METHOD.md sect. 7 says; Seyfert against LINER from where it meets Kewley 2001.
    """
    end = KEWLEY_2001[diagram][1]
    x = np.linspace(-2.5, end - 0.02, n)
    curves = {"Kewley 2001": np.stack([x, kewley_2001(x, diagram)])}
    if diagram == "NII":
        x = np.linspace(-2.5, 0.0, n)
        curves["Kauffmann 2003"] = np.stack([x, kauffmann_2003(x)])
    x = np.linspace(-2.5, end + 1.0, 20 * n)
    right = x[seyfert_liner(x, diagram) > kewley_2001(x, diagram)]
    x = np.linspace(right[0], right[-1], n)
    source = "Schawinski 2007" if diagram == "NII" else "Kewley 2006"
    return curves | {source: np.stack([x, seyfert_liner(x, diagram)])}


def _curve(x: Fluxes, terms: tuple[float, float, float]) -> np.ndarray:
    height, asymptote, level = terms
    x = np.asarray(x, np.float64)
    is_left = x < asymptote
    offset = np.where(is_left, x - asymptote, -1.0)
    return np.where(np.isnan(x), np.nan, np.where(is_left, height / offset + level, -np.inf))[()]
