import shutil
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from astropy.table import MaskedColumn
from astropy.table import Table as AstropyTable
from numpy.testing import assert_allclose, assert_array_equal

from peculiar import Atlas
from peculiar.checkpoint import TrainingFolder, file_digest, load_network
from peculiar.feature_set import FeatureSet
from peculiar.networks.autoencoder import Autoencoder
from peculiar.networks.gan import Critic
from peculiar.ranking import Ranking
from peculiar.run import read_run, read_started
from peculiar.sky.pixels import to_network
from peculiar.stages.features import FeaturesConfig, make_features
from peculiar.stages.train_autoencoder import TrainAutoencoderConfig, train_autoencoder
from peculiar.survey import Table

SMALL = {"width": 8, "n_features": 3, "batch_size": 8, "save_every": 2, "n_steps": 4}
NETWORKS = {"residual": "autoencoder-residual", "image": "autoencoder-image"}


def make(folder, name="set", *, replace=False, **options):
    return make_features(folder, FeaturesConfig(**options), name=name, replace=replace)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory, ranked):
    """An atlas with both autoencoders. Not to be changed."""
    folder = shutil.copytree(ranked, tmp_path_factory.mktemp("encoded") / "atlas")
    for of, name in NETWORKS.items():
        train_autoencoder(folder, TrainAutoencoderConfig(of=of, **SMALL), name=name)
    return folder


def autoencoder_of(folder, of, step=0):
    path = TrainingFolder(folder / "networks" / NETWORKS[of]).checkpoint_path(step)
    return path, load_network(path, "autoencoder", Autoencoder)


# --- autoencoders


@pytest.mark.parametrize("of", ["residual", "image"])
def test_vectors_and_scores_are_the_autoencoders_of_each_object_alone(copy, encoded, inputs, of):
    folder = copy(encoded)
    run = make(folder, network=NETWORKS[of])
    opened = FeatureSet(folder, "set")
    chosen = inputs.object_id[[40, 3, 1, 63, 0]]
    images = Ranking(folder).residuals(chosen) if of == "residual" else opened_images(folder, chosen)
    path, network = autoencoder_of(folder, of)
    given = torch.from_numpy(to_network(images))
    assert_allclose(
        opened.take(chosen), torch.cat([network.encode(each[None]) for each in given]), rtol=1e-4, atol=1e-5
    )
    expected = [(network(each[None]) - each).abs().sum() for each in given]
    scores = opened.table.take(chosen, ["score_autoencoder"])["score_autoencoder"].to_numpy()
    assert_allclose(scores, expected, rtol=1e-4)
    assert sorted(opened.table.object_ids()) == sorted(inputs.object_id)
    assert np.ptp(opened.whole()[1], axis=0).max() > 1e-3  # they tell objects apart
    assert run.outputs["kind"] == "autoencoder"
    assert (run.outputs["n_features"], run.outputs["n_objects"], run.outputs["n_missing"]) == (3, 64, 0)
    digest = file_digest(path)
    place = f"networks/{NETWORKS[of]}/checkpoints/00000004.safetensors"
    assert run.outputs["provenance"] == {"network": place, "digest": digest, "of": of}
    assert ("gan" in run.inputs) == (of == "residual")


def opened_images(folder, object_ids):
    return Ranking(folder).survey.images(object_ids)


def test_a_vector_does_not_depend_on_what_it_is_computed_beside(copy, encoded, inputs):
    folder = copy(encoded)
    make(folder)
    table = Table(folder / "features" / "set" / "table.lance")
    before = table.take(inputs.object_id)
    dropped = inputs.object_id[[2, 17, 40, 41, 62]]
    table.open().delete(f"object_id IN ({','.join(map(str, dropped))})")
    assert len(table) == 59
    assert make(folder).outputs["n_objects"] == 64
    after = table.take(inputs.object_id)
    for name in ("vector", "score_autoencoder"):
        old, new = (np.array(each[name].to_pylist()) for each in (before, after))
        assert_allclose(new, old, rtol=1e-5, atol=1e-5)


def test_features_that_were_killed_go_on_to_the_same_table(copy, encoded, inputs, made):
    folder = copy(encoded)
    whole = shutil.copytree(encoded, folder.parent / "whole")
    code = """
        import os, signal, sys
        from contextlib import contextmanager
        from pathlib import Path
        from peculiar.stages import features

        features.SCAN_ROWS = features.COMMIT_ROWS = 8

        @contextmanager
        def track(description, total):
            done = []
            def advance(n):
                done.append(n)
                if sum(done) >= 32:
                    os.kill(os.getpid(), signal.SIGKILL)
            yield advance

        features.make_features(Path(sys.argv[1]), features.FeaturesConfig(), name="set", track=track)
    """
    made.python(code, folder, expect=-9)
    home = folder / "features" / "set"
    assert 0 < len(Table(home / "table.lance")) < 64
    assert (read_run(home), read_started(home).stage) == (None, "features")
    with pytest.raises(FileNotFoundError, match="features/set is not complete"):
        FeatureSet(folder, "set")
    assert make(folder).outputs["n_objects"] == 64
    make(whole)
    found, expected = (FeatureSet(each, "set").take(inputs.object_id) for each in (folder, whole))
    assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_new_objects_get_vectors_once_they_are_scored_and_the_old_rows_stay(copy, encoded, made, tmp_path):
    folder = copy(encoded)
    make(folder)
    old = Table(folder / "features" / "set" / "table.lance").open().to_table()
    made.write(tmp_path / "more", made.images(5, seed=9), [f"new{each}.png" for each in range(5)])
    Atlas(folder).ingest(tmp_path / "more")
    with pytest.raises(
        ValueError, match=r'5 objects of the survey have no latent in scores/main, .*run "peculiar score"'
    ):
        make(folder)
    assert FeatureSet(folder, "set").run.outputs["n_objects"] == 64  # what was complete still is
    Atlas(folder).score()
    assert make(folder).outputs["n_objects"] == 69
    table = Table(folder / "features" / "set" / "table.lance")
    assert table.take(old["object_id"].to_numpy()).equals(old)


def test_vectors_of_two_networks_never_stand_in_one_set(copy, encoded):
    folder = copy(encoded)
    make(folder)
    train_autoencoder(folder, TrainAutoencoderConfig(**(SMALL | {"n_steps": 6})))
    with pytest.raises(ValueError, match=r"was made by another network than is there now; .*--replace"):
        make(folder)
    assert make(folder, replace=True).outputs["n_objects"] == 64
    early = make(folder, "early", checkpoint=2)
    assert early.outputs["provenance"]["network"].endswith("00000002.safetensors")
    assert not np.allclose(*(FeatureSet(folder, each).whole()[1] for each in ("set", "early")))


def test_residuals_of_another_generator_are_refused(copy, encoded):
    folder = copy(encoded)
    atlas = Atlas(folder)
    atlas.train_gan(n_steps=6)
    atlas.score(replace=True, n_latent_steps=1)
    with pytest.raises(ValueError, match=r"was trained on residuals of generator .* train the autoencoder again"):
        make(folder)
    assert make(folder, network=NETWORKS["image"]).outputs["n_objects"] == 64


def test_what_is_needed_first_is_said(copy, ingested):
    folder = copy(ingested)
    with pytest.raises(
        FileNotFoundError, match='autoencoder-residual is not complete; run "peculiar train-autoencoder"'
    ):
        make(folder)
    with pytest.raises(FileNotFoundError, match=r'scores/main is not complete in .*; run "peculiar score" first'):
        make(folder, source="critic")
    assert not (folder / "features").exists()


# --- the critic


def test_the_critics_vector_is_the_mean_of_its_last_convolution_over_places(copy, ranked, inputs):
    folder = copy(ranked)
    run = make(folder, source="critic")
    opened = FeatureSet(folder, "set")
    path = TrainingFolder(folder / "networks" / "gan").checkpoint_path()
    features = load_network(path, "critic", Critic).features(torch.from_numpy(to_network(inputs.images)))
    assert features.shape == (64, 16, 2, 2)
    expected = features.numpy().reshape(64, 16, 4).sum(axis=2) / 4
    assert_allclose(opened.take(inputs.object_id), expected, rtol=1e-4, atol=1e-6)
    assert opened.table.schema.names == ["object_id", "vector"]
    assert (run.outputs["kind"], opened.n_features) == ("critic", 16)
    assert run.outputs["provenance"]["digest"] == run.inputs["gan"] == file_digest(path)


# --- tables


@pytest.fixture
def given(inputs):
    """Vectors of 60 objects in another order, one of them NaN, and of two that the survey does not have."""
    random = np.random.default_rng(1)
    object_id = np.concatenate([random.permutation(inputs.object_id)[:60], [7, 8]])
    vectors = random.normal(size=(62, 5)).astype(np.float32)
    vectors[11] = np.nan
    return SimpleNamespace(object_id=object_id, vectors=vectors)


def write_vectors(folder, kind, given):
    path = folder / f"vectors.{kind.split('-')[-1]}"
    columns = {f"f{each}": given.vectors[:, each] for each in range(5)}
    text = np.array([f"object {each}" for each in given.object_id])
    if kind == "list-parquet":
        pq.write_table(pa.table({"vector": list(given.vectors), "object_id": given.object_id, "note": text}), path)
    elif kind == "columns-parquet":
        pq.write_table(pa.table({**columns, "object_id": given.object_id.astype(str), "note": text}), path)
    elif kind == "npz":
        np.savez(path, object_id=given.object_id, vectors=given.vectors.astype(np.float64), note=text, seed=3)
    elif kind == "list-fits":
        AstropyTable({"object_id": given.object_id, "vector": given.vectors, "note": text}).write(path)
    else:
        AstropyTable({"object_id": given.object_id, **columns}).write(path)
    return path


@pytest.mark.parametrize("kind", ["list-parquet", "columns-parquet", "npz", "list-fits", "columns-fits"])
def test_a_tables_vectors_are_joined_by_id(copy, ingested, tmp_path, inputs, given, kind):
    folder, path = copy(ingested), write_vectors(tmp_path, kind, given)
    run = make(folder, source="table", table=path)
    opened = FeatureSet(folder, "set")
    assert_array_equal(opened.take(given.object_id[:60]), given.vectors[:60])  # NaN as it is
    assert len(opened) == 60
    with pytest.raises(KeyError, match="no object"):
        opened.take(np.setdiff1d(inputs.object_id, given.object_id))
    assert (run.outputs["kind"], run.outputs["n_features"], run.outputs["n_missing"]) == ("table", 5, 4)
    expected = {"table": str(path), "digest": file_digest(path), "n_rows": 62, "n_unknown": 2}
    assert run.outputs["provenance"].items() >= expected.items()
    assert run.outputs["provenance"]["columns"][0] in ("vector", "vectors", "f0")


def test_a_table_in_several_batches_is_the_same_and_goes_on(copy, ingested, tmp_path, given, monkeypatch):
    from peculiar.io import vectors

    monkeypatch.setattr(vectors, "ROWS_AT_ONCE", 7)
    folder, path = copy(ingested), write_vectors(tmp_path, "list-parquet", given)
    make(folder, source="table", table=path)
    table = Table(folder / "features" / "set" / "table.lance")
    table.open().delete(f"object_id IN ({','.join(map(str, given.object_id[[3, 30, 59]]))})")
    make(folder, source="table", table=path)
    assert len(table) == 60
    assert_array_equal(FeatureSet(folder, "set").take(given.object_id[:60]), given.vectors[:60])


def test_nulls_are_nan(copy, ingested, tmp_path, inputs):
    ids = inputs.object_id[:3]
    vectors = pa.array([[1.0, None], None, [3.0, 4.0]], pa.list_(pa.float64()))
    pq.write_table(pa.table({"object_id": ids, "vector": vectors}), tmp_path / "a.parquet")
    masked = AstropyTable({"object_id": ids, "n": MaskedColumn([5, 6, 7], mask=[False, True, False])})
    masked.write(tmp_path / "b.fits")
    folder = copy(ingested)
    for name in ("a.parquet", "b.fits"):
        make(folder, name[0], source="table", table=tmp_path / name)
    nan = np.nan
    assert_array_equal(FeatureSet(folder, "a").take(ids), [[1, nan], [nan, nan], [3, 4]])
    assert_array_equal(FeatureSet(folder, "b").take(ids), [[5], [nan], [7]])


def refused(columns, message, error=ValueError, **options):
    return pytest.param(columns, message, error, options, id=message[:20])


IDS = pa.array([-5, 1, 2])
ONES = pa.array([1.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("columns", "message", "error", "options"),
    [
        refused(
            {"object_id": pa.array([-5.0, 1.0, 2.0]), "f": ONES}, "holds ids as double, which cannot hold 17 digits"
        ),
        refused({"name": IDS, "f": ONES}, "has no column 'object_id' of ids; give --id-column, one of: name, f"),
        refused({"object_id": IDS, "f": ONES}, "has no column 'nr' of ids", id_column="nr"),
        refused({"object_id": pa.array([10, 11, 12]), "f": ONES}, "no row of .* belongs to an object of the survey"),
        refused({"object_id": pa.array([-5, -5, 2]), "f": ONES}, "has object -5 more than once; leave one row"),
        refused({"object_id": IDS, "note": pa.array(["a", "b", "c"])}, "considered are lists: none; numbers: none"),
        refused({"object_id": IDS, "a": [[1.0]] * 3, "b": [[1.0]] * 3}, "must have one column of lists.* lists: a, b"),
        refused(
            {"object_id": IDS, "a": [[1.0], [1.0, 2.0], [1.0]]}, r"has vectors of \[1, 2\] numbers; make them equal"
        ),
    ],
)
def test_a_table_that_does_not_fit_is_refused(copy, ingested, tmp_path, columns, message, error, options):
    folder = copy(ingested)
    pq.write_table(pa.table(columns), tmp_path / "vectors.parquet")
    with pytest.raises(error, match=message):
        make(folder, source="table", table=tmp_path / "vectors.parquet", **options)
    assert not (folder / "features").exists()


def test_another_column_can_hold_the_ids(copy, ingested, tmp_path):
    folder = copy(ingested)
    pq.write_table(pa.table({"nr": IDS, "f": ONES}), tmp_path / "vectors.parquet")
    run = make(folder, source="table", table=tmp_path / "vectors.parquet", id_column="nr")
    assert (run.outputs["n_objects"], run.outputs["n_features"]) == (1, 1)


def test_pickles_are_never_opened(copy, ingested, tmp_path, inputs):
    folder = copy(ingested)
    np.savez(tmp_path / "vectors.npz", object_id=inputs.object_id, vectors=np.array([{}] * 64, object))
    with pytest.raises(ValueError, match=r"cannot be read as a table of vectors: .*pickle"):
        make(folder, source="table", table=tmp_path / "vectors.npz")
    for path in (tmp_path, tmp_path / "vectors.pickle"):
        with pytest.raises(ValueError, match=r"table of vectors must end in \.parquet \.csv"):
            make(folder, source="table", table=path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        make(folder, source="table", table=tmp_path / "absent.npz")


def test_a_table_that_has_changed_is_refused(copy, ingested, tmp_path, given):
    folder, path = copy(ingested), write_vectors(tmp_path, "npz", given)
    make(folder, source="table", table=path)
    given.vectors[0] += 1
    write_vectors(tmp_path, "npz", given)
    message = f"has other vectors than .* was made of: of object {given.object_id[0]}; .*--replace"
    with pytest.raises(ValueError, match=message):
        make(folder, source="table", table=path)
    with pytest.raises(ValueError, match="source was 'table', now 'critic'"):
        make_critic(folder)


def test_a_table_may_grow(copy, ingested, tmp_path, given, inputs):
    folder, path = copy(ingested), write_vectors(tmp_path, "npz", given)
    make(folder, source="table", table=path)
    absent = np.setdiff1d(inputs.object_id, given.object_id)
    grown = SimpleNamespace(
        object_id=np.append(given.object_id, absent), vectors=np.vstack([given.vectors, np.ones((4, 5))])
    )
    write_vectors(tmp_path, "npz", grown)
    run = make(folder, source="table", table=path)
    assert (run.outputs["n_objects"], run.outputs["n_missing"]) == (64, 0)
    assert_array_equal(FeatureSet(folder, "set").take(absent), np.ones((4, 5)))


@pytest.mark.parametrize("name", ["a.npz", "a.fits", "a.parquet"])
def test_a_damaged_table_is_refused_by_name(copy, ingested, tmp_path, inputs, name):
    folder, path = copy(ingested), tmp_path / name
    table = AstropyTable({"object_id": inputs.object_id, "vector": np.ones((64, 3), np.float32)})
    np.savez(path, **dict(table.columns)) if name.endswith("npz") else table.write(path)
    for kept in (0, 40, path.stat().st_size // 2):
        path.write_bytes(path.read_bytes()[:kept] or b"")
        with pytest.raises(ValueError, match=f"{name} (cannot be read|has no column)"):
            make(folder, source="table", table=path)
    assert not (folder / "features").exists()


def test_positions_are_no_features_and_columns_can_be_named(copy, ingested, tmp_path, inputs):
    folder, path = copy(ingested), tmp_path / "a.csv"
    rows = [f"{each},10.5,-3.25,{place},{2 * place}" for place, each in enumerate(inputs.object_id)]
    path.write_text("\n".join(["object_id,ra,dec,a,b", *rows]))
    make(folder, "all", source="table", table=path)
    make(folder, "two", source="table", table=path, columns=("b", "ra"))
    assert_array_equal(FeatureSet(folder, "all").take(inputs.object_id[3:4]), [[3, 6]])
    assert_array_equal(FeatureSet(folder, "two").take(inputs.object_id[3:4]), [[6, 10.5]])
    with pytest.raises(ValueError, match="has no column c; it has object_id, ra, dec, a, b"):
        make(folder, "c", source="table", table=path, columns=("c",))


def test_nulls_alone_in_a_batch_and_numbers_too_large_are_kept_as_what_they_are(
    copy, ingested, tmp_path, inputs, monkeypatch
):
    from peculiar.io import vectors

    monkeypatch.setattr(vectors, "ROWS_AT_ONCE", 2)
    column = pa.array([None, None, [1.0, 1e300], [2.0, 3.0]], pa.list_(pa.float64()))
    pq.write_table(pa.table({"object_id": inputs.object_id[:4], "vector": column}), tmp_path / "a.parquet")
    folder = copy(ingested)
    make(folder, source="table", table=tmp_path / "a.parquet")
    nan = np.nan
    assert_array_equal(
        FeatureSet(folder, "set").take(inputs.object_id[:4]), [[nan] * 2, [nan] * 2, [1, np.inf], [2, 3]]
    )


def test_a_table_without_its_source_is_refused():
    with pytest.raises(ValueError, match="given by source"):
        FeaturesConfig(table="vectors.npz")


def make_critic(folder):
    Atlas(folder).train_gan(width=2, batch_size=8, n_latent=4, n_steps=1)
    Atlas(folder).train_encoder(width=2, batch_size=8, n_steps=1)
    Atlas(folder).score(n_latent_steps=0)
    return make(folder, source="critic")
