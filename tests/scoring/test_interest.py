import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from peculiar.scoring import interest
from peculiar.scoring.interest import InterestModel, acquisition, normal_scores, still_to_find


def drawn(n, seed=0):
    """Features, scores and grades: interesting on one side of the features, and where the score is large."""
    random = np.random.default_rng(seed)
    features, scores = random.normal(size=(n, 5)), random.normal(size=(n, 1))
    grades = ((features[:, 0] + 0.5 * scores[:, 0]) > 0.5).astype(float)
    return features, scores, grades


def test_mean_and_deviation_are_those_of_scikit_learn():
    features, _, grades = drawn(60)
    model = InterestModel.fit(features, np.empty((60, 0)), grades)
    kernel = ConstantKernel(model.kernel.amplitude) * RBF(model.kernel.length)
    other = GaussianProcessRegressor(kernel, alpha=model.noise, optimizer=None)
    other.fit(features, grades - model.level)
    new = drawn(40, seed=1)[0]
    mean, deviation = model.predict(new, np.empty((40, 0)))
    expected, spread = other.predict(new, return_std=True)
    assert_allclose(mean, expected + model.level, rtol=1e-4, atol=1e-4)
    assert_allclose(deviation, spread, rtol=1e-3, atol=1e-4)


def test_what_is_of_interest_is_learnt_from_features_and_scores():
    model = InterestModel.fit(*drawn(200))
    features, scores, grades = drawn(500, seed=1)
    mean, _ = model.predict(features, scores)
    assert np.mean((mean > 0.5) == grades) > 0.9
    blind, _ = InterestModel.fit(features[:200], np.zeros((200, 1)), grades[:200]).predict(features, 0 * scores)
    assert np.mean((mean > 0.5) == grades) > np.mean((blind > 0.5) == grades)


def test_labels_that_stand_for_all_say_nearly_what_all_say(monkeypatch):
    features, scores, grades = drawn(400)
    monkeypatch.setattr(interest, "N_TUNED", 100)
    exact = InterestModel.fit(features, scores, grades)
    monkeypatch.setattr(interest, "MAX_EXACT", 200)
    sparse = InterestModel.fit(features, scores, grades)
    new = drawn(200, seed=1)[:2]
    assert len(sparse.features) == 200
    assert sparse.kernel == exact.kernel
    assert np.corrcoef(sparse.predict(*new)[0], exact.predict(*new)[0])[0, 1] > 0.98
    assert_allclose(sparse.predict(*new)[1], exact.predict(*new)[1], atol=0.1)


def test_far_from_all_labels_it_is_unsure_and_near_them_sure():
    features, scores, grades = drawn(100)
    model = InterestModel.fit(features, scores, grades)
    _, near = model.predict(features[:5], scores[:5])
    _, far = model.predict(features[:5] + 1e3, scores[:5] + 1e3)
    assert_allclose(far, np.sqrt(model.kernel.variance), rtol=1e-5)
    assert (near < far).all()


def test_a_grade_of_more_weight_is_believed_more():
    features, scores = np.zeros((2, 3)), np.empty((2, 0))
    features[1, 0] = 1e-3  # two labels of what is nearly one object
    weak = InterestModel.fit(features, scores, np.array([1.0, 0.0]), weight=np.array([1.0, 1.0]))
    strong = InterestModel.fit(features, scores, np.array([1.0, 0.0]), weight=np.array([20.0, 1.0]))
    assert strong.predict(features[:1], scores[:1])[0] > weak.predict(features[:1], scores[:1])[0] + 0.1


@pytest.mark.parametrize("grades", [[1.0], [0.0], [1.0, 1.0, 1.0]])
def test_one_label_or_one_class_is_no_error(grades):
    n = len(grades)
    mean, deviation = InterestModel.fit(*drawn(n)[:2], np.array(grades)).predict(*drawn(30, seed=1)[:2])
    assert np.isfinite(mean).all()
    assert (deviation > 0).all()
    assert 0 < np.median(mean) < 1


def test_objects_without_numbers_have_no_interest_and_disturb_no_other():
    model = InterestModel.fit(*drawn(50))
    features, scores, _ = drawn(20, seed=1)
    expected, _ = model.predict(features, scores)
    features[3, 0], scores[5, 0] = np.nan, np.inf
    mean, deviation = model.predict(features, scores)
    assert np.isnan(mean[[3, 5]]).all()
    assert np.isnan(deviation[[3, 5]]).all()
    kept = np.setdiff1d(np.arange(20), [3, 5])
    assert_allclose(mean[kept], expected[kept], rtol=1e-5, atol=1e-6)


def test_what_cannot_be_learnt_from_is_refused():
    features, scores, grades = drawn(5)
    with pytest.raises(ValueError, match="there is none; label some objects first"):
        InterestModel.fit(features[:0], scores[:0], grades[:0])
    with pytest.raises(ValueError, match="grades of labelled objects must be finite"):
        InterestModel.fit(features, scores, grades * np.nan)
    with pytest.raises(ValueError, match="weights of labels must be positive, got 0"):
        InterestModel.fit(features, scores, grades, weight=np.zeros(5))


def test_the_expected_improvement_is_its_integral():
    mean, deviation, best = np.array([0.2, 0.5, 0.9]), np.array([0.3, 0.1, 0.0]), 0.6
    found = acquisition(mean, deviation, best, "expected-improvement")
    grid = np.linspace(-8, 8, 200_001)
    for value, center, spread in zip(found, mean, deviation, strict=True):
        expected = np.trapezoid(np.maximum(center + spread * grid - best, 0) * norm.pdf(grid), grid)
        assert value == pytest.approx(expected, abs=1e-6)


def test_the_other_gains_are_what_they_say():
    mean, deviation = np.array([0.2, 0.5]), np.array([0.3, 0.1])
    assert_allclose(acquisition(mean, deviation, 1, "upper-bound"), [0.29, 0.53])
    assert_allclose(acquisition(mean, deviation, 1, "uncertainty"), deviation)
    assert_allclose(acquisition(mean, deviation, 1, "disagreement", np.array([0.0, 0.7])), [0, 0.7])
    assert_allclose(acquisition(mean, deviation, 1, "disagreement"), [0, 0])


@settings(max_examples=30, deadline=None)
@given(percent=st.floats(0, 100), n=st.integers(1, 10**6))
def test_normal_scores_are_finite_and_symmetric(percent, n):
    low, high = normal_scores(np.array([percent, 100 - percent]), n)
    assert np.isfinite(low)
    assert low == pytest.approx(-high, abs=1e-6)


def test_how_many_are_still_to_be_found_covers_the_truth():
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        is_interesting = random.random(2_000) < 0.05
        asked = random.permutation(2_000)[:100]
        mean, low, high = still_to_find(int(is_interesting[asked].sum()), 100, 1_900)
        covered += low <= is_interesting.sum() - is_interesting[asked].sum() <= high
        assert low <= mean <= high
    assert 180 <= covered <= 199
    assert still_to_find(0, 0, 100)[1:] == (0, 100)  # nobody was asked
