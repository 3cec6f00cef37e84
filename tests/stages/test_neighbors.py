import shutil
from dataclasses import replace as replaced

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.neighbors import NearestNeighbors

from peculiar.run import begin, finish
from peculiar.stages.neighbors import NeighborsConfig, measure_neighbors
from peculiar.survey import Table

CONFIG = NeighborsConfig(features="look", n_neighbors=3)


def drawn(n, seed=0):
    return (np.random.default_rng(seed).normal(size=(n, 4)) * [1, 10, 100, 0.01]).astype(np.float32)


def write_features(folder, object_id, vectors, kind="table"):
    schema = pa.schema([("object_id", pa.int64()), ("vector", pa.list_(pa.float32(), 4))])
    packed = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 4)
    home = folder / "features" / "look"
    run = begin(home, "features", CONFIG, inputs={})
    Table(home / "table.lance").append([pa.record_batch([pa.array(object_id), packed], schema=schema)], schema)
    finish(home, run, kind=kind)


@pytest.fixture
def folder(tmp_path):
    write_features(tmp_path, np.arange(300), drawn(300))
    return tmp_path


def scores(folder, object_id):
    table = Table(folder / "neighbors" / "it" / "table.lance")
    return table.take(object_id, ["score_neighbors"])["score_neighbors"].to_numpy()


def standardized(vectors, reference):
    return (vectors - reference.mean(axis=0, dtype=float)) / reference.std(axis=0, dtype=float)


def test_the_score_is_the_mean_distance_to_the_nearest_others(folder):
    run = measure_neighbors(folder, CONFIG, name="it")
    places = standardized(drawn(300), drawn(300))
    distance, _ = NearestNeighbors(n_neighbors=4).fit(places).kneighbors(places)
    assert_allclose(scores(folder, np.arange(300)), distance[:, 1:].mean(axis=1), rtol=1e-4)
    assert run.outputs["n_objects"] == 300


def test_with_a_smaller_reference_all_are_compared_with_it(folder):
    config = NeighborsConfig(features="look", n_neighbors=3, n_reference=50)
    measure_neighbors(folder, config, name="it")
    chosen = np.sort(Table(folder / "features" / "look" / "table.lance").sample(50, seed=0))
    places, reference = (
        standardized(drawn(300), drawn(300)[chosen]),
        standardized(drawn(300)[chosen], drawn(300)[chosen]),
    )
    others = np.setdiff1d(np.arange(300), chosen)
    search = NearestNeighbors(n_neighbors=4).fit(reference)
    assert_allclose(scores(folder, others), search.kneighbors(places[others])[0][:, :3].mean(axis=1), rtol=1e-4)
    assert_allclose(scores(folder, chosen), search.kneighbors(reference)[0][:, 1:].mean(axis=1), rtol=1e-4)


def test_what_comes_later_moves_nothing(folder):
    measure_neighbors(folder, CONFIG, name="it")
    before = scores(folder, np.arange(300))
    write_features(folder, np.arange(300, 320), drawn(20, seed=1))
    assert measure_neighbors(folder, CONFIG, name="it").outputs["n_objects"] == 320
    assert_array_equal(scores(folder, np.arange(300)), before)


def test_objects_without_a_finite_vector_are_left_out_and_counted(tmp_path):
    vectors = drawn(100)
    vectors[7, 2] = np.nan
    write_features(tmp_path, np.arange(100), vectors)
    run = measure_neighbors(tmp_path, CONFIG, name="it")
    assert (run.outputs["n_objects"], run.outputs["n_without_vector"]) == (99, 1)
    assert 7 not in Table(tmp_path / "neighbors" / "it" / "table.lance").object_ids()


def test_vectors_made_anew_are_refused_until_told(folder):
    measure_neighbors(folder, CONFIG, name="it")
    shutil.rmtree(folder / "features" / "look")
    write_features(folder, np.arange(300), drawn(300, seed=4))
    with pytest.raises(ValueError, match=r"made anew since .* --replace"):
        measure_neighbors(folder, CONFIG, name="it")
    measure_neighbors(folder, CONFIG, name="it", replace=True)


def test_too_few_objects_are_refused_before_anything_is_made(tmp_path):
    write_features(tmp_path, np.arange(3), drawn(3))
    with pytest.raises(ValueError, match="3 neighbors are sought among others, and features/look has 3 objects"):
        measure_neighbors(tmp_path, CONFIG, name="it")
    assert not (tmp_path / "neighbors").exists()
    with pytest.raises(ValueError, match="n_reference must be more than the 10 neighbors"):
        NeighborsConfig(n_reference=10)


def test_a_look_is_its_part_of_self_supervised_vectors(tmp_path):
    vectors = drawn(60)
    write_features(tmp_path, np.arange(60), vectors, kind="self-supervised")
    for look, part in (("frame", vectors[:, :2]), ("center", vectors[:, 2:])):
        measure_neighbors(tmp_path, replaced(CONFIG, look=look), name="it", replace=look == "center")
        places = standardized(part, part)
        distance, _ = NearestNeighbors(n_neighbors=4).fit(places).kneighbors(places)
        assert_allclose(scores(tmp_path, np.arange(60)), distance[:, 1:].mean(axis=1), rtol=1e-4)


def test_other_features_have_no_looks(folder):
    with pytest.raises(ValueError, match="features/look has no look 'center', as it was made by table; only"):
        measure_neighbors(folder, replaced(CONFIG, look="center"), name="it")
    assert not (folder / "neighbors" / "it").exists()
