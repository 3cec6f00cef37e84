import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

from peculiar.scoring.evaluation import (
    auroc,
    average_precision,
    descending,
    evaluate,
    precision_at,
    rank_correlation,
    rank_weighted_score,
    recall_at,
)

ORDER = np.array([9.0, 8, 7, 6, 5, 4, 3, 2, 1, 0])
ODD = np.array([1, 0, 1, 1, 0, 0, 0, 1, 0, 0], bool)


def made(n=500, seed=0):
    random = np.random.default_rng(seed)
    is_anomalous = random.uniform(size=n) < 0.1
    return random.normal(size=n) + is_anomalous, is_anomalous


def test_recall_precision_and_rank_weighted_score_are_as_by_hand():
    assert recall_at(ORDER, ODD, 4) == 3 / 4
    assert precision_at(ORDER, ODD, 4) == 3 / 4
    assert recall_at(ORDER, ODD, 2) == 1 / 4
    assert precision_at(ORDER, ODD, 2) == 1 / 2
    assert rank_weighted_score(ORDER, ODD, 4) == (4 + 2 + 1) / 10
    assert rank_weighted_score(ORDER, ODD, 2) == 2 / 3
    assert rank_weighted_score(ORDER, np.ones(10, bool), 5) == 1
    assert recall_at(ORDER, ODD, 10) == 1


@pytest.mark.parametrize("seed", range(5))
def test_auroc_and_average_precision_are_scikit_learns(seed):
    scores, is_anomalous = made(seed=seed)
    assert auroc(scores, is_anomalous) == pytest.approx(roc_auc_score(is_anomalous, scores))
    assert average_precision(scores, is_anomalous) == pytest.approx(average_precision_score(is_anomalous, scores))
    coarse = np.round(scores)
    assert auroc(coarse, is_anomalous) == pytest.approx(roc_auc_score(is_anomalous, coarse))


def test_without_one_of_the_kinds_there_is_no_measure():
    for is_anomalous in (np.zeros(10, bool), np.ones(10, bool)):
        assert np.isnan(auroc(ORDER, is_anomalous))
    assert np.isnan(recall_at(ORDER, np.zeros(10, bool), 3))
    assert np.isnan(average_precision(ORDER, np.zeros(10, bool)))
    assert precision_at(ORDER, np.zeros(10, bool), 3) == 0


@settings(max_examples=50, deadline=None)
@given(arrays(np.float64, st.integers(1, 40), elements=st.sampled_from([-np.inf, -1, 0, 1.5, np.nan, np.inf])))
def test_an_order_is_a_permutation_descending_with_nan_last(scores):
    places = descending(scores)
    assert sorted(places) == list(range(len(scores)))
    ordered = scores[places]
    n_above = int((scores > -np.inf).sum())  # without NaN
    assert (ordered[:n_above] > -np.inf).all()
    assert_array_equal(ordered[:n_above], -np.sort(-ordered[:n_above]))


def test_ties_are_broken_at_random_with_a_seed_and_not_by_place():
    scores = np.zeros(200)
    assert descending(scores).tolist() == descending(scores).tolist()
    assert descending(scores).tolist() != descending(scores, seed=1).tolist()
    first_half = np.arange(200) < 100
    assert 35 < first_half[descending(scores)[:100]].sum() < 65
    assert auroc(scores, first_half) == 0.5


def test_nan_counts_as_the_lowest_score():
    scores = ORDER.copy()
    scores[0] = np.nan
    assert descending(scores)[-1] == 0
    assert auroc(scores, ODD) == auroc(np.where(np.isnan(scores), -1, scores), ODD)


@pytest.mark.parametrize("seed", range(3))
def test_rank_correlation_is_scipys(seed):
    random = np.random.default_rng(seed)
    first = random.normal(size=200)
    second = np.round(first + random.normal(size=200))
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first, second).statistic)
    assert rank_correlation(first, np.exp(first)) == pytest.approx(1)
    first[:9] = np.nan
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first[9:], second[9:]).statistic)


def test_rank_correlation_of_constants_or_nothing_is_nan():
    assert np.isnan(rank_correlation(np.ones(5), np.arange(5.0)))
    assert np.isnan(rank_correlation(np.full(5, np.nan), np.arange(5.0)))


def test_all_metrics_come_at_once_and_intervals_hold_them():
    scores, is_anomalous = made(1_000)
    found = evaluate(scores, is_anomalous, n_bootstrap=60)
    assert found["auroc"] == auroc(scores, is_anomalous)
    assert found["average_precision"] == average_precision(scores, is_anomalous)
    for percent, n_top in ((1, 10), (5, 50)):
        assert found[f"recall_{percent}_percent"] == recall_at(scores, is_anomalous, n_top)
        assert found[f"precision_{percent}_percent"] == precision_at(scores, is_anomalous, n_top)
    for name in ("auroc", "average_precision", "recall_5_percent"):
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]
    assert evaluate(scores, is_anomalous, n_bootstrap=60) == found
    assert evaluate(scores, is_anomalous, n_bootstrap=60, seed=1) != found
    assert not any(name.endswith("_low") for name in evaluate(scores, is_anomalous))


def test_intervals_narrow_with_the_number_of_anomalies():
    widths = []
    for n in (200, 5_000):
        scores, is_anomalous = made(n)
        found = evaluate(scores, is_anomalous, n_bootstrap=400)
        widths.append(found["auroc_high"] - found["auroc_low"])
    assert widths[0] > 2.5 * widths[1]


@pytest.mark.parametrize("n", [60, 2_000])
def test_intervals_are_those_of_drawing_the_objects_themselves(n):
    scores, is_anomalous = made(n)
    odd, normal = np.flatnonzero(is_anomalous), np.flatnonzero(~is_anomalous)
    random, drawn = np.random.default_rng(1), []
    for _ in range(1_500):
        rows = np.concatenate([random.choice(odd, len(odd)), random.choice(normal, len(normal))])
        drawn.append([metric(scores[rows], is_anomalous[rows]) for metric in (auroc, average_precision)])
    found = evaluate(scores, is_anomalous, n_bootstrap=1_500)
    for name, values in zip(("auroc", "average_precision"), np.transpose(drawn), strict=True):
        low, high = np.quantile(values, [0.025, 0.975])
        assert found[f"{name}_low"] == pytest.approx(low, abs=0.1 * (high - low))
        assert found[f"{name}_high"] == pytest.approx(high, abs=0.1 * (high - low))


def test_numbers_that_are_asked_for_are_counted_in_and_all_objects_where_there_are_fewer():
    found = evaluate(ORDER, ODD, n_tops=(4, 2, 99))
    assert (found["recall_at_4"], found["precision_at_4"], found["rank_weighted_at_4"]) == (3 / 4, 3 / 4, 7 / 10)
    assert (found["recall_at_2"], found["precision_at_2"], found["rank_weighted_at_2"]) == (1 / 4, 1 / 2, 2 / 3)
    assert (found["recall_at_99"], found["precision_at_99"]) == (1, 4 / 10)


def test_ties_widen_the_interval_around_one_half():
    is_anomalous = np.arange(200) < 20
    found = evaluate(np.zeros(200), is_anomalous, n_bootstrap=100)
    assert found["auroc"] == 0.5
    assert found["auroc_low"] < 0.45
    assert found["auroc_high"] > 0.55
