"""Conditional scores: anomalous among objects alike in brightness, size, noise and surroundings. METHOD.md sect. 8."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int64

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

N_REFERENCE = 20_000  # METHOD.md sect. 8
N_NEIGHBORS = 200  # enough for a straight line in six covariates; docs/experiments.md
RIDGE = 1e-3  # of the number of neighbors: keeps covariates that are constant nearby from being fitted
FLOOR = 0.02  # least local deviation, as a part of the deviation of all: a tight knot of neighbors is no evidence
MAD_TO_SIGMA = 1.4826  # of a normal distribution
AT_ONCE = 1_024  # objects fitted at once: tens of MB


@dataclass(frozen=True)
class Neighborhood:
    """A frozen sample with covariates and log scores; each object is compared with the 200 most like it.

    Parameters
    ----------
    object_id
        Ids of the sample: an object is never compared with itself.
    covariates
        Already on the scale that they are to be compared on (logarithms of brightness and size, or catalog columns).
    log_scores
        One column a score.
    """

    object_id: Int64[np.ndarray, " n"]
    covariates: Float[np.ndarray, "n n_covariates"]
    log_scores: Float[np.ndarray, "n n_scores"]

    @cached_property
    def _scale(self) -> tuple[np.ndarray, np.ndarray]:
        deviation = self.covariates.std(axis=0)
        return self.covariates.mean(axis=0), np.where(deviation > 0, deviation, 1.0)

    @cached_property
    def _tree(self) -> "cKDTree":
        from scipy.spatial import cKDTree

        return cKDTree(self._places)

    @cached_property
    def _places(self) -> np.ndarray:
        return self._standardized(self.covariates)

    def _standardized(self, covariates: np.ndarray) -> np.ndarray:
        center, scale = self._scale
        return (covariates - center) / scale

    def conditional(
        self,
        object_id: Int64[np.ndarray, " m"],
        covariates: Float[np.ndarray, "m n_covariates"],
        log_scores: Float[np.ndarray, "m n_scores"],
    ) -> Float[np.ndarray, "m n_scores"]:
        """(log score - what is expected of it) / (the deviation of its neighbors from what is expected of them).

        What is expected is a straight line in the covariates, fitted to the neighbors by least squares and shifted to
        their median; the deviation is 1.4826 times the median absolute one, floored. Differs from METHOD.md's
        prototype, the neighbors' median: in six dimensions the nearest of 20,000 are not near, and the slope between
        them and the object hides what is peculiar about it (docs/experiments.md).

        Depends on the object and on the reference only, not on what is scored beside it. NaN where a covariate is
        not finite; 0 where there are fewer than two others to compare with.
        """
        result = np.full(log_scores.shape, np.nan)
        usable = np.flatnonzero(np.isfinite(covariates).all(axis=1))
        if min(N_NEIGHBORS, len(self.object_id) - 1) < 2:
            result[usable] = 0.0
            return result
        for start in range(0, len(usable), AT_ONCE):
            rows = usable[start : start + AT_ONCE]
            result[rows] = self._compared(object_id[rows], self._standardized(covariates[rows]), log_scores[rows])
        return result

    def _compared(self, object_id: np.ndarray, places: np.ndarray, log_scores: np.ndarray) -> np.ndarray:
        """`conditional` of objects at finite, standardized places."""
        near = self._nearest(object_id, places)
        offsets = self._places[near] - places[:, None]  # (m, neighbors, covariates)
        design = np.concatenate([np.ones((*near.shape, 1)), offsets], axis=2)
        around = self.log_scores[near]  # (m, neighbors, scores)
        transposed = design.swapaxes(1, 2)
        penalty = np.full(design.shape[2], RIDGE * near.shape[1])
        penalty[0] = 0.0
        line = np.linalg.solve(transposed @ design + np.diag(penalty), transposed @ around)
        left = around - design @ line
        shift = np.median(left, axis=1)
        deviation = MAD_TO_SIGMA * np.median(np.abs(left - shift[:, None]), axis=1)
        deviation = np.maximum(deviation, FLOOR * self.log_scores.std(axis=0))
        difference = log_scores - line[:, 0] - shift
        return np.divide(difference, deviation, out=np.zeros_like(difference), where=deviation > 0)

    def _nearest(self, object_id: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Rows of the nearest others: itself is dropped where it is there, the farthest where it is not."""
        n_neighbors = min(N_NEIGHBORS, len(self.object_id) - 1)
        _, near = self._tree.query(places, k=n_neighbors + 1)
        is_self = self.object_id[near] == object_id[:, None]
        is_farthest = np.arange(n_neighbors + 1) == n_neighbors
        is_dropped = np.where(is_self.any(axis=1, keepdims=True), is_self, is_farthest)
        kept: np.ndarray = near[~is_dropped].reshape(-1, n_neighbors)
        return kept


def log_score(scores: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Natural logarithm of a score, which is never negative; a score of exactly 0 counts as the smallest number."""
    return np.log(np.maximum(scores.astype(np.float64), np.finfo(np.float32).tiny))
