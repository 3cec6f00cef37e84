"""How good an order is, where the truth is known. The field's definitions, METHOD.md sect. 8."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from jaxtyping import Bool, Float

Metric = Callable[[np.ndarray, np.ndarray], float]


def descending(scores: Float[np.ndarray, " n"], *, seed: int = 0) -> np.ndarray:
    """Places of the objects from the most anomalous down; ties in random order, NaN last."""
    shuffled = np.random.default_rng(seed).permutation(len(scores))
    keys = np.where(np.isnan(scores), -np.inf, scores)[shuffled]
    return shuffled[np.argsort(-keys, kind="stable")]


def recall_at(scores: Float[np.ndarray, " n"], is_anomalous: Bool[np.ndarray, " n"], n_top: int) -> float:
    """The part of all anomalous objects that is among the first `n_top`; NaN where there is none."""
    total = is_anomalous.sum()
    return float(is_anomalous[descending(scores)[:n_top]].sum() / total) if total else float("nan")


def precision_at(scores: Float[np.ndarray, " n"], is_anomalous: Bool[np.ndarray, " n"], n_top: int) -> float:
    """The part of the first `n_top` objects that is anomalous."""
    return float(is_anomalous[descending(scores)[:n_top]].mean())


def rank_weighted_score(scores: Float[np.ndarray, " n"], is_anomalous: Bool[np.ndarray, " n"], n_top: int) -> float:
    """sum_i (N + 1 - i) I_i / (N (N + 1) / 2) over the first N: 1 when all of them are anomalous."""
    hits = is_anomalous[descending(scores)[:n_top]]
    weights = np.arange(len(hits), 0, -1)
    return float((weights * hits).sum() / weights.sum())


def auroc(scores: Float[np.ndarray, " n"], is_anomalous: Bool[np.ndarray, " n"]) -> float:
    """Chance that an anomalous object is above a normal one, a tie counting half; NaN where one kind is missing."""
    from scipy.stats import rankdata

    n_odd, n_normal = int(is_anomalous.sum()), int((~is_anomalous).sum())
    if not n_odd or not n_normal:
        return float("nan")
    ranks = rankdata(np.where(np.isnan(scores), -np.inf, scores))
    return float((ranks[is_anomalous].sum() - n_odd * (n_odd + 1) / 2) / (n_odd * n_normal))


def average_precision(scores: Float[np.ndarray, " n"], is_anomalous: Bool[np.ndarray, " n"]) -> float:
    """Mean, over the anomalous objects, of the precision down to each; NaN where there is none."""
    hits = is_anomalous[descending(scores)]
    places = np.flatnonzero(hits)
    return float(np.mean(np.arange(1, len(places) + 1) / (places + 1))) if len(places) else float("nan")


def rank_correlation(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]) -> float:
    """Spearman's, over objects where both are finite; NaN for constant input."""
    from scipy.stats import rankdata

    usable = np.isfinite(first) & np.isfinite(second)
    ranks = [rankdata(values[usable]) for values in (first, second)]
    if not usable.any() or any(np.ptp(each) == 0 for each in ranks):
        return float("nan")
    return float(np.corrcoef(ranks)[0, 1])


def evaluate(
    scores: Float[np.ndarray, " n"], is_anomalous: Bool[np.ndarray, " n"], *, n_bootstrap: int = 0, seed: int = 0
) -> dict[str, float]:
    """AUROC, AP, recall and precision in the top 1 % and 5 %, with 95 % bootstrap intervals (`_low`, `_high`) if asked.

    The bootstrap draws anomalous and normal objects separately, so that their numbers stay what they are.
    """
    n_objects = len(scores)
    metrics: Mapping[str, Metric] = {"auroc": auroc, "average_precision": average_precision}
    for percent in (1, 5):
        n_top = max(1, round(n_objects * percent / 100))
        metrics = {
            **metrics,
            f"recall_{percent}_percent": partial(recall_at, n_top=n_top),
            f"precision_{percent}_percent": partial(precision_at, n_top=n_top),
        }
    found = {name: metric(scores, is_anomalous) for name, metric in metrics.items()}
    if n_bootstrap:
        random = np.random.default_rng(seed)
        odd, normal = np.flatnonzero(is_anomalous), np.flatnonzero(~is_anomalous)
        drawn: dict[str, list[float]] = {name: [] for name in metrics}
        for _ in range(n_bootstrap):
            rows = np.concatenate([random.choice(odd, len(odd)), random.choice(normal, len(normal))])
            for name, metric in metrics.items():
                drawn[name].append(metric(scores[rows], is_anomalous[rows]))
        for name, values in drawn.items():
            found[f"{name}_low"], found[f"{name}_high"] = np.quantile(values, [0.025, 0.975]).tolist()
    return found
