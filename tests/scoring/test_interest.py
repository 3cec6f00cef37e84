import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import norm, spearmanr
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from peculiar.scoring import interest
from peculiar.scoring.interest import InterestModel, acquisition, normal_scores, still_to_find


def drawn(n, seed=0):
    """Features, scores and grades: interesting on one side of the features, and where the score is large."""
    random = np.random.default_rng(seed)
    features, scores = random.normal(size=(n, 5)), random.normal(size=(n, 1))
    grades = ((features[:, 0] + 0.5 * scores[:, 0]) > 0.5).astype(float)
    return features, scores, grades


def test_log_odds_are_those_of_scikit_learn(monkeypatch):
    monkeypatch.setattr(interest, "LEVEL", 0.0)
    monkeypatch.setattr(interest, "LEVEL_SPREAD", 0.0)  # scikit-learn knows no line
    features, _, grades = drawn(60)
    model = InterestModel.fit(features, np.empty((60, 0)), grades)
    other = GaussianProcessClassifier(ConstantKernel(interest.AMPLITUDE) * RBF(model.length), optimizer=None)
    other.fit(features, grades)
    new = drawn(40, seed=1)[0]
    mean, variance = model.log_odds(new, np.empty((40, 0)))
    expected, spread = other.latent_mean_and_variance(new)
    assert_allclose(mean, expected, rtol=1e-3, atol=2e-3)
    assert_allclose(variance, spread, rtol=1e-3, atol=2e-3)
    assert_allclose(model.predict(new, np.empty((40, 0)))[0], other.predict_proba(new)[:, 1], atol=5e-3)


def test_the_line_is_that_of_a_logistic_regression_with_its_prior():
    """All at one place, so that features say nothing that the level does not."""
    _, scores, _ = drawn(300)
    grades = (np.random.default_rng(1).random(300) < expit(2 * scores[:, 0] - 1)).astype(float)
    model = InterestModel.fit(np.zeros((300, 2)), scores, grades)

    def loss(line):
        level, slope, place = line
        odds = level + slope * scores[:, 0] + place
        fits = (np.logaddexp(0, odds) - grades * odds).sum()
        return (
            fits
            + 0.5 * ((level - interest.LEVEL) / interest.LEVEL_SPREAD) ** 2
            + 0.5 * ((slope - interest.SLOPE) / interest.SLOPE_SPREAD) ** 2
            + 0.5 * place**2 / interest.AMPLITUDE
        )

    level, slope, place = minimize(loss, np.zeros(3), tol=1e-10).x
    mean, _ = model.log_odds(np.zeros((300, 2)), scores)
    assert_allclose(mean, level + slope * scores[:, 0] + place, atol=0.01)


def test_expected_grades_are_the_integral():
    mean, variance = np.array([-4.0, 0.3, 2.0]), np.array([9.0, 0.0, 2.5])
    expected, deviation = interest._grade(mean, variance)
    grid = np.linspace(-9, 9, 20_001)
    for place in (0, 2):
        chance = expit(mean[place] + np.sqrt(variance[place]) * grid)
        first = np.trapezoid(chance * norm.pdf(grid), grid)
        second = np.trapezoid(chance**2 * norm.pdf(grid), grid)
        assert expected[place] == pytest.approx(first, abs=1e-3)
        assert deviation[place] == pytest.approx(np.sqrt(second - first**2), abs=5e-3)
    assert expected[1] == pytest.approx(expit(0.3))
    assert deviation[1] == pytest.approx(0, abs=1e-6)


def test_what_is_of_interest_is_learnt_from_features_and_scores():
    model = InterestModel.fit(*drawn(200))
    features, scores, grades = drawn(500, seed=1)
    mean, _ = model.predict(features, scores)
    assert np.mean((mean > 0.5) == grades) > 0.9
    blind, _ = InterestModel.fit(features[:200], np.zeros((200, 1)), grades[:200]).predict(features, 0 * scores)
    assert np.mean((mean > 0.5) == grades) > np.mean((blind > 0.5) == grades)


def test_before_anything_is_found_the_order_is_that_of_the_scores():
    features, scores, _ = drawn(300)
    first = np.argsort(-scores[:, 0])[:20]
    mean, _ = InterestModel.fit(features[first], scores[first], np.zeros(20)).predict(features, scores)
    assert spearmanr(mean, scores[:, 0]).statistic > 0.75
    assert mean.max() < 0.2


def test_grades_that_are_many_and_lopsided_are_learnt_without_overshooting():
    """A whole step of Newton's from the prior's low level overshoots: it must be halved until it climbs."""
    features, scores, _ = drawn(300)
    mean, _ = InterestModel.fit(features, scores, np.ones(300), weight=np.full(300, 30.0)).predict(features, scores)
    assert mean.min() > 0.9


def test_many_votes_that_contradict_each_other_leave_it_undecided():
    """Steps that swing from side to side of the peak make the loss a little less each time, and never arrive."""
    for seed in range(6):
        features, scores, _ = (np.repeat(each, 2, axis=0) for each in drawn(150, seed=seed))
        mean, _ = InterestModel.fit(features, scores, np.tile([0.0, 1.0], 150), weight=np.full(300, 2e3)).predict(
            features, scores
        )
        assert_allclose(mean, 0.5, atol=0.01)


def test_one_object_far_out_spoils_no_other():
    features, scores, grades = drawn(200)
    expected, _ = InterestModel.fit(features, scores, grades).predict(features, scores)
    features[0] *= 1e5
    mean, _ = InterestModel.fit(features, scores, grades).predict(features, scores)
    assert_allclose(mean[1:], expected[1:], atol=0.1)


def test_a_seed_may_be_negative(monkeypatch):
    monkeypatch.setattr(interest, "MAX_EXACT", 20)
    assert len(InterestModel.fit(*drawn(50), seed=-1).features) == 20


def test_labels_that_stand_for_all_say_nearly_what_all_say(monkeypatch):
    features, scores, grades = drawn(400)
    exact = InterestModel.fit(features, scores, grades)
    monkeypatch.setattr(interest, "MAX_EXACT", 200)
    monkeypatch.setattr(interest, "AT_ONCE", 150)
    sparse = InterestModel.fit(features, scores, grades)
    monkeypatch.setattr(interest, "MOST_KEPT", 100)
    again = InterestModel.fit(features, scores, grades)
    assert_allclose(again.pull, sparse.pull, rtol=1e-6, atol=1e-9)
    new = drawn(200, seed=1)[:2]
    assert len(sparse.features) == 200
    assert np.corrcoef(sparse.predict(*new)[0], exact.predict(*new)[0])[0, 1] > 0.98
    assert_allclose(sparse.predict(*new)[1], exact.predict(*new)[1], atol=0.1)


def test_far_from_all_labels_it_is_unsure_and_near_them_sure():
    features, _, grades = drawn(100)
    model = InterestModel.fit(features, np.empty((100, 0)), grades)
    _, near = model.log_odds(features[:5], np.empty((5, 0)))
    _, far = model.log_odds(features[:5] + 1e3, np.empty((5, 0)))
    assert (far >= interest.AMPLITUDE).all()  # and what is not known of the level
    assert (far <= interest.AMPLITUDE + interest.LEVEL_SPREAD**2).all()
    assert (near < far).all()
    assert near.min() < far.min() / 4


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


def test_where_the_features_lie_says_nothing():
    features, scores, grades = drawn(50)
    near, far = (InterestModel.fit(each, scores, grades).predict(each, scores) for each in (features, features + 1e4))
    assert_allclose(far[0], near[0], atol=5e-3)


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
