from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from peculiar.checkpoint import load_tensors
from peculiar.maps.pixels import fit_pixels
from peculiar.maps.placing import map_quality, place
from peculiar.maps.projection import project
from peculiar.ranking import Ranking
from peculiar.run import begin, finish, read_run
from peculiar.stages.map import MapConfig, make_map
from peculiar.survey import Survey, Table

PCA = {"of": "made", "method": "pca"}


@dataclass(frozen=True, kw_only=True)
class Told:
    source: str = "test"


def add_features(folder, object_id, vectors, name="made"):
    """Append rows to a feature set, as its stage would."""
    home = folder / "features" / name
    run = begin(home, "features", Told(), inputs={})
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    batch = pa.record_batch({"object_id": object_id, "vector": column})
    Table(home / "table.lance").append_in_commits([batch], batch.schema, n_rows=1_000)
    finish(home, run)


def vectors_of(n, seed=0):
    return (np.random.default_rng(seed).normal(size=(n, 5)) * [9, 4, 1, 1, 1]).astype(np.float32)


@pytest.fixture
def atlas(tmp_path, made):
    """An atlas with nothing but a feature set of 64 objects."""
    add_features(tmp_path / "atlas", made.ids(64), vectors_of(64))
    return tmp_path / "atlas"


def mapped(folder, name="m"):
    """Rows of the map by ascending id: id, places, is_fitted."""
    rows = Table(folder / "maps" / name / "table.lance")
    rows = rows.take(np.sort(rows.object_ids()))
    places = np.stack([rows["map_x"].to_numpy(), rows["map_y"].to_numpy()], axis=1)
    return rows["object_id"].to_numpy(), places, rows["is_fitted"].to_numpy(zero_copy_only=False)


def rows_of(object_id, wanted):
    """Where the wanted ids stand in `object_id`."""
    order = np.argsort(object_id)
    return order[np.searchsorted(object_id, wanted, sorter=order)]


@contextmanager
def pulled(description, total):
    """A track that stops the stage while it is placing."""

    def advance(n):
        if description == "placing" and n:
            raise KeyboardInterrupt

    yield advance


# --- of features


def test_all_objects_are_fitted_where_there_are_few(atlas, made):
    run = make_map(atlas, MapConfig(**PCA), name="m")
    object_id, places, is_fitted = mapped(atlas)
    assert_array_equal(object_id, np.sort(made.ids(64)))
    assert is_fitted.all()
    assert_allclose(places, project(vectors_of(64), "pca")[rows_of(made.ids(64), object_id)], rtol=1e-4, atol=1e-4)
    assert (run.outputs["n_objects"], run.outputs["n_fitted"], run.outputs["n_without_vector"]) == (64, 64, 0)
    assert run.outputs["quality"] == {}  # nothing is ranked
    assert "variance_kept" not in run.outputs


def test_those_beyond_the_sample_are_placed_among_it(atlas, made):
    make_map(atlas, MapConfig(n_objects=20, n_neighbors=3, **PCA), name="m")
    object_id, places, is_fitted = mapped(atlas)
    assert_array_equal(object_id[is_fitted], np.sort(Table(atlas / "features/made/table.lance").sample(20, seed=0)))
    vectors = vectors_of(64)[rows_of(made.ids(64), object_id)]
    expected = place(vectors[~is_fitted], vectors[is_fitted], places[is_fitted], n_neighbors=3)
    assert_array_equal(places[~is_fitted], expected)


def test_the_map_does_not_depend_on_the_order_of_rows(tmp_path, atlas, made):
    order = np.random.default_rng(1).permutation(64)
    add_features(tmp_path / "other", made.ids(64)[order], vectors_of(64)[order])
    config = MapConfig(of="made", method="som", n_objects=30)
    for folder in (atlas, tmp_path / "other"):
        make_map(folder, config, name="m")
    for one, other in zip(mapped(atlas), mapped(tmp_path / "other"), strict=True):
        assert_array_equal(one, other)


def test_new_objects_move_nothing_and_a_copy_is_put_on_its_original(atlas, made):
    config = MapConfig(n_objects=30, **PCA)
    make_map(atlas, config, name="m")
    before = mapped(atlas)
    kept = (atlas / "maps/m/fitted.safetensors").read_bytes()
    new = np.concatenate([vectors_of(4, seed=2) + 40, vectors_of(64)[rows_of(made.ids(64), before[0][before[2]][:1])]])
    add_features(atlas, np.arange(100, 105), new)
    run = make_map(atlas, config, name="m")
    object_id, places, is_fitted = mapped(atlas)
    is_old = np.isin(object_id, before[0])
    for one, other in zip(before, (object_id, places, is_fitted), strict=True):
        assert_array_equal(one, other[is_old])
    assert_array_equal(object_id[~is_old], np.arange(100, 105))
    assert not is_fitted[~is_old].any()
    assert_array_equal(places[object_id == 104][0], before[1][before[2]][0])
    assert (run.outputs["n_objects"], run.outputs["n_fitted"]) == (69, 30)
    assert (atlas / "maps/m/fitted.safetensors").read_bytes() == kept


def test_objects_without_a_finite_vector_are_left_out_and_counted(tmp_path, made):
    vectors = vectors_of(64)
    vectors[[3, 8], [0, 2]] = np.nan, np.inf
    add_features(tmp_path, made.ids(64), vectors)
    run = make_map(tmp_path, MapConfig(**PCA), name="all")
    assert not np.isin(made.ids(64)[[3, 8]], mapped(tmp_path, "all")[0]).any()
    assert (run.outputs["n_objects"], run.outputs["n_fitted"], run.outputs["n_without_vector"]) == (62, 62, 2)
    run = make_map(tmp_path, MapConfig(n_objects=20, **PCA), name="few")
    assert (run.outputs["n_objects"], run.outputs["n_without_vector"]) == (62, 2)
    assert np.isfinite(mapped(tmp_path, "few")[1]).all()


# --- of pixels


@pytest.mark.parametrize("of", ["pixels", "residual-pixels"])
def test_a_map_of_images_is_of_their_principal_components(copy, ranked, of):
    folder = copy(ranked)
    ranking = Ranking(folder)
    read = Survey(folder / "survey/table.lance").images if of == "pixels" else ranking.residuals
    run = make_map(folder, MapConfig(of=of, method="pca"), name="m")
    object_id, places, _ = mapped(folder)
    assert_array_equal(object_id, np.sort(ranking.object_ids))
    components = fit_pixels(read(object_id))
    expected = project(components.transform(read(object_id)), "pca")
    # The sign of a component is arbitrary where its largest loadings are nearly equal.
    assert_allclose(np.abs(places), np.abs(expected), rtol=1e-3, atol=1e-3)
    assert run.outputs["variance_kept"] == pytest.approx(components.variance_kept, abs=1e-3)
    assert run.outputs["n_components"] == 63
    tensors, metadata = load_tensors(folder / "maps/m/pca.safetensors")
    assert metadata["n_images"] == 64
    assert_array_equal(tensors["mean"].numpy(), components.mean)


def test_the_map_is_judged_by_the_scores_of_the_ranking(copy, ranked):
    folder = copy(ranked)
    run = make_map(folder, MapConfig(of="pixels", method="pca"), name="m")
    object_id, places, _ = mapped(folder)
    ranking = Ranking(folder)
    for name in ("score_disc", "score_anom"):
        expected = map_quality(places, ranking.column(name)[rows_of(ranking.object_ids, object_id)])
        assert run.outputs["quality"][name] == pytest.approx(expected)
    few = make_map(folder, MapConfig(of="pixels", method="pca", n_objects=20), name="few")
    assert few.outputs["quality"] == {"score_disc": None, "score_anom": None}  # too few to say


def test_new_images_are_placed_with_the_old_components(copy, ranked, made, tmp_path):
    from peculiar import Atlas

    folder = copy(ranked)
    config = MapConfig(of="pixels", method="pca")
    make_map(folder, config, name="m")
    old, kept = mapped(folder), (folder / "maps/m/pca.safetensors").read_bytes()
    made.write(tmp_path / "more", 255 - made.images(3, seed=9), [f"new{each}.png" for each in range(3)])
    Atlas(folder).ingest(tmp_path / "more")
    make_map(folder, config, name="m")
    object_id, places, is_fitted = mapped(folder)
    is_old = np.isin(object_id, old[0])
    assert (len(object_id), is_fitted.sum()) == (67, 64)
    assert_array_equal(places[is_old], old[1])
    assert (folder / "maps/m/pca.safetensors").read_bytes() == kept


# --- interruption, replacement, refusals


def test_a_stage_that_was_stopped_goes_on_to_the_same_map(atlas, tmp_path, made):
    config = MapConfig(of="made", method="som", n_objects=30)
    with pytest.raises(KeyboardInterrupt):
        make_map(atlas, config, name="m", track=pulled)
    assert read_run(atlas / "maps/m") is None
    kept = (atlas / "maps/m/fitted.safetensors").read_bytes()
    make_map(atlas, config, name="m")
    assert (atlas / "maps/m/fitted.safetensors").read_bytes() == kept
    expected = mapped(atlas)
    table = Table(atlas / "maps/m/table.lance")
    table.open().delete(f"object_id IN ({','.join(map(str, table.object_ids()[::3]))})")  # as if a kill had lost them
    make_map(atlas, config, name="m")
    make_map(atlas, config, name="whole")
    for one, other, third in zip(expected, mapped(atlas), mapped(atlas, "whole"), strict=True):
        assert_array_equal(one, other)
        assert_array_equal(one, third)


def test_a_map_of_vectors_that_were_made_anew_is_refused(atlas, made):
    make_map(atlas, MapConfig(**PCA), name="m")
    home = atlas / "features" / "made"
    begin(home, "features", Told(), inputs={}, replace=True)
    add_features(atlas, made.ids(64), vectors_of(64, seed=5))
    with pytest.raises(ValueError, match="maps what was made anew since; map again with --replace"):
        make_map(atlas, MapConfig(**PCA), name="m")
    make_map(atlas, MapConfig(**PCA), name="m", replace=True)
    object_id, places, _ = mapped(atlas)
    expected = project(vectors_of(64, seed=5), "pca")[rows_of(made.ids(64), object_id)]
    assert_allclose(places, expected, rtol=1e-4, atol=1e-4)


def test_too_few_objects_are_refused_before_anything_is_begun(tmp_path, made):
    add_features(tmp_path, made.ids(64)[:9], vectors_of(9))
    with pytest.raises(ValueError, match="a pca map needs 10 objects or more, got 9"):
        make_map(tmp_path, MapConfig(**PCA), name="m")
    assert not (tmp_path / "maps").exists()
    add_features(tmp_path, made.ids(64)[9:], vectors_of(55))
    with pytest.raises(ValueError, match="needs 91 objects or more, got 64 with perplexity = 30"):
        make_map(tmp_path, MapConfig(of="made", method="tsne"), name="m")
    assert make_map(tmp_path, MapConfig(of="made", method="tsne", perplexity=5.0), name="m").outputs["n_fitted"] == 64


def test_what_is_not_there_is_refused_naming_what_is(atlas):
    with pytest.raises(FileNotFoundError, match=r"features/other is not complete .*\(there: made\)"):
        make_map(atlas, MapConfig(of="other"), name="m")
    with pytest.raises(ValueError, match="of must name a feature set, or be pixels or residual-pixels"):
        make_map(atlas, MapConfig(), name="m")
    with pytest.raises(FileNotFoundError, match="rankings/main is not complete"):
        make_map(atlas, MapConfig(of="residual-pixels"), name="m")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_neighbors": 1}, "n_neighbors must be 2 or more, got 1"),
        ({"n_objects": 9}, "n_objects must be 10 or more, got 9"),
        ({"perplexity": 0.5}, r"perplexity must be 1 or more, got 0\.5"),
        ({"min_dist": 1.5}, r"min_dist must be from 0 to 1, got 1\.5"),
        ({"method": "mds"}, "method must be one of umap, tsne, som, pca, got 'mds'"),
    ],
)
def test_a_value_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MapConfig(**options)


@pytest.mark.parametrize("number", [1.0, np.nan])
def test_vectors_that_say_nothing_are_refused_before_anything_is_begun(tmp_path, made, number):
    add_features(tmp_path, np.arange(60), np.full((60, 4), number, np.float32))
    with pytest.raises(ValueError, match=r"of 60 drawn to be laid out by .*; look at what made them"):
        make_map(tmp_path, MapConfig(of="made", method="pca"), name="it")
    assert not (tmp_path / "maps").exists()
