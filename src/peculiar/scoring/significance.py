"""How surprising a score is, as scores have one long tail: p-values of an empirical null, false-discovery rates."""

import numpy as np
from jaxtyping import Float

LEVELS = (0.01, 0.05, 0.1, 0.2)  # false-discovery rates that are counted at


def mirrored_null(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
    """A null made of the values' own lower half, mirrored at their median: oddities are thought to be in the upper.

    In the spirit of the empirical null of Efron (2004), without a shape. It holds where the scores of ordinary objects
    are symmetric, which the conditional forms nearly are and raw scores are not (docs/experiments.md says how nearly);
    NaN does not count.

    Raises
    ------
    ValueError
        There are fewer than two finite values.
    """
    finite = values[np.isfinite(values)]
    if len(finite) < 2:
        raise ValueError(f"a null needs two finite values or more, got {len(finite)}")
    median = np.median(finite)
    below = finite[finite <= median]
    return np.concatenate([below, 2 * median - below])


def p_values(values: Float[np.ndarray, " n"], null: Float[np.ndarray, " m"]) -> Float[np.ndarray, " n"]:
    """(1 + those of the null that are as large) / (1 + all of it): never 0 (Davison & Hinkley 1997, Eq. 4.11)."""
    ordered = np.sort(null[np.isfinite(null)])
    if not len(ordered):
        raise ValueError("the null holds no finite value; give the scores of ordinary objects")
    as_large = len(ordered) - np.searchsorted(ordered, values, side="left")
    return np.where(np.isfinite(values), (1 + as_large) / (1 + len(ordered)), np.nan)


def discovery_rates(p: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Least false-discovery rate at which each object is among those found (Benjamini & Hochberg 1995); NaN stays."""
    from scipy.stats import false_discovery_control

    result = np.full(len(p), np.nan)
    known = np.isfinite(p)
    if known.any():
        result[known] = false_discovery_control(p[known], method="bh")
    return result
