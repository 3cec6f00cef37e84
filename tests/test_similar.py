import json

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from peculiar.run import begin, finish
from peculiar.similar import Similar, VectorIndex
from peculiar.stages.index import IndexConfig, build_index
from peculiar.survey import Table

N, N_FEATURES = 600, 6
SCALES = 10.0 ** np.arange(N_FEATURES)  # components of unlike units


def write_features(folder, object_id, vectors, name="look"):
    """A finished feature set."""
    schema = pa.schema([("object_id", pa.int64()), ("vector", pa.list_(pa.float32(), vectors.shape[1]))])
    packed = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float32).ravel()), vectors.shape[1])
    rows = pa.record_batch([pa.array(object_id), packed], schema=schema)
    home = folder / "features" / name
    run = begin(home, "features", IndexConfig(features=name), inputs={})
    Table(home / "table.lance").append_in_commits([rows], schema, n_rows=10**6)
    finish(home, run)


@pytest.fixture(scope="module")
def vectors():
    random = np.random.default_rng(0)
    centers = 3 * random.normal(size=(8, N_FEATURES))
    return ((centers[random.integers(0, 8, N)] + random.normal(size=(N, N_FEATURES))) * SCALES).astype(np.float32)


@pytest.fixture(scope="module")
def object_id(made):
    return made.ids(N)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, vectors, object_id):
    home = tmp_path_factory.mktemp("similar")
    write_features(home, object_id, vectors)
    build_index(home, IndexConfig(features="look", n_partitions=12, recall=0.5))
    return home


@pytest.fixture(scope="module", params=["in memory", "by index"])
def similar(request, folder):
    opened = Similar(folder, "look")
    if request.param == "by index":
        opened.searched = VectorIndex(folder, "look")
        # Every partition: exact. How much fewer of them miss is the stage's to measure.
        opened.searched.measured |= {"n_probes": 12, "group_n_probes": 12}
    return opened


def standardized(vectors):
    return StandardScaler().fit_transform(vectors.astype(float))


def test_the_most_similar_are_those_of_an_independent_implementation(similar, vectors, object_id):
    places = standardized(vectors)
    distances, rows = NearestNeighbors(n_neighbors=25, algorithm="kd_tree").fit(places).kneighbors(places[:20])
    for place in range(20):
        found, expected = similar.to([object_id[place]])
        assert found.dtype == np.int64
        assert_array_equal(found, object_id[rows[place, 1:]])
        assert_allclose(expected, distances[place, 1:], rtol=1e-5)


def test_the_least_similar_are_farthest_first(similar, vectors, object_id):
    places = standardized(vectors)
    distances = np.linalg.norm(places - places[5], axis=1)
    found, away = similar.to([object_id[5]], 7, is_farthest=True)
    assert_array_equal(found, object_id[np.argsort(-distances)[:7]])
    assert_allclose(away, np.sort(distances)[:-8:-1], rtol=1e-5)


@pytest.mark.parametrize("is_farthest", [False, True])
def test_the_distance_to_a_group_is_the_root_mean_square_to_its_members(similar, vectors, object_id, is_farthest):
    members = np.array([3, 77, 140])
    places = standardized(vectors)
    squares = np.linalg.norm(places[:, None] - places[members], axis=2) ** 2
    expected = np.sqrt(squares.mean(axis=1))
    others = np.setdiff1d(np.arange(N), members)
    order = others[np.argsort((-1 if is_farthest else 1) * expected[others])][:10]
    found, distances = similar.to(object_id[[77, 3, 140, 3]], 10, is_farthest=is_farthest)
    assert_array_equal(found, object_id[order])
    assert_allclose(distances, expected[order], rtol=1e-5)


def test_a_vector_from_outside_is_put_on_the_survey_s_scale(similar, vectors, object_id):
    found, distances = similar.to_vector(vectors[9], 5)
    others, away = similar.to(object_id[[9]], 4)
    assert_array_equal(found, [object_id[9], *others])
    assert_allclose(distances, [0, *away], rtol=1e-12)
    group, _ = similar.to_vector(vectors[[3, 77, 140]], N)
    expected, _ = similar.to(object_id[[3, 77, 140]], N)
    assert_array_equal(group[~np.isin(group, object_id[[3, 77, 140]])], expected)


def test_all_others_are_found_once_where_more_are_asked_for(similar, object_id):
    found, distances = similar.to(object_id[:2], 10 * N)
    assert_array_equal(np.sort(found), np.sort(object_id[2:]))
    assert (np.diff(distances) >= 0).all()


def test_partitions_are_probed_until_there_are_as_many_as_asked_for(folder, object_id):
    opened = Similar(folder, "look")
    expected = opened.to(object_id[:2], 400)
    opened.searched = VectorIndex(folder, "look")
    opened.searched.measured |= {"n_probes": 1, "group_n_probes": 1}
    found, distances = opened.to(object_id[[0]], 400)
    assert len(found) == len(np.unique(found)) == 400
    found, distances = opened.to(object_id[:2], 5)
    assert len(found) == 5
    assert (distances >= expected[1][:5] * (1 - 1e-6)).all()


def test_objects_that_are_not_there_are_named(similar, object_id):
    with pytest.raises(KeyError, match=r"no object 12, 34 in .*table\.lance"):
        similar.to([object_id[0], 34, 12])


def test_what_cannot_be_asked_is_refused(similar, vectors, object_id):
    with pytest.raises(ValueError, match="at least one object"):
        similar.to([])
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        similar.to([object_id[0]], 0)
    with pytest.raises(ValueError, match=r"vectors must be \(6,\) or \(m, 6\), got \(5,\)"):
        similar.to_vector(vectors[0, :5])
    with pytest.raises(ValueError, match="vectors must be finite"):
        similar.to_vector(vectors[0] * np.nan)


def test_objects_without_features_are_never_found_and_named_when_asked_for(tmp_path, vectors, object_id):
    spoilt = vectors.copy()
    spoilt[[2, 50]], spoilt[70, 3] = np.nan, np.inf
    write_features(tmp_path, object_id, spoilt)
    build_index(tmp_path, IndexConfig(features="look", n_partitions=1))
    opened = Similar(tmp_path, "look")
    for searched in (opened.searched, VectorIndex(tmp_path, "look")):
        opened.searched = searched
        for is_farthest in (False, True):
            found, distances = opened.to(object_id[[9]], N, is_farthest=is_farthest)
            assert not np.isin(object_id[[2, 50, 70]], found).any()
            assert np.isfinite(distances).all()
        with pytest.raises(ValueError, match=f"those of {object_id[2]}, {object_id[70]} in .* are NaN or infinite"):
            opened.to(object_id[[2, 9, 70]])


def test_equal_distances_come_by_id_whatever_the_order_of_rows(tmp_path):
    ids = np.random.default_rng(0).permutation(300)
    write_features(tmp_path, ids, np.stack([ids % 2, ids % 3], axis=1))
    found, _ = Similar(tmp_path, "look").to([0], 49)
    assert_array_equal(found, np.arange(6, 300, 6))


def test_the_index_has_the_scale_that_memory_has(folder, vectors):
    written = json.loads((folder / "indices" / "look" / "scale.json").read_text())
    held = Similar(folder, "look").searched.scale
    assert_allclose(written["mean"], held.mean, rtol=1e-12)
    assert_allclose(written["deviation"], vectors.std(axis=0, dtype=float), rtol=1e-12)


def test_without_features_or_index_it_says_what_to_do(tmp_path, vectors, object_id):
    with pytest.raises(FileNotFoundError, match="features/look is not complete"):
        Similar(tmp_path, "look")
    write_features(tmp_path, object_id, vectors)
    with pytest.raises(FileNotFoundError, match='run "peculiar index" with features look first'):
        VectorIndex(tmp_path, "look")
