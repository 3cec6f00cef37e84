import numpy as np
import pytest
from scipy.stats import ks_2samp, mannwhitneyu

from peculiar.catalog.compare import compare, explain

RANDOM = np.random.default_rng(0)


def test_a_sample_is_compared_as_scipy_compares_it():
    values = RANDOM.normal(size=500)
    is_in = RANDOM.random(500) < 0.2
    values[is_in] += 1
    values[::50] = np.nan
    known = np.isfinite(values)
    mine, others = values[is_in & known], values[~is_in & known]
    found = compare(values, is_in, threshold=0.5)
    assert (found.n, found.n_missing) == (len(mine), int((is_in & ~known).sum()))
    assert found.median == np.median(mine)
    assert (found.low, found.high) == tuple(np.percentile(mine, [16, 84]))
    assert found.above == (mine > 0.5).mean()
    assert found.above_others == (others > 0.5).mean()
    expected = ks_2samp(mine, others, method="asymp")
    assert (found.distance, found.p) == (expected.statistic, expected.pvalue)
    assert found.auroc == pytest.approx(mannwhitneyu(mine, others).statistic / len(mine) / len(others))


def test_equal_values_are_half_won():
    assert compare(np.ones(10), np.arange(10) < 4).auroc == 0.5


def test_what_has_no_answer_is_nan():
    values = np.array([1.0, np.nan, 3.0])
    everything = compare(values, np.ones(3, bool))
    assert everything.median == 2
    assert np.isnan([everything.auroc, everything.p, everything.above, everything.above_others]).all()
    nobody = compare(values, np.array([False, True, False]), threshold=2)
    assert (nobody.n, nobody.n_missing) == (0, 1)
    assert np.isnan([nobody.median, nobody.above, nobody.distance]).all()
    assert nobody.above_others == 0.5


def test_a_score_is_explained_by_what_it_is_made_of():
    size, magnitude, position = RANDOM.normal(size=(3, 3_000))
    score = size**3 + 0.3 * RANDOM.normal(size=3_000)
    score[5] = np.nan
    magnitude[7] = np.nan
    found = explain(score, {"size": size, "magnitude": magnitude, "position": position})
    assert found.n == 2_999
    assert found.alone["size"] > 0.8
    assert abs(found.alone["magnitude"]) < 0.1
    assert found.together == pytest.approx(found.alone["size"], abs=0.05)
    nothing = explain(RANDOM.normal(size=3_000), {"size": size, "position": position})
    assert nothing.together < 0.05


def test_two_properties_explain_more_than_each():
    first, second = RANDOM.normal(size=(2, 3_000))
    found = explain(first + second, {"first": first, "second": second})
    assert found.together > 0.9
    assert max(found.alone.values()) < 0.6


def test_a_property_without_values_explains_nothing():
    score = RANDOM.normal(size=200)
    found = explain(score, {"none": np.full(200, np.nan)})
    assert found.together == found.alone["none"] == 0


def test_what_cannot_be_explained_is_refused():
    with pytest.raises(ValueError, match="50 objects or more, got 49"):
        explain(np.arange(49.0), {"a": np.arange(49.0)})
    with pytest.raises(ValueError, match="one property or more"):
        explain(np.arange(100.0), {})
    with pytest.raises(ValueError, match="all objects have the same score"):
        explain(np.ones(100), {"a": np.arange(100.0)})
