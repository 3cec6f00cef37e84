import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from sklearn.neighbors import NearestNeighbors

from peculiar.run import begin, finish, read_run, read_started
from peculiar.similar import VectorIndex, probe
from peculiar.stages.index import N_MEASURED, IndexConfig, build_index
from peculiar.survey import Table

N, N_FEATURES = 1_000, 8
CONFIG = IndexConfig(features="look", n_partitions=16, recall=0.9)
QUICK = replace(CONFIG, recall=0.01)  # measured once, with one partition


def drawn(n, seed=0):
    random = np.random.default_rng(seed)
    return (random.normal(size=(n, N_FEATURES)) * np.arange(1, N_FEATURES + 1)).astype(np.float32)


def write_features(folder, object_id, vectors):
    """A finished feature set, or more rows of one."""
    schema = pa.schema([("object_id", pa.int64()), ("vector", pa.list_(pa.float32(), vectors.shape[1]))])
    packed = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    rows = pa.record_batch([pa.array(object_id), packed], schema=schema)
    home = folder / "features" / "look"
    run = begin(home, "features", CONFIG, inputs={})
    Table(home / "table.lance").append_in_commits([rows], schema, n_rows=10**6)
    finish(home, run)


@pytest.fixture
def features(tmp_path):
    """An atlas with 1,000 vectors."""
    write_features(tmp_path, np.arange(N), drawn(N))
    return tmp_path


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The same, indexed. Not to be changed."""
    folder = tmp_path_factory.mktemp("built") / "atlas"
    write_features(folder, np.arange(N), drawn(N))
    build_index(folder, CONFIG)
    return folder


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def answers(folder):
    """What one partition has, so that other partitions show."""
    table = Table(folder / "indices" / "look" / "table.lance").open()
    return [probe(table, query, 10, n_probes=1)[0].tolist() for query in drawn(20, seed=5) / np.arange(1, 9)]


def test_the_recall_that_is_recorded_is_what_an_independent_search_finds(built):
    run = read_run(built / "indices" / "look")
    assert run.outputs["n_objects"] == N
    assert run.outputs["n_partitions"] == 16
    assert run.outputs["ms_a_query"] > 0
    vectors = drawn(N).astype(float)
    places = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0)
    table = Table(built / "indices" / "look" / "table.lance")
    ids = table.sample(N_MEASURED, seed=0)
    rows = NearestNeighbors(n_neighbors=11).fit(places).kneighbors(places[ids], return_distance=False)

    def recall(n_probes):
        found = [probe(table.open(), places[each], 11, n_probes=n_probes)[0] for each in ids]
        return np.mean([np.isin(right[1:], each).sum() / 10 for right, each in zip(rows, found, strict=True)])

    assert run.outputs["recall_at_10"] == pytest.approx(recall(run.outputs["n_probes"]), abs=1e-3)
    assert run.outputs["recall_at_10"] >= 0.9
    assert 1 < run.outputs["n_probes"] < 16
    assert recall(run.outputs["n_probes"] // 2) < 0.9


def test_groups_are_measured_too(built):
    outputs = read_run(built / "indices" / "look").outputs
    assert outputs["group_recall_at_10"] >= 0.9
    assert outputs["group_n_probes"] > outputs["n_probes"] / 4


def test_it_touches_no_folder_but_its_own(features):
    before = files(features)
    build_index(features, QUICK)
    after = files(features)
    assert {path: after[path] for path in before} == before
    assert {path.relative_to(features).parts[:2] for path in set(after) - set(before)} == {("indices", "look")}


def test_two_builds_answer_alike(features, built):
    build_index(features, QUICK)
    assert answers(features) == answers(built)
    build_index(features, replace(QUICK, seed=1), replace=True)
    assert answers(features) != answers(built)


def test_by_itself_it_has_the_square_root_of_partitions(features):
    assert build_index(features, replace(QUICK, n_partitions=0)).outputs["n_partitions"] == 32


def test_all_neighbors_are_found_where_all_are_asked_for(features):
    run = build_index(features, IndexConfig(features="look", n_partitions=4, recall=1.0))
    assert run.outputs["recall_at_10"] == run.outputs["group_recall_at_10"] == 1


def test_objects_that_came_later_are_found_on_the_frozen_scale(built, copy):
    features = copy(built)
    scale = (features / "indices" / "look" / "scale.json").read_bytes()
    write_features(features, np.arange(N, N + 100), drawn(100, seed=9) + 100)
    with pytest.raises(KeyError, match="no object 1099 in"):
        VectorIndex(features, "look").take(np.array([1099]))
    run = build_index(features, CONFIG)
    assert run.outputs["n_objects"] == N + 100
    assert (features / "indices" / "look" / "scale.json").read_bytes() == scale
    opened = VectorIndex(features, "look")
    found, distances = opened.nearest(opened.take(np.array([1099]))[0].astype(float), 50)
    assert found[0] == 1099
    assert distances[0] == 0
    assert (found >= N).all()


def test_a_killed_index_is_gone_on_with_to_the_same_answers(features, made, built):
    code = """
        import os, signal, sys
        from contextlib import contextmanager
        from pathlib import Path
        from peculiar.stages import index

        index.SCAN_ROWS, index.COMMIT_ROWS = 100, 200

        @contextmanager
        def track(description, total):
            done = []
            def advance(n):
                done.append(n)
                if description == "standardizing" and sum(done) >= 500:
                    os.kill(os.getpid(), signal.SIGKILL)
            yield advance

        config = index.IndexConfig(features="look", n_partitions=16, recall=0.01)
        index.build_index(Path(sys.argv[1]), config, track=track)
    """
    made.python(code, features, expect=-9)
    home = features / "indices" / "look"
    assert 0 < len(Table(home / "table.lance")) < N
    assert read_run(home) is None
    assert read_started(home) is not None
    run = build_index(features, QUICK)
    assert run.outputs["n_objects"] == N
    assert answers(features) == answers(built)


def test_vectors_that_were_replaced_since_are_refused_until_told(built, copy):
    features = copy(built)
    shutil.rmtree(features / "features" / "look")
    write_features(features, np.arange(N), drawn(N, seed=3))
    with pytest.raises(ValueError, match="indexes vectors that were made anew since; index again with --replace"):
        build_index(features, CONFIG)
    assert build_index(features, QUICK, replace=True).outputs["n_objects"] == N
    with pytest.raises(ValueError, match="n_partitions was 16, now 8"):
        build_index(features, replace(QUICK, n_partitions=8))


def test_an_index_that_is_run_again_or_grows_keeps_its_partitions(built, copy):
    folder = copy(built)
    build_index(folder, CONFIG)
    write_features(folder, np.arange(N, N + 40), drawn(40, seed=2))
    build_index(folder, CONFIG)
    dataset = Table(folder / "indices" / "look" / "table.lance").open()
    (name,) = [each.name for each in dataset.describe_indices() if each.field_names == ["vector"]]
    statistics = dataset.stats.index_stats(name)
    assert sum(len(each["partitions"]) for each in statistics["indices"]) == 16
    assert statistics["num_unindexed_rows"] == 0


def test_a_search_in_vectors_that_were_made_anew_is_refused(built, copy, caplog):
    folder = copy(built)
    write_features(folder, np.arange(N, N + 40), drawn(40, seed=2))
    VectorIndex(folder, "look")
    assert "40 objects are not in" in caplog.text
    shutil.rmtree(folder / "features" / "look")
    write_features(folder, np.arange(N), drawn(N, seed=3))
    with pytest.raises(ValueError, match="made anew since; index them again with --replace"):
        VectorIndex(folder, "look")


def test_vectors_that_are_no_numbers_do_not_disturb(tmp_path):
    vectors = drawn(N)
    vectors[::10] = np.nan
    write_features(tmp_path, np.arange(N), vectors)
    run = build_index(tmp_path, QUICK)
    assert 0 < run.outputs["recall_at_10"] <= 1
    assert all(each % 10 for found in answers(tmp_path) for each in found)
    assert len(Table(tmp_path / "indices" / "look" / "table.lance")) == N


def test_alike_vectors_can_be_indexed(tmp_path):
    write_features(tmp_path, np.arange(300), np.ones((300, 4), np.float32))
    run = build_index(tmp_path, IndexConfig(features="look"))
    assert run.outputs["recall_at_10"] == 1


def test_few_objects_need_no_index(tmp_path):
    write_features(tmp_path, np.arange(64), drawn(64))
    message = 'needs at least 256 objects, and features/look has 64; "peculiar similar" needs none below 1,000,000'
    with pytest.raises(ValueError, match=message):
        build_index(tmp_path, IndexConfig(features="look"))
    assert not (tmp_path / "indices").exists()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("n_partitions", -1, "n_partitions must not be negative, got -1"),
        ("recall", 0.0, "recall must be above 0 and at most 1, got 0.0"),
        ("recall", 1.5, "recall must be above 0 and at most 1, got 1.5"),
    ],
)
def test_values_out_of_range_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        IndexConfig(features="look", **{field: value})
