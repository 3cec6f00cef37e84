import shutil

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from peculiar import Atlas
from peculiar.checkpoint import TrainingFolder, load_network, load_tensors
from peculiar.networks.contrastive import ContrastiveEncoder
from peculiar.run import read_run, read_started
from peculiar.sky.pixels import to_network
from peculiar.stages.train_features import PRESETS, TrainFeaturesConfig, train_features

SMALL = {"width": 2, "n_features": 5, "side": 16, "batch_size": 16, "n_steps": 4, "save_every": 2}
HOME = "networks/self-supervised"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, ingested):
    """An atlas with self-supervised features. Not to be changed."""
    folder = shutil.copytree(ingested, tmp_path_factory.mktemp("features") / "atlas")
    train_features(folder, TrainFeaturesConfig(**SMALL))
    Atlas(folder).make_features("self-supervised")
    return folder


def test_vectors_are_the_networks_of_each_object_alone(trained, inputs):
    opened = Atlas(trained).features("self-supervised")
    assert (len(opened), opened.n_features, opened.run.outputs["kind"]) == (64, 10, "self-supervised")
    path = TrainingFolder(trained / HOME).checkpoint_path()
    network = load_network(path, "encoder", ContrastiveEncoder)
    chosen = [40, 3, 63]
    with torch.no_grad():
        expected = [network.features(torch.from_numpy(to_network(inputs.images[[each]]))) for each in chosen]
    assert_allclose(opened.take(inputs.object_id[chosen]), torch.cat(expected), rtol=1e-4, atol=1e-4)


def test_training_that_was_killed_goes_on_to_the_same_weights_and_components(copy, ingested, trained, made):
    killed = copy(ingested)
    made.kill(3, killed, "train_features", SMALL)
    assert TrainingFolder(killed / HOME).steps() == [2]
    assert (read_run(killed / HOME), read_started(killed / HOME).stage) == (None, "train-features")
    train_features(killed, TrainFeaturesConfig(**SMALL))
    found, expected = (load_tensors(TrainingFolder(each / HOME).checkpoint_path())[0] for each in (killed, trained))
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []
    assert found["encoder.components"].any()


def test_run_again_nothing_changes_even_after_objects_came(copy, trained, made, tmp_path):
    folder = copy(trained)
    digest = read_run(folder / HOME).outputs["digest"]
    made.write(tmp_path / "more", made.images(5, seed=8), [f"new{each}.png" for each in range(5)])
    Atlas(folder).ingest(tmp_path / "more")
    assert train_features(folder, TrainFeaturesConfig(**SMALL)).outputs["digest"] == digest
    run = Atlas(folder).make_features("self-supervised")
    assert run.outputs["n_objects"] == 69


def test_training_on_freezes_components_anew_and_old_features_are_stale(copy, trained):
    folder = copy(trained)
    run = train_features(folder, TrainFeaturesConfig(**SMALL | {"n_steps": 6}))
    assert run.outputs["step"] == 6
    states = {each.folder: each for each in Atlas(folder).status()}
    assert states["features/self-supervised"].state == "stale"
    with pytest.raises(ValueError, match="--replace"):
        Atlas(folder).make_features("self-supervised")
    with pytest.raises(ValueError, match="from the middle of a training"):
        Atlas(folder).make_features("self-supervised", checkpoint=2, replace=True)


def test_similar_to_an_image_from_outside_finds_itself_first(trained, inputs, tmp_path):
    atlas = Atlas(trained)
    found = atlas.similar(images=inputs.images[9], n=3)
    assert found["object_id"][0] == inputs.object_id[9]
    assert found["distance"][0] == pytest.approx(0, abs=0.01)
    Image.fromarray(inputs.images[9]).save(tmp_path / "other.png")
    again = atlas.similar(images=tmp_path / "other.png", n=3)
    assert_array_equal(again["object_id"], found["object_id"])
    group = atlas.similar(images=inputs.images[:4], n=3)
    assert np.isfinite(group["distance"]).all()
    assert found.meta["features"] == "self-supervised"


def test_an_image_of_another_size_is_refused_with_the_reason(trained, tmp_path):
    Image.fromarray(np.arange(7500, dtype=np.uint8).reshape(50, 50, 3)).save(tmp_path / "large.png")
    with pytest.raises(ValueError, match=r"large\.png is not like the survey's images: .*32"):
        Atlas(trained).similar(images=tmp_path / "large.png")
    assert len(Atlas(trained).similar(images=tmp_path / "large.png", n=3, fit="resample")) == 3
    with pytest.raises(ValueError, match="must be uint8"):
        Atlas(trained).similar(images=np.zeros((1, 32, 32, 3)))
    with pytest.raises(ValueError, match="objects of the survey, or images from outside"):
        Atlas(trained).similar()


def test_too_few_images_are_refused_before_anything_is_made(tmp_path, made):
    made.write(tmp_path / "in", made.images(8), made.names(8))
    atlas = Atlas(tmp_path / "atlas")
    atlas.ingest(tmp_path / "in")
    with pytest.raises(ValueError, match=r"32 images or more, and .* has 8"):
        atlas.train_features()
    assert not (tmp_path / "atlas" / "networks").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"side": 20}, "side must be a multiple of 8, 16 or more, got 20"),
        ({"n_features": 200}, "n_features must be at most 8 times the width, 192, got 200"),
        ({"zoom": (0.9, 0.5)}, "zoom must be two numbers, ascending"),
        ({"batch_size": 1}, "batch_size must be at least 2"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"noise": -1.0}, "noise must not be negative"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TrainFeaturesConfig(**options)


def test_the_presets_differ_in_size_alone():
    assert PRESETS["paper"].zoom == PRESETS["small"].zoom
    assert PRESETS["paper"].width > PRESETS["small"].width
