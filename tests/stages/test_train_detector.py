import shutil

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from peculiar import Atlas
from peculiar.checkpoint import TrainingFolder, load_network, load_tensors
from peculiar.networks.foreign import Detector
from peculiar.ranking import Ranking
from peculiar.run import read_run
from peculiar.sky.pixels import to_network
from peculiar.stages import card
from peculiar.stages.train_detector import PRESETS, TrainDetectorConfig, train_detector

SMALL = {"width": 2, "side": 16, "batch_size": 16, "n_steps": 4, "save_every": 2}
HOME = "networks/detector"


@pytest.fixture(scope="module")
def detecting(tmp_path_factory, ranked):
    """A ranked atlas with a detector and its scores. Not to be changed."""
    folder = shutil.copytree(ranked, tmp_path_factory.mktemp("detector") / "atlas")
    train_detector(folder, TrainDetectorConfig(**SMALL))
    atlas = Atlas(folder)
    atlas.make_features("detector")
    atlas.relate("features/detector")
    return folder


def test_vectors_and_scores_are_the_networks_of_each_object_alone(detecting, inputs):
    opened = Atlas(detecting).features("detector")
    assert (len(opened), opened.n_features, opened.run.outputs["kind"]) == (64, 16, "detector")
    network = load_network(TrainingFolder(detecting / HOME).checkpoint_path(), "detector", Detector)
    chosen = inputs.object_id[[40, 3, 63]]
    found = Atlas(detecting).ranking().rows(chosen)["score_foreign_detector"].to_pylist()
    for place, (row, score) in enumerate(zip((40, 3, 63), found, strict=True)):
        with torch.no_grad():
            vector, expected = network.detected(torch.from_numpy(to_network(inputs.images[[row]])))
        assert_allclose(opened.take(chosen)[place], vector[0], rtol=1e-4, atol=1e-4)
        assert score == pytest.approx(expected.item(), rel=1e-4, abs=1e-4)


def test_the_score_has_every_form_and_a_meaning(detecting):
    top = Atlas(detecting).top(5, by="score_foreign_detector_conditional")
    for form in ("", "_sigma", "_robust_sigma", "_percentile", "_conditional"):
        assert np.isfinite(top[f"score_foreign_detector{form}"]).all()
    assert "foreign to the survey" in top["score_foreign_detector"].description


def test_a_card_shows_the_chances_that_the_score_is_made_of(detecting, inputs):
    """Of 2 x 2 places, all of which count: each is a quarter of the image."""
    opened = Ranking(detecting)
    chosen = inputs.object_id[[3]]
    chance = card.foreign_light(opened, opened.survey.images(chosen))
    assert chance.shape == (32, 32)
    places = chance[8::16, 8::16]
    assert_allclose(chance, np.kron(places, np.ones((16, 16))))
    odds = np.exp(np.log(places / (1 - places)).mean())
    assert odds == pytest.approx(opened.rows(chosen)["score_foreign_detector"][0].as_py(), rel=1e-3)


def test_a_card_does_without_a_detector_that_is_gone_or_another(copy, detecting, inputs, caplog):
    folder = copy(detecting)
    opened = Ranking(folder)
    image = opened.survey.images(inputs.object_id[[3]])
    path = TrainingFolder(folder / HOME).checkpoint_path()
    path.write_bytes(path.read_bytes() + b" ")
    assert card.foreign_light(opened, image) is None
    path.unlink()
    assert card.foreign_light(opened, image) is None
    assert caplog.text.count("--name detector --replace") == 2


def test_an_image_from_outside_is_searched_for_by_the_detectors_features_too(detecting, inputs):
    found = Atlas(detecting).similar(images=inputs.images[9], n=3, features="detector")
    assert found["object_id"][0] == inputs.object_id[9]


def test_training_that_was_killed_goes_on_to_the_same_weights(copy, ranked, detecting, made):
    killed = copy(ranked)
    made.kill(3, killed, "train_detector", SMALL)
    assert TrainingFolder(killed / HOME).steps() == [2]
    assert read_run(killed / HOME) is None
    train_detector(killed, TrainDetectorConfig(**SMALL))
    found, expected = (load_tensors(TrainingFolder(each / HOME).checkpoint_path())[0] for each in (killed, detecting))
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


def test_training_on_makes_the_features_stale(copy, detecting):
    folder = copy(detecting)
    assert train_detector(folder, TrainDetectorConfig(**SMALL | {"n_steps": 6})).outputs["step"] == 6
    assert {each.folder: each.state for each in Atlas(folder).status()}["features/detector"] == "stale"
    with pytest.raises(ValueError, match="--replace"):
        Atlas(folder).make_features("detector")


def test_too_few_images_are_refused_before_anything_is_made(tmp_path, made):
    made.write(tmp_path / "in", made.images(8), made.names(8))
    atlas = Atlas(tmp_path / "atlas")
    atlas.ingest(tmp_path / "in")
    with pytest.raises(ValueError, match=r"32 images or more, and .* has 8"):
        atlas.train_detector()
    assert not (tmp_path / "atlas" / "networks").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"side": 20}, "side must be a multiple of 8, 16 or more, got 20"),
        ({"zoom": (0.9, 0.5)}, "zoom must be two numbers, ascending"),
        ({"snr": (0.0, 5.0)}, "snr must be two numbers, ascending, above 0"),
        ({"batch_size": 1}, "batch_size must be at least 2"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"gain": -1.0}, "gain must not be negative"),
        ({"n_steps": 0}, "n_steps must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TrainDetectorConfig(**options)


def test_the_presets_differ_in_size_alone():
    assert (PRESETS["paper"].zoom, PRESETS["paper"].snr) == (PRESETS["small"].zoom, PRESETS["small"].snr)
    assert PRESETS["paper"].width > PRESETS["small"].width
