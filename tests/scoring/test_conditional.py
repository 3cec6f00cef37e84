import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import median_abs_deviation

from peculiar.scoring.conditional import FLOOR, N_NEIGHBORS, RIDGE, Neighborhood, log_score


def neighborhood(n=300, seed=0, n_covariates=3, n_scores=2):
    random = np.random.default_rng(seed)
    return Neighborhood(
        random.permutation(10 * n)[:n].astype(np.int64),
        random.normal(size=(n, n_covariates)) * 10.0 ** np.arange(n_covariates),
        random.normal(3, 1, (n, n_scores)),
    )


def by_hand(near, object_id, covariates, log_scores, n_neighbors=N_NEIGHBORS):
    """The same numbers by sorting all distances and a general least-squares solver, one object and score at a time."""
    center, scale = near.covariates.mean(axis=0), near.covariates.std(axis=0)
    places, result = (near.covariates - center) / scale, []
    for identity, place, logs in zip(object_id, (covariates - center) / scale, log_scores, strict=True):
        distances = np.sqrt(((places - place) ** 2).sum(axis=1))
        order = [row for row in np.argsort(distances, kind="stable") if near.object_id[row] != identity][:n_neighbors]
        design = np.column_stack([np.ones(len(order)), places[order] - place])
        ridge = np.sqrt(RIDGE * len(order)) * np.eye(design.shape[1])[1:]  # further rows, that ask for no slope
        values = []
        for which, log in enumerate(logs):
            around = near.log_scores[order, which]
            line = np.linalg.lstsq(np.vstack([design, ridge]), np.append(around, np.zeros(len(ridge))), rcond=None)[0]
            left = around - design @ line
            deviation = median_abs_deviation(left, scale="normal")
            floor = FLOOR * near.log_scores[:, which].std()
            values.append((log - line[0] - np.median(left)) / max(deviation, floor))
        result.append(values)
    return np.array(result)


def test_values_are_those_of_an_independent_implementation_for_members_and_others():
    near = neighborhood()
    assert_allclose(
        near.conditional(near.object_id, near.covariates, near.log_scores),
        by_hand(near, near.object_id, near.covariates, near.log_scores),
        rtol=1e-4,
    )
    random = np.random.default_rng(5)
    others = np.arange(-40, 0), random.normal(size=(40, 3)) * [1, 10, 100], random.normal(3, 1, (40, 2))
    assert_allclose(near.conditional(*others), by_hand(near, *others), rtol=1e-4)


def test_an_object_is_not_compared_with_itself():
    near = neighborhood(n=N_NEIGHBORS + 1)  # all others are its neighbors
    changed = near.log_scores.copy()
    changed[0] += 5
    other = Neighborhood(near.object_id, near.covariates, changed)
    object_id, place, logs = near.object_id[:1], near.covariates[:1], near.log_scores[:1]
    assert_allclose(near.conditional(object_id, place, logs), other.conditional(object_id, place, logs))
    stranger = np.array([-1])
    assert (near.conditional(stranger, place, logs) != other.conditional(stranger, place, logs)).all()


def test_values_do_not_depend_on_order_or_company():
    near = neighborhood(n=300)
    whole = near.conditional(near.object_id, near.covariates, near.log_scores)
    for rows in (np.arange(300)[::-1], np.array([7]), np.arange(0, 300, 13)):
        found = near.conditional(near.object_id[rows], near.covariates[rows], near.log_scores[rows])
        assert_allclose(found, whole[rows], rtol=1e-9)


def test_a_straight_trend_in_the_covariates_is_taken_away_also_where_the_sample_is_thin():
    random = np.random.default_rng(0)
    covariates = random.normal(size=(2_000, 4))
    noise = random.normal(0, 0.1, 2_000)
    near = Neighborhood(np.arange(2_000), covariates, (3 + covariates @ [1, -2, 0.5, 1] + noise)[:, None])
    found = near.conditional(near.object_id, covariates, near.log_scores)[:, 0]
    assert np.corrcoef(found, noise)[0, 1] > 0.95
    assert np.std(found) == pytest.approx(1, abs=0.15)


def test_a_planted_oddity_stands_out_among_its_like_although_brighter_ones_score_more():
    random = np.random.default_rng(0)
    brightness = random.uniform(0, 5, 2_000)
    logs = brightness + random.normal(0, 0.1, 2_000)
    logs[17] = brightness[17] + 1.0
    brightness[17], logs[17] = 1.0, 2.0
    near = Neighborhood(np.arange(2_000), brightness[:, None], logs[:, None])
    found = near.conditional(near.object_id, near.covariates, near.log_scores)[:, 0]
    assert np.argmax(found) == 17
    assert np.argmax(logs) != 17
    assert abs(np.corrcoef(found, brightness)[0, 1]) < 0.1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_covariate_that_is_no_number_gives_nan_and_spoils_no_other(bad):
    near = neighborhood()
    covariates = near.covariates.copy()
    covariates[4, 1] = bad
    found = near.conditional(near.object_id, covariates, near.log_scores)
    expected = near.conditional(near.object_id, near.covariates, near.log_scores)
    assert np.isnan(found[4]).all()
    assert_allclose(np.delete(found, 4, axis=0), np.delete(expected, 4, axis=0), rtol=1e-9)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_with_fewer_than_two_others_every_value_is_0(n):
    near = neighborhood(n=n) if n else Neighborhood(np.empty(0, np.int64), np.empty((0, 3)), np.empty((0, 2)))
    covariates = np.array([[1.0, 2, 3], [np.nan, 2, 3]])
    found = near.conditional(np.array([1, 2]), covariates, np.ones((2, 2)))
    assert_array_equal(found, [[0, 0], [np.nan, np.nan]])


def test_constant_covariates_and_scores_give_numbers():
    near = Neighborhood(np.arange(80), np.ones((80, 2)), np.full((80, 1), 3.0))
    assert_array_equal(near.conditional(near.object_id, near.covariates, near.log_scores), 0)


def test_a_tight_knot_of_neighbors_is_floored():
    random = np.random.default_rng(0)
    logs = np.concatenate([np.full(300, 2.0), random.normal(2, 1, 300)])
    covariates = np.concatenate([random.normal(0, 0.01, 300), random.normal(50, 0.01, 300)])
    near = Neighborhood(np.arange(600), covariates[:, None], logs[:, None])
    found = near.conditional(np.array([-1]), np.array([[0.0]]), np.array([[2.5]]))
    assert found[0, 0] == pytest.approx(0.5 / (FLOOR * logs.std()))


def test_log_scores_are_natural_and_finite_at_0():
    assert_allclose(log_score(np.array([1, np.e], np.float32)), [0, 1], rtol=1e-6)
    assert np.isfinite(log_score(np.zeros(1))).all()
    assert log_score(np.array([0.0]))[0] < log_score(np.array([1e-30]))[0]
