"""What a score means beside the others: sigma, robust sigma, percentile, against a frozen reference."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from peculiar.scoring.conditional import MAD_TO_SIGMA, Neighborhood, log_score

SCORES = ("score_gen", "score_disc", "score_anom")
FORMS = ("_sigma", "_robust_sigma", "_percentile", "_conditional")  # of a score, relative to a reference
# Even steps of one in a thousand, and finer toward the top, where objects are selected.
_LEVELS = np.unique(np.concatenate([np.linspace(0.0, 1.0, 1001), 1.0 - np.logspace(-1, -6, 501)]))


@dataclass(frozen=True)
class Distribution:
    """Statistics of one score over a reference: what sigma, robust sigma and percentile are relative to."""

    n_objects: int
    mean: float
    deviation: float  # of the population, as in the paper
    median: float
    mad: float
    quantiles: tuple[float, ...]

    @classmethod
    def of(cls, values: Float[np.ndarray, " n"]) -> "Distribution":
        """Describe a sample. NaN is an error: a score is a number."""
        if not len(values) or not np.isfinite(values).all():
            raise ValueError(f"a reference needs finite scores, got {np.isfinite(values).sum()} of {len(values)}")
        values = np.sort(values.astype(np.float64))
        median = float(np.median(values))
        return cls(
            n_objects=len(values),
            mean=float(values.mean()),
            deviation=float(values.std()),
            median=median,
            mad=float(np.median(np.abs(values - median))),
            quantiles=tuple(np.quantile(values, _LEVELS).tolist()),
        )

    def sigma(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """(value - mean) / deviation, the paper's form; 0 where the reference is constant."""
        return _ratio(values - self.mean, self.deviation)

    def robust_sigma(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """(value - median) / (1.4826 MAD); 0 where half the reference is one value."""
        return _ratio(values - self.median, MAD_TO_SIGMA * self.mad)

    def percentile(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Percent of the reference below, interpolated between stored quantiles; 0 and 100 outside."""
        return 100.0 * np.interp(values, self.quantiles, _LEVELS)

    def to_json(self) -> dict[str, Any]:
        """JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Distribution":
        """Undo `to_json`."""
        return cls(**{**fields, "quantiles": tuple(fields["quantiles"])})


def _ratio(difference: Float[np.ndarray, " n"], unit: float) -> Float[np.ndarray, " n"]:
    return difference / unit if unit > 0 else np.zeros_like(difference)


def score_anom(
    score_gen: Float[np.ndarray, " n"], score_disc: Float[np.ndarray, " n"], combination_weight: float
) -> Float[np.ndarray, " n"]:
    """(1 - weight) score_gen + weight score_disc. Storey-Fisher 2021, Eq. 6."""
    return (1.0 - combination_weight) * score_gen.astype(np.float64) + combination_weight * score_disc


@dataclass(frozen=True)
class Reference:
    """What scores are relative to: a distribution of each, and a neighborhood for the conditional forms."""

    distributions: dict[str, Distribution]
    neighborhood: Neighborhood

    @classmethod
    def of(
        cls, scores: dict[str, Float[np.ndarray, " n"]], sample: dict[str, np.ndarray], covariates: np.ndarray
    ) -> "Reference":
        """Freeze distributions of all `scores`, and a neighborhood of the objects in `sample` (ids and the scores)."""
        logs = np.stack([log_score(sample[name]) for name in scores], axis=1)
        usable = np.isfinite(covariates).all(axis=1)
        neighborhood = Neighborhood(sample["object_id"][usable], covariates[usable], logs[usable])
        return cls({name: Distribution.of(values) for name, values in scores.items()}, neighborhood)

    @property
    def digest(self) -> str:
        """BLAKE2b of all its numbers, 32 hexadecimal digits."""
        digest = hashlib.blake2b(digest_size=16)
        statistics = {name: each.to_json() for name, each in self.distributions.items()}
        digest.update(json.dumps(statistics, sort_keys=True).encode())
        for rows in (self.neighborhood.object_id, self.neighborhood.covariates, self.neighborhood.log_scores):
            digest.update(np.ascontiguousarray(rows).tobytes())
        return digest.hexdigest()

    def relate(
        self,
        object_id: Int64[np.ndarray, " n"],
        scores: dict[str, Float[np.ndarray, " n"]],
        covariates: Float[np.ndarray, "n n_covariates"],
    ) -> dict[str, Float[np.ndarray, " n"]]:
        """Every score's sigma, robust sigma, percentile and conditional form, by column name."""
        logs = np.stack([log_score(scores[name]) for name in self.distributions], axis=1)
        conditional = self.neighborhood.conditional(object_id, covariates, logs)
        found = {}
        for place, (name, distribution) in enumerate(self.distributions.items()):
            found[f"{name}_sigma"] = distribution.sigma(scores[name])
            found[f"{name}_robust_sigma"] = distribution.robust_sigma(scores[name])
            found[f"{name}_percentile"] = distribution.percentile(scores[name])
            found[f"{name}_conditional"] = conditional[:, place]
        return found


def joint(distributions: "list[Distribution]", values: Float[np.ndarray, "n n_scores"]) -> Float[np.ndarray, " n"]:
    """Sum over scores of -ln p, p being the part of a score's reference above the value (Fisher 1932, sect. 21.1).

    Large where one score is very high, or several are rather high; never negative. Beyond the reference p is half an
    object's part. Were the scores independent, twice the sum would be distributed as chi-squared with twice as many
    degrees of freedom as there are scores; they are not quite.
    """
    total = np.zeros(len(values))
    for distribution, column in zip(distributions, values.T, strict=True):
        above = 1.0 - distribution.percentile(column) / 100.0
        total -= np.log(np.maximum(above, 0.5 / distribution.n_objects))
    return total
