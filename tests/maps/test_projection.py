import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial import cKDTree

from peculiar.maps.projection import n_needed, project

UMAP = pytest.param("umap", marks=pytest.mark.slow)  # compiled anew in every process: 20 s and more
METHODS = (UMAP, "tsne", "som", "pca")
N = 200


@pytest.fixture(scope="module")
def groups():
    """Four groups far from one another in eight dimensions: vectors and the group of each."""
    random = np.random.default_rng(3)
    group = np.arange(N) % 4
    return (random.normal(0, 12, (4, 8))[group] + random.normal(size=(N, 8))).astype(np.float32), group


@pytest.mark.parametrize("method", METHODS)
def test_two_calls_are_equal_bit_by_bit_and_groups_stay_together(method, groups):
    vectors, group = groups
    before = vectors.copy()
    places = project(vectors, method, seed=5)
    assert (places.shape, places.dtype) == ((N, 2), np.float32)
    assert_array_equal(places, project(vectors, method, seed=5))
    assert_array_equal(vectors, before)
    _, near = cKDTree(places).query(places, k=2)
    assert (group[near[:, 1]] == group).mean() > 0.95


@pytest.mark.parametrize("method", [UMAP, "tsne", "som"])
def test_another_seed_is_another_map(method, groups):
    vectors, _ = groups
    assert (project(vectors, method, seed=5) != project(vectors, method, seed=-6)).any()


def test_pca_is_the_projection_on_the_first_eigenvectors_with_a_fixed_sign(groups):
    vectors, _ = groups
    centered = vectors - vectors.mean(axis=0, dtype=np.float64)
    values, axes = np.linalg.eigh(centered.T @ centered)
    axes = axes[:, np.argsort(values)[::-1][:2]]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    assert_allclose(project(vectors, "pca"), centered @ axes, rtol=1e-3, atol=1e-3)
    # The mirrored vectors have the mirrored map: the sign is the axes', not the data's.
    assert_allclose(project(-vectors, "pca"), -project(vectors, "pca"), rtol=1e-3, atol=1e-3)


def test_objects_of_one_unit_are_told_apart_and_units_are_cells(groups):
    vectors, group = groups
    places = project(vectors, "som")
    assert len(np.unique(places, axis=0)) == N
    assert np.abs(places - np.rint(places)).max() <= 0.4
    units = np.rint(places).astype(int)
    side = int(np.ceil(np.sqrt(5 * np.sqrt(N))))
    assert units.min() >= 0
    assert units.max() < side
    for unit in np.unique(units, axis=0):
        assert len(set(group[(units == unit).all(axis=1)])) == 1


@pytest.mark.parametrize("method", [UMAP, "som", "pca"])
def test_a_map_of_ten_is_made_and_of_nine_is_refused(method, groups):
    vectors, _ = groups
    assert np.isfinite(project(vectors[:10], method)).all()
    with pytest.raises(ValueError, match=f"a {method} map needs 10 objects or more, got 9; take more"):
        project(vectors[:9], method)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("umap", {"n_neighbors": 40}, "needs 41 objects or more, got 40 with n_neighbors = 40; take fewer neighbors"),
        ("tsne", {}, "needs 91 objects or more, got 40 with perplexity = 30; take a perplexity of a third"),
        ("map", {}, "method must be one of umap, tsne, som, pca, got 'map'"),
    ],
)
def test_what_has_no_map_is_refused_with_a_remedy(method, options, message, groups):
    with pytest.raises(ValueError, match=message):
        project(groups[0][:40], method, **options)


def test_as_many_as_needed_are_enough(groups):
    assert n_needed("tsne", perplexity=5) == 16
    assert project(groups[0][:16], "tsne", perplexity=5).shape == (16, 2)


def test_vectors_that_are_not_finite_are_refused_and_counted(groups):
    vectors = groups[0].copy()
    vectors[3, 1], vectors[7, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match="vectors must be finite, and 2 of 200 are not"):
        project(vectors, "pca")


def test_vectors_that_are_all_the_same_are_refused():
    for vectors in (np.ones((20, 4), np.float32), np.arange(20, dtype=np.float32)[:, None]):
        with pytest.raises(ValueError, match="have no map"):
            project(vectors, "pca")
