import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import mannwhitneyu

from peculiar.maps.clusters import Clusters, Fitted, cluster, enrichment
from peculiar.scoring.evaluation import auroc

SIZES = (60, 100, 30)  # of three far groups, in the order of the rows


def grouped(seed=0, n_far=8):
    """Three groups 20 deviations apart, and single objects far from everything."""
    random = np.random.default_rng(seed)
    centers = np.array([[0, 0, 0], [20, 0, 0], [0, 20, 0]])
    groups = [random.normal(center, 1, (size, 3)) for center, size in zip(centers, SIZES, strict=True)]
    far = random.uniform(60, 400, (n_far, 3)) * np.array([[1, -1, 1]])
    return np.concatenate([*groups, far]).astype(np.float32), np.repeat([1, 0, 2, -1], [*SIZES, n_far])


@pytest.fixture(scope="module")
def fitted():
    vectors, _ = grouped()
    return Fitted(vectors, cluster(vectors, min_size=10, min_samples=5))


def test_groups_are_found_and_numbered_by_size(fitted):
    _, truth = grouped()
    is_core = fitted.clusters.strength > 0
    assert_array_equal(fitted.clusters.label[is_core], truth[is_core])
    assert (fitted.clusters.label[truth < 0] == -1).all()
    assert (fitted.clusters.label == truth).mean() > 0.95
    assert fitted.clusters.n_clusters == 3
    assert_array_equal(fitted.clusters.strength[fitted.clusters.label < 0], 0)


def test_units_and_constant_components_do_not_matter(fitted):
    vectors, _ = grouped()
    changed = np.column_stack([vectors * [1, 1024, 2**-10] + [0, 5, 0], np.full(len(vectors), 7)])
    found = cluster(changed, min_size=10, min_samples=5)
    assert_array_equal(found.label, fitted.clusters.label)


def test_objects_without_a_vector_are_in_no_cluster_and_change_no_other(fitted):
    vectors = np.insert(grouped()[0], 5, np.nan, axis=0)
    found = cluster(vectors, min_size=10, min_samples=5)
    assert found.label[5] == -1
    assert found.strength[5] == 0
    assert_array_equal(np.delete(found.label, 5), fitted.clusters.label)


@pytest.mark.parametrize("n", [0, 1, 9])
def test_too_few_objects_are_in_no_cluster(n):
    found = cluster(np.zeros((n, 2)), min_size=10, min_samples=5)
    assert_array_equal(found.label, np.full(n, -1))


def test_fine_clusters_are_parts_of_the_lasting_ones():
    random = np.random.default_rng(1)
    pairs = np.array([[0, 0], [6, 0], [200, 0], [206, 0]])
    vectors = np.concatenate([random.normal(center, 1, (80, 2)) for center in pairs])
    broad = cluster(vectors, min_size=25, min_samples=5)
    fine = cluster(vectors, min_size=25, min_samples=5, is_fine=True)
    assert broad.n_clusters == 2
    assert fine.n_clusters >= 4
    for number in range(fine.n_clusters):
        assert len(set(broad.label[fine.label == number]) - {-1}) == 1


@pytest.mark.parametrize("wrong", [{"min_size": 1, "min_samples": 1}, {"min_size": 5, "min_samples": 0}])
def test_ranges_are_checked(wrong):
    with pytest.raises(ValueError, match="min_size must be"):
        cluster(np.zeros((20, 2)), **wrong)


def test_new_objects_join_the_group_that_they_are_in(fitted):
    new, truth = grouped(seed=5)
    joined = fitted.assign(new)
    is_in = joined.label >= 0
    assert_array_equal(joined.label[is_in], truth[is_in])
    assert is_in[truth >= 0].mean() > 0.8
    assert not is_in[truth < 0].any()
    assert (joined.strength[is_in] > 0).all()
    assert_array_equal(joined.strength[~is_in], 0)


@settings(max_examples=20, deadline=None)
@given(first=st.integers(0, 180), n=st.integers(1, 10))
def test_what_is_assigned_beside_an_object_changes_nothing(fitted, first, n):
    new = grouped(seed=6)[0]
    whole, part = fitted.assign(new), fitted.assign(new[first : first + n])
    assert_array_equal(part.label, whole.label[first : first + n])
    assert_array_equal(part.strength, whole.strength[first : first + n])


def test_new_objects_without_a_vector_and_those_beyond_what_is_usual_join_none(fitted):
    between = np.array([[10, 0, 0], [np.nan, 0, 0], [np.inf, 0, 0]])
    assert_array_equal(fitted.assign(between).label, [-1, -1, -1])


def test_nobody_joins_where_there_is_no_cluster():
    nothing = Fitted(np.zeros((4, 2)), cluster(np.zeros((4, 2)), min_size=10, min_samples=5))
    assert_array_equal(nothing.assign(np.zeros((3, 2))).label, [-1, -1, -1])


def test_lengths_that_do_not_fit_are_refused(fitted):
    with pytest.raises(ValueError, match="label for each"):
        Fitted(np.zeros((3, 2)), Clusters(np.zeros(2, np.int32), np.zeros(2, np.float32)))
    with pytest.raises(ValueError, match="vectors of 3"):
        fitted.assign(np.zeros((2, 5)))


def labeled(n=300):
    random = np.random.default_rng(3)
    labels = np.repeat([0, 1, -1], [100, 80, n - 180]).astype(np.int32)
    columns = {
        "shifted": random.normal(size=n) + 2.0 * (labels == 0),
        "noise": random.normal(size=n),
        "is_blue": (random.random(n) < np.where(labels == 1, 0.9, 0.1)),
        "field": np.where(labels == 1, "north", random.choice(["south", "east"], n)).astype(object),
        "constant": np.ones(n),
        "name": np.array([f"object {each}" for each in range(n)], object),
    }
    return columns, labels


def test_what_sets_a_cluster_apart_comes_first():
    columns, labels = labeled()
    found = enrichment(columns, labels)
    assert set(found) == {0, 1}
    first = found[0][0]
    assert (first.column, first.test) == ("shifted", "Mann-Whitney")
    assert first.effect > 0.85
    assert first.members - first.others == pytest.approx(2, abs=0.4)
    tops = {row.column: row for row in found[1][:2]}
    assert set(tops) == {"field = north", "is_blue"}
    assert tops["field = north"].members == 1
    assert tops["field = north"].effect == 1
    assert tops["is_blue"].test == "Fisher"
    names = {row.column for row in found[0]}
    assert names == {"shifted", "noise", "is_blue", "field = north", "field = south", "field = east"}


def test_numbers_agree_with_scipy_and_the_corrections_with_their_definition():
    columns, labels = labeled()
    found = enrichment(columns, labels)
    for number, rows in found.items():
        row = next(each for each in rows if each.column == "noise")
        values = columns["noise"]
        known = mannwhitneyu(values[labels == number], values[labels != number])
        assert_allclose([row.p_value], [known.pvalue])
        assert_allclose([row.effect], [auroc(values, labels == number)])
    p, corrected = np.array([(row.p_value, row.p_corrected) for rows in found.values() for row in rows]).T
    order = np.argsort(p)
    steps = (p[order] * len(p) / np.arange(1, len(p) + 1))[::-1]
    assert_allclose(corrected[order], np.minimum(np.minimum.accumulate(steps)[::-1], 1))


def test_missing_values_are_left_out_and_counted():
    columns, labels = labeled()
    values = columns["shifted"].copy()
    values[[0, 150, 299]] = np.nan
    texts, booleans = columns["field"].copy(), columns["is_blue"].astype(object)
    texts[0], texts[1], booleans[2] = None, "", None
    found = enrichment({"shifted": values, "field": texts, "is_blue": booleans}, labels)
    missing = {row.column: row.n_missing for row in found[0]}
    assert missing["shifted"] == 3
    assert missing["field = east"] == 2
    assert missing["is_blue"] == 1
    kept = np.isfinite(values)
    (row,) = enrichment({"shifted": values[kept]}, labels[kept])[0]
    assert row.effect == next(each.effect for each in found[0] if each.column == "shifted")


def test_nothing_to_compare_gives_no_rows():
    labels = np.zeros(10, np.int32)
    assert enrichment({"a": np.arange(10.0)}, labels) == {0: []}
    assert enrichment({"a": np.full(10, np.nan), "b": np.full(10, None)}, labels) == {0: []}
    assert enrichment({}, np.full(10, -1, np.int32)) == {}


def test_noise_is_seldom_called_significant():
    random = np.random.default_rng(4)
    columns = {f"noise {each}": random.normal(size=400) for each in range(60)}
    found = enrichment(columns, np.repeat([0, -1], 200).astype(np.int32))
    assert len(found[0]) == 60
    assert sum(row.p_value < 0.05 for row in found[0]) > 0
    assert sum(row.p_corrected < 0.05 for row in found[0]) == 0
