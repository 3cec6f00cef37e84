import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from peculiar.scoring import neighbors
from peculiar.scoring.neighbors import Scale, mean_distance, nearest, nearest_in_blocks, purity


def drawn(n, n_features=8, seed=0):
    return np.random.default_rng(seed).normal(size=(n, n_features)).astype(np.float32)


def by_sorting(vectors, queries, n, is_farthest=False):
    """Every distance in float64, sorted with ties by row."""
    distances = np.array(
        [[np.sqrt(((a - b) ** 2).sum()) for b in vectors.astype(float)] for a in queries.astype(float)]
    )
    rows = np.argsort(-distances if is_farthest else distances, axis=1, kind="stable")[:, :n]
    return rows, np.take_along_axis(distances, rows, 1)


# --- nearest


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 40),
    offset=st.sampled_from([0.0, 1.0, 1e4, 1e7]),
    spread=st.sampled_from([1e-20, 1e-3, 1.0, 1e5]),
    levels=st.sampled_from([2, 1_000]),
    is_farthest=st.booleans(),
)
def test_rows_and_distances_are_those_of_sorting_all_in_double_precision(seed, n, offset, spread, levels, is_farthest):
    random = np.random.default_rng(seed)
    vectors = (offset + spread * random.integers(0, levels, (30, 3))).astype(np.float32)
    queries = np.concatenate([vectors[:3], (offset + spread * random.normal(size=(3, 3))).astype(np.float32)])
    rows, distances = nearest(vectors, queries, n, is_farthest=is_farthest)
    expected = by_sorting(vectors, queries, n, is_farthest)
    assert_array_equal(rows, expected[0])
    assert_allclose(distances, expected[1], rtol=1e-14)


def test_near_duplicates_far_from_the_origin_are_told_apart_where_float32_products_cannot():
    vectors = 100 + 1e-4 * drawn(500, 64)
    query = vectors[7:8].astype(np.float64)
    expected = np.argsort(cdist(query, vectors)[0], kind="stable")[:10]
    products = (vectors**2).sum(axis=1) - 2 * vectors @ vectors[7]
    assert set(np.argsort(products)[:10]) != set(expected)
    rows, distances = nearest(vectors, query, 10)
    assert_array_equal(rows[0], expected)
    assert_allclose(distances, np.sort(cdist(query, vectors))[:, :10], rtol=1e-12)
    assert distances[0, 0] == 0


def test_answers_are_the_same_to_the_last_bit_in_any_company(monkeypatch):
    vectors, queries = drawn(2_000, 64), drawn(50, 64, seed=1)
    whole = nearest(vectors, queries, 7)
    for part in (slice(3, 4), slice(10, 33)):
        for found, expected in zip(nearest(vectors, queries[part], 7), whole, strict=True):
            assert_array_equal(found, expected[part])
    monkeypatch.setattr(neighbors, "AT_ONCE", 3 * len(vectors))
    assert_array_equal(nearest(vectors, queries, 7)[1], whole[1])


@pytest.mark.parametrize("is_farthest", [False, True])
def test_equal_distances_come_in_the_order_of_rows(is_farthest):
    vectors = np.tile([[1.0, 0], [0, 1], [-1, 0], [0, -1]], (25, 1))
    rows, distances = nearest(vectors, np.zeros((1, 2)), 30, is_farthest=is_farthest)
    assert_array_equal(rows[0], np.arange(30))
    assert_array_equal(distances, 1)


def test_vectors_that_are_no_numbers_are_never_found_and_move_no_row():
    vectors = drawn(50)
    vectors[[0, 20]], vectors[30, 1] = np.nan, np.inf
    finite = np.setdiff1d(np.arange(50), [0, 20, 30])
    for is_farthest in (False, True):
        rows, distances = nearest(vectors, vectors[40:], 60, is_farthest=is_farthest)
        found, expected = nearest(vectors[finite], vectors[40:], 60, is_farthest=is_farthest)
        assert rows.shape == (10, 47)
        assert_array_equal(rows, finite[found])
        assert_array_equal(distances, expected)


def test_a_query_is_left_out_by_its_row_and_not_by_its_distance():
    vectors = np.array([[0.0], [0], [0], [5], [np.nan]])
    rows, distances = nearest(vectors, vectors[[0, 1, 3, 0]], 2, own_rows=np.array([0, 1, 3, -1]))
    assert_array_equal(rows, [[1, 2], [0, 2], [0, 1], [0, 1]])
    assert_array_equal(distances, [[0, 0], [0, 0], [5, 5], [0, 0]])


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(ValueError, match="queries must be finite, got NaN or infinity in query 1, 3"):
        nearest(drawn(5), np.array([[0.0] * 8, [np.nan] * 8, [1.0] * 8, [np.inf] * 8]), 2)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        nearest(drawn(5), drawn(1), 0)
    with pytest.raises(ValueError, match="standardize them first"):
        nearest(1e19 * drawn(5), drawn(1), 1)


@pytest.mark.parametrize("vectors", [np.empty((0, 4)), np.full((3, 4), np.nan)])
def test_where_nothing_is_there_nothing_is_found(vectors):
    rows, distances = nearest(vectors, np.zeros((2, 4)), 3)
    assert rows.shape == distances.shape == (2, 0)
    assert np.isnan(mean_distance(vectors, np.zeros((2, 4)), 3)).all()


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=6), is_farthest=st.booleans())
def test_blocks_of_any_size_give_what_the_whole_gives_with_ties_by_id(sizes, is_farthest):
    random = np.random.default_rng(0)
    n = sum(sizes)
    vectors, queries = random.integers(0, 4, (n, 3)).astype(np.float32), drawn(4, 3)
    ids = random.permutation(10 * n + 1)[:n] - 5 * n
    ends = np.cumsum(sizes)[:-1]
    blocks = zip(np.split(ids, ends), np.split(vectors, ends), strict=True)
    found, distances = nearest_in_blocks(blocks, queries, 6, is_farthest=is_farthest)
    by_id = np.argsort(ids)
    rows, expected = nearest(vectors[by_id], queries, 6, is_farthest=is_farthest)
    assert_array_equal(found, ids[by_id][rows])
    assert_array_equal(distances, expected)


# --- the mean distance


def test_the_mean_distance_is_that_to_the_nearest_others():
    vectors = np.array([[0.0], [1], [3], [100]])
    found = mean_distance(vectors, vectors, 2, own_rows=np.arange(4))
    assert_allclose(found, [2, 1.5, 2.5, 98])
    assert_allclose(mean_distance(vectors, np.array([[2.0]]), 2), [1])
    assert_allclose(mean_distance(vectors, vectors[:1], 10, own_rows=np.array([0])), [104 / 3])


def test_mean_distances_are_those_of_an_independent_implementation_and_the_odd_one_is_first():
    vectors = drawn(400, 16)
    vectors[123] += 4
    found = mean_distance(vectors, vectors, 10, own_rows=np.arange(400))
    expected = NearestNeighbors(n_neighbors=10).fit(vectors.astype(float)).kneighbors()[0].mean(axis=1)
    assert_allclose(found, expected, rtol=1e-6)
    assert np.argmax(found) == 123


def test_a_vector_that_is_no_number_has_no_mean_distance_and_spoils_no_other():
    vectors = drawn(30)
    vectors[4, 2] = np.nan
    others = np.delete(vectors, 4, axis=0)
    found = mean_distance(vectors, vectors, 5, own_rows=np.arange(30))
    assert np.isnan(found[4])
    assert_array_equal(np.delete(found, 4), mean_distance(others, others, 5, own_rows=np.arange(29)))


# --- the scale


def test_standardized_components_have_mean_0_and_deviation_1_whatever_their_unit():
    vectors = drawn(5_000, 3) * np.float32([1, 1e-6, 1e5]) + np.float32([0, 3, -1e6])
    found = Scale.of([vectors]).standardized(vectors)
    assert found.dtype == np.float32
    assert_allclose(found.mean(axis=0), 0, atol=1e-5)
    assert_allclose(found.std(axis=0, dtype=float), 1, rtol=1e-5)


def test_a_scale_does_not_depend_on_blocks_and_passes_over_what_is_no_number():
    vectors = drawn(300)
    expected = Scale(vectors.mean(axis=0, dtype=np.float64), vectors.std(axis=0, dtype=np.float64))
    vectors = np.insert(vectors, [0, 150], np.nan, axis=0)
    for blocks in ([vectors], np.split(vectors, [0, 1, 77]), [np.full((2, 8), np.inf), vectors]):
        found = Scale.of(iter(blocks))
        assert_allclose(found.mean, expected.mean, atol=1e-12)
        assert_allclose(found.deviation, expected.deviation, rtol=1e-12)
    with pytest.raises(ValueError, match="at least one vector whose components are all finite"):
        Scale.of([vectors[:1]])


def test_constant_components_are_0_for_all_and_nan_stays_nan():
    vectors = drawn(1_000, 2)
    vectors[:, 1] = 0.1
    scale = Scale.of(np.split(vectors, 7 * np.arange(1, 20)))
    assert scale.deviation[1] == 0
    found = scale.standardized(np.array([[1.0, 0.1], [2, 55], [np.nan, 0.1]], np.float32))
    assert_array_equal(found[:, 1], 0)
    assert_array_equal(np.isnan(found[:, 0]), [False, False, True])


def test_a_scale_comes_back_from_json_as_it_was():
    scale = Scale.of([drawn(20)])
    again = Scale.from_json(scale.to_json())
    assert_array_equal(again.mean, scale.mean)
    assert_array_equal(again.deviation, scale.deviation)


# --- purity


def test_purity_is_the_part_of_the_neighbors_that_share_the_label():
    labels = np.array(["spiral", "spiral", "odd"])
    assert purity(labels, np.array([[1, 2], [0, 2], [0, 1]])) == {"odd": 0.0, "spiral": 0.5}


def test_purity_is_the_class_s_part_by_chance_and_1_where_classes_are_apart():
    labels = np.repeat([0, 1], [1_500, 500])
    mixed, apart = drawn(2_000, 4), drawn(2_000, 4) + 50 * labels[:, None]
    rows, _ = nearest(mixed, mixed, 10, own_rows=np.arange(2_000))
    assert purity(labels, rows) == pytest.approx({0: 0.75, 1: 0.25}, abs=0.03)
    rows, _ = nearest(apart, apart, 10, own_rows=np.arange(2_000))
    assert purity(labels, rows) == {0: 1.0, 1: 1.0}


def test_a_label_of_nan_is_no_class_and_shares_none():
    assert purity(np.array([1.0, np.nan, np.nan]), np.array([[1], [2], [0]])) == {1.0: 0.0}
    assert np.isnan(purity(np.array([1, 1]), np.empty((2, 0), np.int64))[1])
