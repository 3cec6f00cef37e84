"""Conditional scores: anomalous among objects of like brightness and size. METHOD.md sect. 8, lesson 1."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int64

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

N_REFERENCE = 20_000  # METHOD.md sect. 8
N_NEIGHBORS = 60  # METHOD.md sect. 8
FLOOR = 0.1  # least local deviation, as a part of the deviation of all: a tight knot of neighbors is no evidence


@dataclass(frozen=True)
class Neighborhood:
    """A frozen sample with covariates and log scores; each object is compared with the 60 most like it.

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

        return cKDTree(self._standardized(self.covariates))

    def _standardized(self, covariates: np.ndarray) -> np.ndarray:
        center, scale = self._scale
        return (covariates - center) / scale

    def conditional(
        self,
        object_id: Int64[np.ndarray, " m"],
        covariates: Float[np.ndarray, "m n_covariates"],
        log_scores: Float[np.ndarray, "m n_scores"],
    ) -> Float[np.ndarray, "m n_scores"]:
        """(log score - median of the neighbors') / (their standard deviation, floored).

        Depends on the object and on the reference only, not on what is scored beside it. NaN where a covariate is
        not finite; 0 where there are fewer than two others to compare with.
        """
        result = np.full(log_scores.shape, np.nan)
        usable = np.isfinite(covariates).all(axis=1)
        n_neighbors = min(N_NEIGHBORS, len(self.object_id) - 1)
        if n_neighbors < 2:
            return np.where(usable[:, None], 0.0, result)
        _, near = self._tree.query(self._standardized(covariates[usable]), k=n_neighbors + 1)
        # Drop itself where it is there, the farthest where it is not.
        is_self = self.object_id[near] == object_id[usable, None]
        is_dropped = np.where(is_self.any(axis=1, keepdims=True), is_self, np.arange(n_neighbors + 1) == n_neighbors)
        near = near[~is_dropped].reshape(-1, n_neighbors)
        around = self.log_scores[near]  # (usable, neighbors, scores)
        deviation = np.maximum(around.std(axis=1), FLOOR * self.log_scores.std(axis=0))
        difference = log_scores[usable] - np.median(around, axis=1)
        result[usable] = np.divide(difference, deviation, out=np.zeros_like(difference), where=deviation > 0)
        return result


def log_score(scores: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Natural logarithm of a score, which is never negative; a score of exactly 0 counts as the smallest number."""
    return np.log(np.maximum(scores.astype(np.float64), np.finfo(np.float32).tiny))
