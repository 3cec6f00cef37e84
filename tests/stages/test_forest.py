import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

from peculiar.checkpoint import file_digest, load_tensors
from peculiar.feature_set import FeatureSet
from peculiar.run import begin, finish, read_run
from peculiar.scoring.forest import Forest
from peculiar.stages import forest as stage
from peculiar.stages.forest import ForestConfig, grow_forest
from peculiar.survey import Table

FEW = {"features": "made", "n_trees": 20, "sample_size": 64}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MadeConfig:
    seed: int = 0


def append_features(folder, object_id, vectors, *, replace=False):
    """`features/made`, as any source of vectors leaves it; called again, more objects."""
    home = folder / "features" / "made"
    run = begin(home, "features", MadeConfig(), inputs={}, replace=replace)
    schema = pa.schema([("object_id", pa.int64()), ("vector", pa.list_(pa.float32(), vectors.shape[1]))])
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1), pa.float32()), vectors.shape[1])
    batch = pa.record_batch([pa.array(object_id), flat], schema)
    Table(home / "table.lance").append_in_commits([batch], schema, n_rows=1)
    finish(home, run)


def drawn(made, n=300, d=5):
    """Ids that no float64 holds, and vectors: the last object is odd."""
    vectors = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    vectors[-1] = 9
    return made.ids(n), vectors


@pytest.fixture
def folder(tmp_path, made):
    """An atlas with one feature set."""
    append_features(tmp_path, *drawn(made))
    return tmp_path


def table(folder, name="made"):
    return Table(folder / "forests" / name / "table.lance")


def scores(folder, object_id, name="made"):
    return table(folder, name).take(object_id, ["score_forest"])["score_forest"].to_numpy()


def forest_of(folder, name="made"):
    tensors, _ = load_tensors(folder / "forests" / name / "forest.safetensors")
    return Forest.from_tensors({key: each.numpy() for key, each in tensors.items()})


def test_every_object_has_the_score_that_the_kept_forest_gives_it(folder, made):
    object_id, vectors = drawn(made)
    run = grow_forest(folder, ForestConfig(**FEW), name="made")
    assert table(folder).schema.names == ["object_id", "score_forest"]
    assert table(folder).schema.field("score_forest").type == pa.float64()
    assert_array_equal(table(folder).object_ids(), object_id)
    assert_array_equal(scores(folder, object_id), forest_of(folder).score(vectors))
    assert scores(folder, object_id).argmax() == len(object_id) - 1
    assert run.outputs["n_objects"] == 300
    assert run.outputs["forest"] == file_digest(folder / "forests" / "made" / "forest.safetensors")
    assert run.reads == {"features/made": FeatureSet(folder, "made").run.identity}


def test_the_forest_depends_on_ids_vectors_and_seed_not_on_order_or_threads(folder, made, tmp_path):
    object_id, vectors = drawn(made)
    shuffled = np.random.default_rng(1).permutation(300)
    append_features(tmp_path / "other", object_id[shuffled], vectors[shuffled])
    for where, name, options in (
        (folder, "one", {"n_threads": 1}),
        (tmp_path / "other", "one", {"n_threads": 3}),
        (folder, "two", {"seed": 1}),
        (folder, "three", {"seed": -1, "extension_level": 0}),
    ):
        grow_forest(where, ForestConfig(**FEW, **options), name=name)
    one = scores(folder, object_id, "one")
    assert_array_equal(scores(tmp_path / "other", object_id, "one"), one)
    assert not np.array_equal(scores(folder, object_id, "two"), one)
    assert forest_of(folder, "three").normals.shape[1] == 1


def test_new_objects_are_scored_by_the_frozen_forest_and_old_rows_stay(folder, made):
    object_id, _ = drawn(made)
    grow_forest(folder, ForestConfig(**FEW), name="made")
    path = folder / "forests" / "made" / "forest.safetensors"
    kept, old = path.read_bytes(), scores(folder, object_id)
    more = np.random.default_rng(2).normal(3, 2, (40, 5)).astype(np.float32)
    append_features(folder, np.arange(40), more)
    run = grow_forest(folder, ForestConfig(**FEW), name="made")
    assert run.outputs["n_objects"] == len(table(folder)) == 340
    assert path.read_bytes() == kept
    assert_array_equal(scores(folder, object_id), old)
    assert_array_equal(scores(folder, np.arange(40)), forest_of(folder).score(more))
    assert grow_forest(folder, ForestConfig(**FEW), name="made").outputs == run.outputs
    assert len(table(folder)) == 340


def test_growing_that_was_killed_goes_on_to_the_same_table(folder, made):
    object_id, _ = drawn(made)
    grow_forest(folder, ForestConfig(**FEW), name="whole")
    code = """
        import os, signal, sys
        from contextlib import contextmanager
        from pathlib import Path
        from peculiar.stages import forest

        forest.SCAN_ROWS = forest.COMMIT_ROWS = 50

        @contextmanager
        def track(description, total):
            done = []
            def advance(n):
                done.append(n)
                if sum(done) >= 200:
                    os.kill(os.getpid(), signal.SIGKILL)
            yield advance

        config = forest.ForestConfig(features="made", n_trees=20, sample_size=64)
        forest.grow_forest(Path(sys.argv[1]), config, name="made", track=track)
    """
    made.python(code, folder, expect=-9)
    assert 0 < len(table(folder)) < 300
    assert read_run(folder / "forests" / "made") is None
    kept = (folder / "forests" / "made" / "forest.safetensors").read_bytes()
    grow_forest(folder, ForestConfig(**FEW), name="made")
    assert (folder / "forests" / "made" / "forest.safetensors").read_bytes() == kept
    assert len(table(folder)) == 300
    assert_array_equal(scores(folder, object_id), scores(folder, object_id, "whole"))


def test_many_batches_give_what_one_gives(folder, made, monkeypatch):
    object_id, vectors = drawn(made)
    monkeypatch.setattr(stage, "SCAN_ROWS", 7)
    grow_forest(folder, ForestConfig(**FEW, n_threads=4), name="made")
    assert_array_equal(scores(folder, object_id), forest_of(folder).score(vectors))


# Missing components.


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_missing_components_are_refused_before_anything_is_begun(tmp_path, made, bad):
    object_id, vectors = drawn(made)
    vectors[[3, 8, 9, 10, 11, 12, 13], 2] = bad
    append_features(tmp_path, object_id, vectors)
    with pytest.raises(ValueError, match=rf"7 objects of features/made .*{object_id[3]}, .* \.\.\..*--missing median"):
        grow_forest(tmp_path, ForestConfig(**FEW), name="made")
    assert not (tmp_path / "forests").exists()


def test_missing_components_of_later_objects_are_refused_too(folder):
    grow_forest(folder, ForestConfig(**FEW), name="made")
    append_features(folder, np.array([77]), np.full((1, 5), np.nan, np.float32))
    with pytest.raises(ValueError, match=r"1 objects of features/made .*: 77;"):
        grow_forest(folder, ForestConfig(**FEW), name="made")
    assert read_run(folder / "forests" / "made") is not None
    grow_forest(folder, ForestConfig(**FEW, missing="median"), name="made", replace=True)
    assert np.isfinite(scores(folder, [77])).all()


def test_medians_of_the_sample_stand_for_missing_components(tmp_path, made):
    object_id, vectors = drawn(made)
    vectors[::7, 1], vectors[5] = np.nan, np.inf
    append_features(tmp_path, object_id, vectors)
    grow_forest(tmp_path, ForestConfig(**FEW, missing="median"), name="made")  # draws from all 300
    tensors, _ = load_tensors(tmp_path / "forests" / "made" / "forest.safetensors")
    medians = np.nanmedian(np.where(np.isfinite(vectors), vectors, np.nan), axis=0)
    assert_array_equal(tensors["medians"].numpy(), medians)
    expected = forest_of(tmp_path).score(np.where(np.isfinite(vectors), vectors, medians))
    assert_array_equal(scores(tmp_path, object_id), expected)


def test_a_component_that_nobody_has_is_named(tmp_path, made):
    object_id, vectors = drawn(made)
    vectors[:, 3] = np.nan
    append_features(tmp_path, object_id, vectors)
    with pytest.raises(ValueError, match=r"components \[3\] of features/made"):
        grow_forest(tmp_path, ForestConfig(**FEW, missing="median"), name="made")
    assert not (tmp_path / "forests").exists()


# Refusals.


def test_another_config_or_another_feature_set_is_refused_until_replace(folder, made):
    object_id, vectors = drawn(made)
    grow_forest(folder, ForestConfig(**FEW), name="made")
    with pytest.raises(ValueError, match="extension_level was -1, now 0"):
        grow_forest(folder, ForestConfig(**FEW, extension_level=0), name="made")
    append_features(folder, object_id, vectors[:, :2], replace=True)
    with pytest.raises(ValueError, match="made anew"):
        grow_forest(folder, ForestConfig(**FEW), name="made")
    grow_forest(folder, ForestConfig(**FEW), name="made", replace=True)
    assert_array_equal(scores(folder, object_id), forest_of(folder).score(vectors[:, :2]))


def test_a_level_beyond_the_vectors_and_a_set_of_one_leave_nothing_behind(folder, made, tmp_path):
    with pytest.raises(ValueError, match="extension_level must be from -1 to 4"):
        grow_forest(folder, ForestConfig(**FEW, extension_level=5), name="made")
    append_features(tmp_path / "one", *(each[:1] for each in drawn(made)))
    with pytest.raises(ValueError, match="has 1 objects"):
        grow_forest(tmp_path / "one", ForestConfig(**FEW), name="made")
    assert not (folder / "forests").exists()
    assert not (tmp_path / "one" / "forests").exists()


def test_a_feature_set_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="features/made is not complete"):
        grow_forest(tmp_path, ForestConfig(features="made"), name="made")


@pytest.mark.parametrize(
    "options", [{"n_trees": 0}, {"sample_size": 1}, {"extension_level": -2}, {"max_depth": -1}, {"n_threads": -1}]
)
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be at least"):
        ForestConfig(features="made", **options)


def test_vectors_that_are_all_the_same_are_refused(tmp_path, made):
    append_features(tmp_path, np.arange(50), np.ones((50, 3), np.float32))
    with pytest.raises(ValueError, match=r"all 50 objects drawn of features/made have the same vector"):
        grow_forest(tmp_path, ForestConfig(**FEW), name="made")
    assert not (tmp_path / "forests").exists()
