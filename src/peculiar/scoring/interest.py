"""Interest: what the experts' labels say of every object, with how sure that is. METHOD.md sect. 8, lesson 3.

A Gaussian process (Rasmussen & Williams 2006, chapter 2) with two kernels side by side: one sees what an object looks
like (its features), one how anomalous it is (its scores). So anomaly and interest combine, and which of them matters is
learnt from the labels: the amplitudes, lengths and noise are those of the largest marginal likelihood.

Shapes: l labels, m inducing objects, n objects, d features, k scores.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

MAX_EXACT = 2_000  # labels that are all kept; of more, so many stand for all
BASE_RATE = 0.05  # interest of an object that is like none that was labelled: those were chosen, and are no sample
LEAST_NOISE = 1e-3  # variance of a label: even one expert is not of one mind
N_TUNED = 500  # labels that amplitudes, lengths and noise are found on
JITTER = 1e-8  # of the largest variance: keeps a matrix of alike objects from being singular
AT_ONCE = 4_096  # objects predicted at once: 65 MB at 2,000 labels
Acquisition = Literal["expected-improvement", "upper-bound", "uncertainty", "disagreement"]
UPPER = 0.3  # deviations above the mean; METHOD.md sect. 8


@dataclass(frozen=True)
class Kernel:
    """Covariance of two objects: a squared exponential of their features, and one of their scores."""

    amplitude: float  # variance of what features explain
    length: float  # of features, in units of a typical distance between labelled objects
    score_amplitude: float
    score_length: float  # in normal deviations of a score

    def __call__(
        self,
        features: Float[np.ndarray, "a d"],
        scores: Float[np.ndarray, "a k"],
        other_features: Float[np.ndarray, "b d"],
        other_scores: Float[np.ndarray, "b k"],
    ) -> Float[np.ndarray, "a b"]:
        """Covariances of all pairs."""
        return self.of_squares(squares(features, other_features), squares(scores, other_scores))

    def of_squares(self, far: np.ndarray, apart: np.ndarray) -> np.ndarray:
        """Covariances from squared distances in features and in scores."""
        result: np.ndarray = np.exp(far * np.asarray(-0.5 / self.length**2, far.dtype))
        result *= np.asarray(self.amplitude, far.dtype)
        if self.score_amplitude:
            looks = np.exp(apart * np.asarray(-0.5 / self.score_length**2, far.dtype))
            result += looks * np.asarray(self.score_amplitude, far.dtype)
        return result

    @property
    def variance(self) -> float:
        """Of one object, before any label."""
        return self.amplitude + self.score_amplitude


@dataclass(frozen=True)
class InterestModel:
    """A Gaussian process that has seen labels; beyond 2,000 of them, some stand for all (deterministic training
    conditional; Quinonero-Candela & Rasmussen 2005, sect. 4).

    Parameters
    ----------
    features, scores
        Of the inducing objects.
    level
        Mean of the prior.
    weights
        (m,), such that the mean is level + K weights.
    root
        (m, m), such that the variance is that of the kernel less |root k|^2.
    gain
        (m, m) or empty: what the labels give back where some stand for all.
    noise
        Variance of a label.
    """

    kernel: Kernel
    features: Float[np.ndarray, "m d"]
    scores: Float[np.ndarray, "m k"]
    level: float
    weights: Float[np.ndarray, " m"]
    root: Float[np.ndarray, "m m"]
    gain: Float[np.ndarray, "..."]
    noise: float

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
            From 0, of no interest, to 1.
        weight
            How much a grade counts: its noise is divided by it. All 1 by default.

        Raises
        ------
        ValueError
            There is no label, or a number is not finite.
        """
        features, scores, grades = (np.asarray(each, np.float64) for each in (features, scores, grades))
        weight = np.ones(len(grades)) if weight is None else np.asarray(weight, np.float64)
        _refuse_unfit(features, scores, grades, weight)
        level = BASE_RATE
        kernel, noise = _tuned(features, scores, grades - level, weight, seed)
        left = grades - level
        if len(grades) <= MAX_EXACT:
            covariance = kernel(features, scores, features, scores) + np.diag(noise / weight)
            lower = np.linalg.cholesky(covariance)
            root = np.linalg.inv(lower)
            return cls(kernel, features, scores, level, root.T @ (root @ left), root, np.empty(0), noise)
        chosen = np.random.default_rng(seed).choice(len(grades), MAX_EXACT, replace=False)
        inner = kernel(features[chosen], scores[chosen], features[chosen], scores[chosen])
        inner += JITTER * kernel.variance * np.eye(MAX_EXACT)
        seen, pull = inner.copy(), np.zeros(MAX_EXACT)
        for start in range(0, len(grades), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            across = kernel(features[part], scores[part], features[chosen], scores[chosen])
            precision = weight[part] / noise
            seen += across.T @ (precision[:, None] * across)
            pull += across.T @ (precision * left[part])
        gain = np.linalg.inv(np.linalg.cholesky(seen))
        root = np.linalg.inv(np.linalg.cholesky(inner))
        return cls(kernel, features[chosen], scores[chosen], level, gain.T @ (gain @ pull), root, gain, noise)

    def predict(
        self, features: Float[np.ndarray, "n d"], scores: Float[np.ndarray, "n k"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Expected grade, and its deviation, of every object; NaN where its features or scores are not finite."""
        mean, deviation = np.full(len(features), np.nan), np.full(len(features), np.nan)
        usable = np.flatnonzero(np.isfinite(features).all(axis=1) & np.isfinite(scores).all(axis=1))
        # Single precision is enough for an order, and takes half the time.
        own = [each.astype(np.float32) for each in (self.features, self.scores)]
        root, gain = self.root.T.astype(np.float32), self.gain.T.astype(np.float32)
        for start in range(0, len(usable), AT_ONCE):
            rows = usable[start : start + AT_ONCE]
            across = self.kernel(features[rows].astype(np.float32), scores[rows].astype(np.float32), *own)
            mean[rows] = self.level + across @ self.weights
            variance = self.kernel.variance - ((across @ root) ** 2).sum(axis=1)
            if gain.size:
                variance += ((across @ gain) ** 2).sum(axis=1)
            deviation[rows] = np.sqrt(np.maximum(variance, 0))
        return mean, deviation


def squares(a: Float[np.ndarray, "a d"], b: Float[np.ndarray, "b d"]) -> Float[np.ndarray, "a b"]:
    """Squared Euclidean distances of all pairs, never negative."""
    if not a.shape[1]:
        return np.zeros((len(a), len(b)), a.dtype)
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


def _tuned(
    features: np.ndarray, scores: np.ndarray, left: np.ndarray, weight: np.ndarray, seed: int
) -> tuple[Kernel, float]:
    """Kernel and noise of the largest marginal likelihood, with weak priors that decide where labels are few."""
    from scipy.optimize import minimize

    chosen = np.arange(len(left))
    if len(left) > N_TUNED:
        chosen = np.random.default_rng(seed).choice(len(left), N_TUNED, replace=False)
    far, apart = squares(features[chosen], features[chosen]), squares(scores[chosen], scores[chosen])
    typical, spread = (float(np.sqrt(np.median(each[each > 0]))) if (each > 0).any() else 1.0 for each in (far, apart))
    left, weight = left[chosen], weight[chosen]
    # Logarithms: a grade varies by a half or so, over a typical distance, and a fifth of that by itself.
    start = np.log([0.15, typical, 0.05, spread, 0.03])
    loose = np.array([1.0, 0.5, 1.0, 0.7, 1.0])

    def kernel_of(logs: np.ndarray) -> tuple[Kernel, float]:
        amplitude, length, score_amplitude, score_length, noise = np.exp(logs)
        if not scores.shape[1]:
            score_amplitude = 0.0
        return Kernel(amplitude, length, score_amplitude, score_length), float(noise + LEAST_NOISE)

    def loss(logs: np.ndarray) -> float:
        kernel, noise = kernel_of(logs)
        covariance = kernel.of_squares(far, apart) + np.diag(noise / weight)
        try:
            lower = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            return 1e12
        half = np.linalg.solve(lower, left)
        evidence = -0.5 * half @ half - np.log(np.diag(lower)).sum()  # Rasmussen & Williams 2006, Eq. 2.30
        return float(-evidence + 0.5 * (((logs - start) / loose) ** 2).sum())

    found = minimize(loss, start, method="L-BFGS-B", bounds=[(each - 3, each + 3) for each in start])
    return kernel_of(found.x)
