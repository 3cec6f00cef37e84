"""The chain: every stage that characterizes, through the command line and the Atlas, on 64 small images."""

import shutil

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from typer.testing import CliRunner

from peculiar import Atlas
from peculiar.cli import app

SMALL = ["--width", "8", "--n-features", "6", "--n-steps", "12", "--batch-size", "16", "--save-every", "6"]


def peculiar(*arguments):
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory, ranked):
    """An atlas with autoencoders, features, a forest and maps. Not to be changed."""
    folder = shutil.copytree(ranked, tmp_path_factory.mktemp("characterized") / "atlas")
    for of in ("residual", "image"):
        peculiar("train-autoencoder", folder, "--of", of, *SMALL)
        peculiar("features", folder, "--name", of)
    peculiar("features", folder, "--name", "critic")
    peculiar("forest", folder, "--n-trees", "20", "--sample-size", "32")
    peculiar("map", folder, "--method", "pca")
    return folder


def test_every_product_has_every_object(folder, inputs):
    atlas = Atlas(folder)
    for name, n_features in (("residual", 6), ("image", 6), ("critic", 16)):
        opened = atlas.features(name)
        assert (len(opened), opened.n_features) == (len(inputs.object_id), n_features)
        assert np.isfinite(opened.whole()[1]).all()
    states = {each.folder: each.state for each in atlas.status()}
    made = ["features/residual", "features/image", "features/critic", "forests/residual", "maps/residual"]
    assert {states[each] for each in made} == {"complete"}


def test_the_new_scores_stand_beside_the_others(folder):
    top = Atlas(folder).top(5, by="score_forest_residual_conditional")
    names = {"score_autoencoder_residual", "score_autoencoder_image", "score_forest_residual", "score_anom"}
    assert names | {f"{each}_sigma" for each in names} <= set(top.colnames)
    values = np.asarray(top["score_forest_residual_conditional"])
    assert_array_equal(values, np.sort(values)[::-1])
    assert "score_forest_residual" in peculiar("top", folder, "-n", "3", "--by", "score_forest_residual")


def test_similar_objects_are_the_nearest_by_hand(folder, inputs):
    atlas = Atlas(folder)
    object_id, vectors = atlas.features("image").whole()
    places = (vectors - vectors.mean(axis=0, dtype=float)) / np.maximum(vectors.std(axis=0, dtype=float), 1e-30)
    asked = int(inputs.object_id[7])
    distance = np.linalg.norm(places - places[object_id == asked], axis=1)
    nearest = object_id[np.argsort(distance, kind="stable")]
    assert_array_equal(atlas.similar(asked, 5, features="image")["object_id"], nearest[1:6])
    assert_array_equal(atlas.similar(asked, 3, features="image", is_farthest=True)["object_id"], nearest[::-1][:3])
    output = peculiar("similar", folder, inputs.names[7], "-n", "5", "--features", "image", "--figure")
    assert all(str(each) in output for each in nearest[1:6])
    assert (folder / "figures" / f"similar-{asked}-image-5.png").stat().st_size > 10_000


def test_an_object_that_is_not_there_is_named(folder):
    with pytest.raises(KeyError, match="no object with id or source '12'"):
        Atlas(folder).similar(12)


def test_new_objects_are_characterized_and_the_old_stay(folder, tmp_path, made):
    copied = shutil.copytree(folder, tmp_path / "atlas")
    atlas = Atlas(copied)
    before = dict(zip(*atlas.features("residual").whole(), strict=True))
    made.write(tmp_path / "more", made.images(5, seed=9), [f"new{each}.png" for each in range(5)])
    atlas.ingest(tmp_path / "more")
    atlas.score()
    states = {each.folder: each.state for each in atlas.status()}
    assert states["features/residual"] == states["forests/residual"] == states["maps/residual"] == "behind"
    for command in ("features", "forest", "map"):
        peculiar(command, copied)
    states = {each.folder: each.state for each in atlas.status()}
    assert states["features/residual"] == states["forests/residual"] == states["maps/residual"] == "complete"
    after = dict(zip(*atlas.features("residual").whole(), strict=True))
    assert len(after) == len(before) + 5
    assert all(np.array_equal(after[each], vector) for each, vector in before.items())


def test_one_command_does_all_and_does_nothing_twice(ranked, tmp_path):
    folder = shutil.copytree(ranked, tmp_path / "atlas")
    atlas = Atlas(folder)
    for of in ("residual", "image"):  # small ones, so that the test is quick
        atlas.train_autoencoder(of=of, width=8, n_features=6, n_steps=8, batch_size=16, save_every=8)
        atlas.make_features(of)
    for name in ("pixels", "residual-pixels", "image", "residual"):
        atlas.make_map(name, method="pca")  # umap alone compiles for ten seconds
    assert "portraits.html" in peculiar("characterize", folder)
    home = folder / "portraits" / "main"
    stems = ("anomalies", "nominals", "maps", "boxes", "map-images", "decoded-residual", "decoded-image")
    for stem in (*stems, "scores"):
        for suffix in (".png", ".pdf", "-dark.png", "-dark.pdf"):
            assert (home / f"{stem}{suffix}").stat().st_size > 5_000, stem
    assert "hint" in (folder / "clusters" / "maps-residual" / "clusters.html").read_text()
    page = (home / "portraits.html").read_text()
    assert all(f'src="{stem}.png"' in page for stem in stems)
    made = {path: path.stat().st_mtime_ns for path in folder.glob("*/*/*.safetensors")}
    ids = atlas.ranking().object_ids
    (tmp_path / "labels.csv").write_text("object_id,label\n" + "".join(f"{each},ring\n" for each in ids[:3]))
    peculiar("portray", folder, "--labels", tmp_path / "labels.csv")
    assert (home / "labels.png").stat().st_size > 5_000
    assert 'src="labels.png"' in (home / "portraits.html").read_text()
    peculiar("characterize", folder)
    assert made == {path: path.stat().st_mtime_ns for path in folder.glob("*/*/*.safetensors")}


def test_the_card_of_an_object_is_a_page_and_a_picture(folder, inputs):
    output = peculiar("card", folder, inputs.names[3])
    home = folder / "cards"
    assert str(inputs.object_id[3]) in output
    assert (home / f"{inputs.object_id[3]}.png").stat().st_size > 20_000
    assert str(inputs.object_id[3]) in (home / f"{inputs.object_id[3]}.html").read_text()
