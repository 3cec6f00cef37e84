import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.neighbors import KNeighborsRegressor

from peculiar.maps import placing
from peculiar.maps.placing import find_boxes, is_in_box, map_quality, place


def fitted(n=300, d=6, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)).astype(np.float32), random.normal(size=(n, 2)).astype(np.float32)


def new(m=100, d=6, seed=1):
    return np.random.default_rng(seed).normal(size=(m, d)).astype(np.float32)


# --- placing


def test_places_are_those_of_scikit_learn_weighted_by_inverse_distance():
    vectors, places = fitted()
    expected = KNeighborsRegressor(5, weights="distance", algorithm="kd_tree").fit(vectors, places).predict(new())
    assert_allclose(place(new(), vectors, places), expected, rtol=1e-4, atol=1e-5)


def test_a_copy_gets_its_originals_place_exactly():
    vectors, places = fitted()
    for scale in (1.0, 1e4):  # where quick distances are most rounded: far from the origin
        far = vectors + np.float32(scale)
        assert_array_equal(place(far, far, places), places)


def test_a_copy_of_two_gets_the_mean_of_their_places():
    vectors, places = fitted()
    vectors[1] = vectors[0]
    assert_allclose(place(vectors[:1], vectors, places)[0], places[:2].mean(axis=0), rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), size=st.integers(1, 40), at_once=st.integers(1, 30))
def test_a_place_does_not_depend_on_what_is_placed_beside_it(seed, size, at_once):
    vectors, places = fitted(60, seed=seed)
    whole = place(new(40, seed=seed), vectors, places)
    before, placing.AT_ONCE = placing.AT_ONCE, at_once
    try:
        parts = [place(new(40, seed=seed)[start : start + size], vectors, places) for start in range(0, 40, size)]
    finally:
        placing.AT_ONCE = before
    assert_array_equal(np.concatenate(parts), whole)


def test_places_lie_among_the_neighbors():
    vectors, places = fitted(4)
    found = place(new(), vectors, places)  # fewer than five: all of them
    assert (found >= places.min(axis=0)).all()
    assert (found <= places.max(axis=0)).all()


def test_a_vector_that_is_not_finite_has_no_place_and_disturbs_none():
    vectors, places = fitted()
    some = new(5)
    expected = place(some, vectors, places)
    some[2, 0], some[4, 3] = np.nan, np.inf
    found = place(some, vectors, places)
    assert np.isnan(found[[2, 4]]).all()
    assert_array_equal(found[[0, 1, 3]], expected[[0, 1, 3]])
    assert place(some[:0], vectors, places).shape == (0, 2)


def test_vectors_of_another_length_or_none_to_place_among_are_refused():
    vectors, places = fitted()
    for wrong in ((new(d=5), vectors, places), (new(), vectors, places[1:]), (new(), vectors[:0], places[:0])):
        with pytest.raises(ValueError, match="fitted must be one vector or more, of the length of the new ones"):
            place(*wrong)


# --- quality


def square(n=2_000):
    return np.random.default_rng(7).uniform(size=(n, 2))


def test_a_gradient_has_quality_near_one_and_noise_near_zero():
    places = square()
    noise = np.random.default_rng(8).normal(size=len(places))
    assert map_quality(places, places[:, 0]) > 0.97
    assert abs(map_quality(places, noise)) < 0.1
    # Half of the variance of the ranks is the place's: so is the quality.
    uniform = np.random.default_rng(9).uniform(size=len(places))
    assert map_quality(places, np.where(uniform < 0.5, places[:, 0], uniform * 2 - 1)) == pytest.approx(0.25, abs=0.08)


def test_quality_depends_on_the_order_of_the_scores_only():
    places = square()
    score = places[:, 0] + np.random.default_rng(8).normal(size=len(places))
    assert map_quality(places, np.exp(5 * score)) == map_quality(places, score)
    assert map_quality(places, score, seed=1) != map_quality(places, score)


def test_quality_is_of_objects_with_a_place_and_a_score():
    places = square(400)
    score = places[:, 0].copy()
    expected = map_quality(places[:-20], score[:-20])
    score[-20:-10], places[-10:] = np.nan, np.nan
    assert map_quality(places, score) == expected


def test_quality_of_too_few_or_of_one_score_is_not_a_number():
    places = square()
    assert np.isnan(map_quality(places[:49], places[:49, 0]))
    assert np.isnan(map_quality(places, np.ones(len(places))))


# --- boxes


def clumps():
    """A thin ground, and three clumps of 60, 40 and 20 objects at known places."""
    random = np.random.default_rng(0)
    centers = np.array([[0.25, 0.25], [0.7, 0.3], [0.5, 0.8]])
    parts = [center + random.normal(0, 0.012, (n, 2)) for center, n in zip(centers, (60, 40, 20), strict=True)]
    return np.concatenate([random.uniform(size=(200, 2)), *parts]), centers


def test_the_fullest_boxes_are_the_clumps_in_their_order():
    places, centers = clumps()
    boxes = find_boxes(places, n_boxes=3)
    for box, center in zip(boxes, centers, strict=True):
        assert is_in_box(center[None], box).all()


def test_with_a_score_the_first_box_is_where_it_is_high():
    places, centers = clumps()
    score = -np.hypot(*(places - centers[2]).T)
    assert is_in_box(centers[2][None], find_boxes(places, score, 1)[0]).all()


def test_boxes_are_squares_of_a_twelfth_far_from_one_another_and_not_empty():
    places = square()
    boxes = find_boxes(places, places[:, 0], 8)
    assert boxes.shape == (8, 4)
    side = np.ptp(places, axis=0).max() / 12
    assert_allclose(boxes[:, 2:] - boxes[:, :2], side)
    for number, box in enumerate(boxes):
        assert is_in_box(places, box).sum() >= 9
        gap = np.abs(boxes[:number, :2] - box[:2]).max(axis=1)
        assert (gap >= 2 * side * (1 - 1e-9)).all()


def test_no_box_is_found_where_there_is_nothing_to_look_into():
    assert find_boxes(np.full((30, 2), np.nan)).shape == (0, 4)
    assert find_boxes(square(8)).shape == (0, 4)
    assert len(find_boxes(np.zeros((30, 2)))) == 1
    places = square(500)
    score = np.where(places[:, 0] < 0.1, places[:, 1], np.nan)
    assert (find_boxes(places, score)[:, 0] < 0.1).all()
