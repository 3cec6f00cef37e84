"""What is different about a sample, and what a score ranks: properties of some objects against those of all others."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

N_FOLDS = 5
MAX_TREES, MAX_LEAVES = 100, 16  # of the boosted trees that explain a score


@dataclass(frozen=True)
class Compared:
    """One property of one sample against that of all other objects.

    Parameters
    ----------
    n, n_missing
        Objects of the sample with and without a value.
    median, low, high
        Median, and 16th and 84th percentile, of the sample.
    above, above_others
        Part of the sample, and of the others, that is above the threshold; NaN without one.
    distance, p
        Two-sample Kolmogorov-Smirnov statistic, and its p-value.
    auroc
        How often an object of the sample has a larger value than another object (Mann & Whitney 1947); 0.5 is chance.
    """

    n: int
    n_missing: int
    median: float
    low: float
    high: float
    above: float
    above_others: float
    distance: float
    p: float
    auroc: float


def compare(
    values: Float[np.ndarray, " n"], is_in: Bool[np.ndarray, " n"], *, threshold: float | None = None
) -> Compared:
    """One property of the objects `is_in` against that of the others; NaN is missing and does not count.

    Numbers that need objects on both sides are NaN where there are none.
    """
    from scipy.stats import ks_2samp, rankdata

    is_known = np.isfinite(values)
    mine, others = values[is_in & is_known], values[~is_in & is_known]
    low, median, high = np.percentile(mine, [16, 50, 84]) if len(mine) else (np.nan,) * 3
    above, above_others = (_part_above(each, threshold) for each in (mine, others))
    distance = p = auroc = np.nan
    if len(mine) and len(others):
        distance, p = ks_2samp(mine, others, method="asymp")
        ranks = rankdata(np.concatenate([mine, others]))[: len(mine)]
        auroc = (ranks.sum() - len(mine) * (len(mine) + 1) / 2) / (len(mine) * len(others))
    n_missing = int((is_in & ~is_known).sum())
    spread = {"median": float(median), "low": float(low), "high": float(high)}
    parts = {"above": above, "above_others": above_others}
    tests = {"distance": float(distance), "p": float(p), "auroc": float(auroc)}
    return Compared(len(mine), n_missing, **spread, **parts, **tests)


def _part_above(values: np.ndarray, threshold: float | None) -> float:
    return float((values > threshold).mean()) if threshold is not None and len(values) else np.nan


@dataclass(frozen=True)
class Explained:
    """How much of a score is explained by properties: parts of the variance of its ranks, 1 is all of it.

    Parameters
    ----------
    together
        By all properties. A part below 0 says that they predict nothing.
    alone
        By each of them alone.
    n
        Objects with a score.
    """

    together: float
    alone: dict[str, float]
    n: int


def explain(
    score: Float[np.ndarray, " n"], properties: Mapping[str, Float[np.ndarray, " n"]], *, seed: int = 0
) -> Explained:
    """Predict a score's ranks from properties, for objects that were not looked at, and say how much of them that is.

    Boosted trees (scikit-learn), which take any shape and missing values, see four fifths of the objects and are judged
    by the rest, in turns. A score that is explained by size and magnitude finds big bright galaxies.

    Raises
    ------
    ValueError
        There are fewer than 50 objects with a score, all scores are the same, or there is no property.
    """
    from scipy.stats import rankdata

    is_known = np.isfinite(score)
    n = int(is_known.sum())
    if n < 10 * N_FOLDS or not properties:
        raise ValueError(f"a score is explained by one property or more of {10 * N_FOLDS} objects or more, got {n}")
    ranks = rankdata(score[is_known]) / n
    if np.ptp(ranks) == 0:
        raise ValueError("all objects have the same score; there is nothing to explain")
    columns = {name: np.where(np.isfinite(each), each, np.nan)[is_known] for name, each in properties.items()}
    together = _explained(ranks, list(columns.values()), seed)
    alone = {name: _explained(ranks, [each], seed) for name, each in columns.items()}
    return Explained(together, alone, n)


def _explained(ranks: np.ndarray, columns: list[np.ndarray], seed: int) -> float:
    """Part of the variance of the ranks that is predicted for objects that were not seen."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.model_selection import KFold, cross_val_predict
    from threadpoolctl import threadpool_limits

    usable = [each for each in columns if np.isfinite(each).any()]
    if not usable:
        return 0.0
    trees = HistGradientBoostingRegressor(max_iter=MAX_TREES, max_leaf_nodes=MAX_LEAVES, random_state=seed % 2**32)
    folds = KFold(N_FOLDS, shuffle=True, random_state=seed % 2**32)
    with threadpool_limits(1):  # small trees: threads would wait for each other, on a busy machine for minutes
        predicted = cross_val_predict(trees, np.column_stack(usable), ranks, cv=folds)
    return float(1 - ((ranks - predicted) ** 2).sum() / ((ranks - ranks.mean()) ** 2).sum())
