"""What nebulae can emit: the sums of lines that a redshift is judged by."""

import numpy as np

from peculiar.spectra.spectrum import LINES

# What a nebula can emit is any sum of these, with weights of 0 or more. Case B: Osterbrock & Ferland 2006, H-alpha :
# H-beta : H-gamma = 2.86 : 1 : 0.468; dust and absorption only weaken the bluer. [NII], [SII] and [OI] do not come
# without H-alpha (at most 2, 1.4 and 0.6 of it: the far ends of the diagrams of Kewley et al. 2006); the two lines of
# [OII] and of [SII] lie between their limits of low and high density. Doublets as METHOD.md sect. 7.
NEBULAE: tuple[dict[str, float], ...] = (
    {"H_alpha": 2.86, "H_beta": 1.0, "H_gamma": 0.468},
    {"H_alpha": 2.86, "H_beta": 1.0},
    {"H_alpha": 1.0},
    {"OIII_5008": 1.0, "OIII_4960": 1 / 2.98},
    {"OII_3727": 1.0, "OII_3730": 1.45},
    {"OII_3727": 1.0, "OII_3730": 0.35},
    {"H_alpha": 0.5, "NII_6585": 1.0, "NII_6550": 1 / 3},
    {"H_alpha": 0.7, "SII_6718": 0.59, "SII_6733": 0.41},
    {"H_alpha": 0.7, "SII_6718": 0.31, "SII_6733": 0.69},
    {"H_alpha": 1.6, "OI_6302": 1.0},
)
NAMES = tuple(sorted({name for nebula in NEBULAE for name in nebula}, key=lambda name: LINES[name]))
RECIPES = np.array([[nebula.get(name, 0.0) for nebula in NEBULAE] for name in NAMES])  # (lines, nebulae)
CENTERS = np.array([LINES[name] for name in NAMES])


def explained(significance: np.ndarray, root: np.ndarray) -> tuple[float, np.ndarray]:
    """What nebulae explain of lines' signal to noise: the gain in chi-squared, and what they put at each line."""
    from scipy.optimize import nnls

    matrix = root[:, None] * RECIPES
    size = np.maximum(np.sqrt((matrix**2).sum(axis=0)), 1e-300)
    weights, left = nnls(matrix / size, significance)
    return float(significance @ significance - left**2), matrix / size @ weights
