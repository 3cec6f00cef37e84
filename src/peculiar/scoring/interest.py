"""Interest: what the experts' labels say of every object, with how sure that is. METHOD.md sect. 8, lesson 3.

A Gaussian process classifier (Rasmussen & Williams 2006, chapter 3), approximated as Laplace did. The log odds that an
object is of interest are a line in its scores, which starts as what an order that is worth something looks like, and
a smooth function of its features, which starts at nothing. So with few labels the order is gone on with, but for what
is like an object that was liked or disliked, and the more was said the more likeness weighs.

Shapes: l labels, m inducing objects, n objects, d features, k scores.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

MAX_EXACT = 2_000  # labels that are all kept; of more, so many stand for all
LEVEL, LEVEL_SPREAD = -4.0, 1.0  # log odds in the middle of the order before any label, and their deviation
SLOPE, SLOPE_SPREAD = 1.0, 0.5  # by how much they rise with a deviation of the scores; of all scores together
AMPLITUDE = 8.0  # variance of log odds that likeness explains
LENGTH = 0.7  # of likeness, in typical distances between labelled objects
JITTER = 1e-8  # of the largest variance: keeps a matrix of alike objects from being singular
AT_ONCE = 4_096  # objects predicted at once: 65 MB at 2,000 labels
MOST_KEPT = 16_384  # labels whose basis is kept from step to step, 260 MB; that of more is made anew
N_NODES = 16  # of the sums that stand for integrals over log odds
MOST_STEPS, SMALL_STEP = 100, 1e-6  # of Newton's method
ENOUGH = 0.1  # part of the gain that the slope promises, of a step that is taken (Nocedal & Wright 2006, Eq. 3.4)
Acquisition = Literal["expected-improvement", "upper-bound", "uncertainty", "disagreement"]
UPPER = 0.3  # deviations above the mean; METHOD.md sect. 8


@dataclass(frozen=True)
class InterestModel:
    """A Gaussian process classifier that has seen labels; beyond 2,000 of them, some stand for all (deterministic
    training conditional; Quinonero-Candela & Rasmussen 2005, sect. 4).

    Parameters
    ----------
    features
        Of the inducing objects.
    length
        Of the squared exponential that likeness is, in units of the features.
    pull
        (m + 1 + k,), such that log odds are those of the prior's line and `pull` times `_seen`.
    sure
        (m + 1 + k, m + 1 + k), such that the variance of log odds is the prior's less |sure seen|^2.
    """

    features: Float[np.ndarray, "m d"]
    length: float
    pull: Float[np.ndarray, " w"]
    sure: Float[np.ndarray, "w w"]

    @classmethod
    def fit(
        cls,
        features: Float[np.ndarray, "l d"],
        scores: Float[np.ndarray, "l k"],
        grades: Float[np.ndarray, " l"],
        *,
        weight: Float[np.ndarray, " l"] | None = None,
        seed: int = 0,
    ) -> "InterestModel":
        """Learn from labelled objects.

        Parameters
        ----------
        features
            Whatever distances mean likeness in.
        scores
            On the scale of normal deviations (`normal_scores`); may have no column.
        grades
            From 0, of no interest, to 1; between them, that much of a yes and the rest of a no.
        weight
            How many times a grade counts. All 1 by default.

        Raises
        ------
        ValueError
            There is no label, or a number is not finite.
        """
        features, scores, grades = (np.asarray(each, np.float64) for each in (features, scores, grades))
        weight = np.ones(len(grades)) if weight is None else np.asarray(weight, np.float64)
        _refuse_unfit(features, scores, grades, weight)
        chosen = np.arange(len(grades))
        if len(chosen) > MAX_EXACT:
            chosen = np.random.default_rng(seed % 2**64).choice(len(chosen), MAX_EXACT, replace=False)
        m, inducing = len(chosen), features[chosen]
        far = squares(inducing, inducing)
        length = LENGTH * (float(np.sqrt(np.median(far[far > 0]))) if (far > 0).any() else 1.0)
        inner = _covariance(far, length) + JITTER * AMPLITUDE * np.eye(m)
        whiten = np.eye(m + 1 + scores.shape[1])  # what is seen, as numbers of variance one that are independent
        whiten[:m, :m] = np.linalg.inv(np.linalg.cholesky(inner))

        def basis(part: slice) -> np.ndarray:
            return _seen(features[part], scores[part], inducing, length) @ whiten.T

        weights, curvature = _most_probable(basis, _line(scores), grades, weight)
        known = np.eye(len(weights)) * (1 + JITTER) - np.linalg.inv(curvature)
        return cls(inducing, length, whiten.T @ weights, np.linalg.cholesky(known).T @ whiten)

    def predict(
        self, features: Float[np.ndarray, "n d"], scores: Float[np.ndarray, "n k"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Expected grade, and its deviation, of every object; NaN where its features or scores are not finite."""
        mean, deviation = np.full(len(features), np.nan), np.full(len(features), np.nan)
        usable = np.flatnonzero(np.isfinite(features).all(axis=1) & np.isfinite(scores).all(axis=1))
        for start in range(0, len(usable), AT_ONCE):
            rows = usable[start : start + AT_ONCE]
            mean[rows], deviation[rows] = _grade(*self.log_odds(features[rows], scores[rows]))
        return mean, deviation

    def log_odds(
        self, features: Float[np.ndarray, "n d"], scores: Float[np.ndarray, "n k"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Mean and variance of the log odds that an object is of interest, all at once."""
        # Single precision is enough for an order, and takes half the time.
        own = [each.astype(np.float32) for each in (features, scores, self.features, self.pull, self.sure)]
        features, scores, inducing, pull, sure = own
        seen = _seen(features, scores, inducing, self.length)
        before = AMPLITUDE + (seen[:, len(inducing) :] ** 2).sum(axis=1)
        return _line(scores) + seen @ pull, np.maximum(before - ((seen @ sure.T) ** 2).sum(axis=1), 0)


def _seen(features: np.ndarray, scores: np.ndarray, inducing: np.ndarray, length: float) -> np.ndarray:
    """What the labels can move: likeness to the inducing objects, the line's level and its slopes, (n, m + 1 + k)."""
    level = np.full((len(features), 1), LEVEL_SPREAD, features.dtype)
    slopes = scores * np.asarray(SLOPE_SPREAD / max(scores.shape[1], 1), scores.dtype)
    return np.concatenate([_covariance(squares(features, inducing), length), level, slopes], axis=1)


def _line(scores: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
    """Log odds before any label."""
    line: np.ndarray = LEVEL + scores.sum(axis=1) * np.asarray(SLOPE / max(scores.shape[1], 1), scores.dtype)
    return line


def _most_probable(
    basis: Callable[[slice], np.ndarray], line: np.ndarray, grades: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the largest posterior, and its curvature there: Newton's method (Rasmussen & Williams, sect. 3.4).

    Log odds are `line` and the basis times weights that are normal before any label.
    """
    from scipy.special import expit

    parts = [slice(start, start + AT_ONCE) for start in range(0, len(grades), AT_ONCE)]
    kept = [basis(part) for part in parts] if len(grades) <= MOST_KEPT else None

    def blocks() -> Iterable[np.ndarray]:
        return kept or (basis(part) for part in parts)

    n_weights = basis(slice(0, 1)).shape[1]
    weights, odds = np.zeros(n_weights), line
    for _ in range(MOST_STEPS):
        chance = expit(odds)
        curvature, slope = np.eye(n_weights), -weights
        for part, rows in zip(parts, blocks(), strict=True):
            curvature += rows.T @ ((weight[part] * chance[part] * (1 - chance[part]))[:, None] * rows)
            slope += rows.T @ (weight[part] * (grades[part] - chance[part]))
        step = np.linalg.solve(curvature, slope)
        along = np.concatenate([rows @ step for rows in blocks()])
        size, worst, promised = 1.0, _loss(odds, grades, weight, weights), ENOUGH * float(slope @ step)
        while size > SMALL_STEP and (
            _loss(odds + size * along, grades, weight, weights + size * step) > worst - size * promised
        ):
            size /= 2  # the posterior has one peak: a step that is short enough climbs
        weights, odds = weights + size * step, odds + size * along
        if np.abs(size * along).max() < SMALL_STEP:
            break
    return weights, curvature


def _covariance(far: np.ndarray, length: float) -> np.ndarray:
    """Of log odds, by likeness, from squared distances in features."""
    result: np.ndarray = np.exp(far * np.asarray(-0.5 / length**2, far.dtype))
    result *= np.asarray(AMPLITUDE, far.dtype)
    return result


def _loss(odds: np.ndarray, grades: np.ndarray, weight: np.ndarray, weights: np.ndarray) -> float:
    """Less the log posterior, but for a constant; Rasmussen & Williams 2006, Eq. 3.12, with the logistic likelihood."""
    return float((weight * (np.logaddexp(0, odds) - grades * odds)).sum() + 0.5 * weights @ weights)


def _grade(mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the chance whose log odds are normal, by Gauss and Hermite's sums."""
    from scipy.special import expit

    nodes, shares = np.polynomial.hermite_e.hermegauss(N_NODES)
    spread, shares = np.sqrt(variance), shares / shares.sum()
    first, second = np.zeros(len(mean)), np.zeros(len(mean))
    for node, share in zip(nodes, shares, strict=True):
        chance = expit(mean + node * spread)
        first += share * chance
        second += share * chance**2
    return first, np.sqrt(np.maximum(second - first**2, 0))


def squares(a: Float[np.ndarray, "a d"], b: Float[np.ndarray, "b d"]) -> Float[np.ndarray, "a b"]:
    """Squared Euclidean distances of all pairs, never negative."""
    if not a.shape[1]:
        return np.zeros((len(a), len(b)), a.dtype)
    middle = np.median(b, axis=0)  # far from it differences would be rounded away
    a, b = a - middle, b - middle
    result: np.ndarray = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T
    return np.maximum(result, 0)


def normal_scores(percentiles: Float[np.ndarray, "..."], n_reference: int) -> Float[np.ndarray, "..."]:
    """Percentiles, 0 to 100, as deviations of a normal distribution; beyond a reference of n, half an object's part."""
    from scipy.special import ndtri

    edge = 0.5 / n_reference
    deviations: np.ndarray = ndtri(np.clip(percentiles / 100, edge, 1 - edge))
    return deviations


def acquisition(
    mean: Float[np.ndarray, " n"],
    deviation: Float[np.ndarray, " n"],
    best: float,
    kind: Acquisition,
    disagreement: Float[np.ndarray, " n"] | None = None,
) -> Float[np.ndarray, " n"]:
    """How much is to be gained by asking for each object's label; larger first.

    "expected-improvement" on `best`, the largest mean among labelled objects (Jones et al. 1998, Eq. 15);
    "upper-bound", mean + 0.3 deviations; "uncertainty", the deviation; "disagreement", how unlike the experts' labels
    of it are.
    """
    if kind == "upper-bound":
        return mean + UPPER * deviation
    if kind == "uncertainty":
        return deviation
    if kind == "disagreement":
        return np.zeros(len(mean)) if disagreement is None else disagreement
    from scipy.stats import norm

    ahead = mean - best
    ratio = np.divide(ahead, deviation, out=np.zeros_like(ahead), where=deviation > 0)
    improved: np.ndarray = ahead * norm.cdf(ratio) + deviation * norm.pdf(ratio)
    return np.where(deviation > 0, improved, np.maximum(ahead, 0))


def still_to_find(n_found: int, n_asked: int, n_left: int) -> tuple[float, float, float]:
    """Expected number of interesting objects among `n_left`, and its 95 % interval, from a random control sample.

    Of `n_asked` objects taken at random `n_found` were interesting: the rate has a beta distribution by Jeffreys' prior
    (Brown et al. 2001, sect. 4.1), and the number among the others a beta-binomial one. All of `n_left` may be, where
    nobody was asked.
    """
    from scipy.stats import betabinom

    left = betabinom(n_left, n_found + 0.5, n_asked - n_found + 0.5)
    return float(left.mean()), float(left.ppf(0.025)), float(left.ppf(0.975))


def _refuse_unfit(features: np.ndarray, scores: np.ndarray, grades: np.ndarray, weight: np.ndarray) -> None:
    if not len(grades):
        raise ValueError("interest is learnt from labels, and there is none; label some objects first")
    for name, values in (("features", features), ("scores", scores), ("grades", grades), ("weight", weight)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} of labelled objects must be finite, got NaN or infinity")
    if not (weight > 0).all():
        raise ValueError(f"weights of labels must be positive, got {weight.min():g}")
