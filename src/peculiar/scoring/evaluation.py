"""How good an order is, where the truth is known. The field's definitions, METHOD.md sect. 8."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

PERCENTS = (1, 5)  # of all objects, beside the numbers that are asked for
LEAST_DISTINCT = 0.99  # part of the scores; with fewer, every bootstrap draw breaks ties anew


def descending(scores: Float[np.ndarray, " n"], *, seed: int = 0) -> np.ndarray:
    """Places of the objects from the most anomalous down; ties in random order, NaN last."""
    shuffled = np.random.default_rng(seed).permutation(len(scores))
    keys = np.where(np.isnan(scores), -np.inf, scores)[shuffled]
    return shuffled[np.argsort(-keys, kind="stable")]


def recall_at(scores: Float[np.ndarray, " n"], is_anomalous: Bool[np.ndarray, " n"], n_top: int) -> float:
    """The part of all anomalous objects that is among the first `n_top`; NaN where there is none."""
    return _recall(_places(scores, is_anomalous), n_top, len(scores))


def precision_at(scores: Float[np.ndarray, " n"], is_anomalous: Bool[np.ndarray, " n"], n_top: int) -> float:
    """The part of the first `n_top` objects that is anomalous."""
    return _precision(_places(scores, is_anomalous), n_top, len(scores))


def rank_weighted_score(scores: Float[np.ndarray, " n"], is_anomalous: Bool[np.ndarray, " n"], n_top: int) -> float:
    """sum_i (N + 1 - i) I_i / (N (N + 1) / 2) over the first N: 1 when all of them are anomalous."""
    return _rank_weighted(_places(scores, is_anomalous), n_top, len(scores))


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
    return _average_precision(_places(scores, is_anomalous))


def rank_correlation(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]) -> float:
    """Spearman's, over objects where both are finite; NaN for constant input."""
    from scipy.stats import rankdata

    usable = np.isfinite(first) & np.isfinite(second)
    ranks = [rankdata(values[usable]) for values in (first, second)]
    if not usable.any() or any(np.ptp(each) == 0 for each in ranks):
        return float("nan")
    return float(np.corrcoef(ranks)[0, 1])


def evaluate(
    scores: Float[np.ndarray, " n"],
    is_anomalous: Bool[np.ndarray, " n"],
    *,
    n_tops: Sequence[int] = (),
    n_bootstrap: int = 0,
    seed: int = 0,
) -> dict[str, float]:
    """AUROC, average precision, and recall, precision and rank-weighted score among the first.

    The first 1 % and 5 % (`recall_1_percent`, ...) and each of `n_tops` (`recall_at_100`, ...); all objects, where
    there are fewer. With `n_bootstrap` draws, 95 % intervals (`_low`, `_high`): anomalous and normal objects are drawn
    separately, so that their numbers stay what they are.
    """
    n_objects, n_odd = len(scores), int(is_anomalous.sum())
    tops = {f"{percent}_percent": max(1, round(n_objects * percent / 100)) for percent in PERCENTS}
    tops |= {f"at_{n_top}": n_top for n_top in n_tops}
    places = _places(scores, is_anomalous)
    found = _metrics(places, n_objects, tops) | {"auroc": auroc(scores, is_anomalous)}
    if n_bootstrap and 0 < n_odd < n_objects:
        random = np.random.default_rng(seed % 2**64)
        is_tied = len(np.unique(scores)) < LEAST_DISTINCT * n_objects
        drawn = []
        for draw in range(n_bootstrap):
            if is_tied:
                places = _places(scores, is_anomalous, seed=draw)
            drawn.append(_metrics(_drawn_again(places, n_objects, random), n_objects, tops))
        for name in drawn[0]:
            values = [each[name] for each in drawn]
            found[f"{name}_low"], found[f"{name}_high"] = np.quantile(values, [0.025, 0.975]).tolist()
    return found


def _places(scores: np.ndarray, is_anomalous: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Where the anomalous objects stand, from 0, ascending: all that the metrics depend on."""
    return np.flatnonzero(is_anomalous[descending(scores, seed=seed)])


def _drawn_again(places: np.ndarray, n_objects: int, random: np.random.Generator) -> np.ndarray:
    """The places after as many anomalous and as many normal objects are drawn again, with replacement.

    How many normal ones then stand between two neighboring anomalous ones is multinomial.
    """
    n_odd = len(places)
    between = np.diff(places, prepend=-1, append=n_objects) - 1  # normal objects before each, and after the last
    above = np.cumsum(random.multinomial(n_objects - n_odd, between / (n_objects - n_odd))[:-1])
    times = random.multinomial(n_odd, np.full(n_odd, 1 / n_odd))
    return np.repeat(above, times) + np.arange(n_odd)


# The same of the places of the anomalous among n objects.


def _metrics(places: np.ndarray, n: int, tops: dict[str, int]) -> dict[str, float]:
    found = {"auroc": _auroc(places, n), "average_precision": _average_precision(places)}
    for name, n_top in tops.items():
        found[f"recall_{name}"], found[f"precision_{name}"] = _recall(places, n_top, n), _precision(places, n_top, n)
        found[f"rank_weighted_{name}"] = _rank_weighted(places, n_top, n)
    return found


def _recall(places: np.ndarray, n_top: int, n: int) -> float:
    return float((places < min(n_top, n)).sum() / len(places)) if len(places) else float("nan")


def _precision(places: np.ndarray, n_top: int, n: int) -> float:
    return float((places < n_top).sum() / min(n_top, n))


def _rank_weighted(places: np.ndarray, n_top: int, n: int) -> float:
    n_top = min(n_top, n)
    return float((n_top - places[places < n_top]).sum() / (n_top * (n_top + 1) / 2))


def _average_precision(places: np.ndarray) -> float:
    return float(np.mean(np.arange(1, len(places) + 1) / (places + 1))) if len(places) else float("nan")


def _auroc(places: np.ndarray, n: int) -> float:
    """Without ties."""
    n_odd = len(places)
    if not 0 < n_odd < n:
        return float("nan")
    above = places - np.arange(n_odd)  # normal objects above each anomalous one
    return float(1 - above.mean() / (n - n_odd))
