import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from peculiar import Atlas
from peculiar.checkpoint import TrainingFolder, load_tensors, save_tensors
from peculiar.networks.training import Diverged
from peculiar.run import read_run, read_started
from peculiar.stages.train_encoder import PRESETS as ENCODER_PRESETS
from peculiar.stages.train_encoder import TrainEncoderConfig
from peculiar.stages.train_gan import PRESETS as GAN_PRESETS
from peculiar.stages.train_gan import TrainGanConfig, _strata
from peculiar.survey import ShuffledImages, Survey

SMALL = {"width": 2, "batch_size": 8, "save_every": 2}
GAN = {**SMALL, "n_latent": 4, "n_steps": 6}
ENCODER = {**SMALL, "n_steps": 6}


def networks_of(folder: Path, name: str) -> dict[str, torch.Tensor]:
    """The state and the newest checkpoint, all tensors."""
    training = TrainingFolder(folder / "networks" / name)
    state, checkpoint = load_tensors(training.state_path)[0], load_tensors(training.checkpoint_path())[0]
    return {f"state {key}": each for key, each in state.items()} | checkpoint


def assert_same_networks(folder: Path, other: Path, name: str) -> None:
    first, second = networks_of(folder, name), networks_of(other, name)
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []
    rows = [(each / "networks" / name / "metrics.csv").read_text().splitlines() for each in (folder, other)]
    assert rows[0] == rows[1]
    assert [row.split(",")[0] for row in rows[0]] == ["step", "2", "4", "6"]


@pytest.mark.parametrize(
    ("method", "name", "options", "start"),
    [
        ("train_gan", "gan", GAN, "ingested"),
        ("train_gan", "gan", {**GAN, "upsampling": "transposed", "batch_norm": True, "n_critic": 1}, "ingested"),
        ("train_encoder", "other", {**ENCODER, "name": "other"}, "trained"),
    ],
)
def test_training_that_was_killed_goes_on_to_the_same_weights(request, copy, made, method, name, options, start):
    source = request.getfixturevalue(start)
    killed = copy(source)
    made.kill(4, killed, method, options)
    home = killed / "networks" / name
    assert TrainingFolder(home).steps() == [2]
    assert (read_run(home), read_started(home).stage) == (None, method.replace("_", "-"))
    standing = {each.folder: each.state for each in Atlas(killed).status()}
    assert standing[f"networks/{name}"] == "interrupted"
    run = getattr(Atlas(killed), method)(**options)
    assert run.outputs["step"] == 6
    whole = shutil.copytree(source, killed.parent / "whole")
    getattr(Atlas(whole), method)(**options)
    assert_same_networks(killed, whole, name)


def test_a_larger_number_of_steps_trains_on_and_the_same_number_does_nothing(copy, trained):
    folder = copy(trained)
    path = folder / "networks" / "gan" / "checkpoints" / "00000004.safetensors"
    kept = path.stat().st_mtime_ns
    assert Atlas(folder).train_gan().outputs["step"] == 4
    assert path.stat().st_mtime_ns == kept
    assert Atlas(folder).train_gan(n_steps=6).outputs["step"] == 6
    assert TrainingFolder(folder / "networks" / "gan").steps() == [2, 4, 6]
    assert path.stat().st_mtime_ns == kept


def test_another_config_is_refused_naming_the_field_and_replace_starts_over(copy, trained):
    folder = copy(trained)
    for method in (Atlas(folder).train_gan, Atlas(folder).train_encoder):
        with pytest.raises(ValueError, match=r"learning_rate was .*, now 0\.5; .*--replace"):
            method(learning_rate=0.5)
    Atlas(folder).train_gan(learning_rate=0.01, n_latent=4, n_steps=2, replace=True, **SMALL)
    assert TrainingFolder(folder / "networks" / "gan").steps() == [2]
    assert read_run(folder / "networks" / "gan").config["learning_rate"] == 0.01


def test_options_that_are_not_given_are_those_of_the_record(copy, trained):
    folder = copy(trained)
    run = Atlas(folder).train_gan(n_steps=5)
    assert (run.config["width"], run.config["n_latent"], run.config["save_every"]) == (2, 4, 2)


def test_an_unknown_option_is_refused_naming_those_that_there_are(ingested):
    with pytest.raises(TypeError, match=r"no option 'learning_rat'; there are .*learning_rate"):
        Atlas(ingested).train_gan(learning_rat=1)


def test_an_encoder_is_trained_for_the_checkpoint_asked_for(copy, trained):
    folder = copy(trained)
    run = Atlas(folder).train_encoder(name="early", checkpoint=2, **ENCODER)
    newest = read_run(folder / "networks" / "encoder")
    assert run.inputs["gan"] != newest.inputs["gan"]
    with pytest.raises(FileNotFoundError, match=r"no checkpoint 3 in .*; there are 2, 4"):
        Atlas(folder).train_encoder(name="never", checkpoint=3, **ENCODER)


def test_training_before_what_it_needs_says_so(tmp_path, ingested, copy):
    with pytest.raises(FileNotFoundError):
        Atlas(tmp_path / "nothing").train_gan(preset="small", **GAN)
    with pytest.raises(FileNotFoundError, match="train it first"):
        Atlas(copy(ingested)).train_encoder(**ENCODER)


def test_samples_and_events_are_left_while_training(trained):
    home = trained / "networks" / "gan"
    assert sorted(each.name for each in (home / "samples").iterdir()) == ["00000002.png", "00000004.png"]
    assert any((home / "events").iterdir())
    run = read_run(home)
    assert run.outputs["step"] == 4
    assert run.inputs["n_objects"] == 64


# --- balance


def test_balanced_batches_show_all_strata_equally(copy, ingested):
    survey = Survey(ingested / "survey" / "table.lance")
    strata = _strata(survey, "magnitude")
    magnitude = survey.column("magnitude")
    assert (np.isnan(magnitude) == (strata == 10)).all()  # object 4 has none, and is a group of its own
    assert (np.diff(strata[np.argsort(magnitude)]) >= 0).all()
    shuffled = ShuffledImages(survey, 11, 0, strata)
    shown = np.bincount(strata[np.concatenate([shuffled.rows(number) for number in range(10)])], minlength=11)
    assert (shown[np.unique(strata)] == 110 / len(np.unique(strata))).all()
    run = Atlas(copy(ingested)).train_gan(balance_by="magnitude", **{**GAN, "n_steps": 1})
    assert run.outputs["step"] == 1


def test_a_column_that_is_not_there_is_refused_and_throws_no_network_away(copy, trained):
    folder = copy(trained)
    with pytest.raises(KeyError, match="balance_by names no column of the survey: 'magnitud'"):
        Atlas(folder).train_gan(balance_by="magnitud", replace=True, **GAN)
    assert TrainingFolder(folder / "networks" / "gan").steps() == [2, 4]


def test_after_a_column_that_is_not_there_the_right_one_is_taken(copy, ingested):
    atlas = Atlas(copy(ingested))
    with pytest.raises(KeyError, match="balance_by names no column"):
        atlas.train_gan(balance_by="magnitud", **GAN)
    assert atlas.train_gan(balance_by="magnitude", **{**GAN, "n_steps": 1}).outputs["step"] == 1


# --- presets and ranges


def test_the_papers_presets_are_the_papers():
    gan, encoder = GAN_PRESETS["paper"], ENCODER_PRESETS["paper"]
    assert (gan.width, gan.n_latent, gan.batch_size, gan.n_critic, gan.n_steps) == (64, 128, 32, 5, 10_000)
    assert (gan.learning_rate, gan.average_decay, gan.penalty_every) == (1e-4, 0.0, 1)
    assert (gan.upsampling, gan.batch_norm, gan.is_augmented) == ("transposed", False, False)
    assert (encoder.width, encoder.batch_size, encoder.n_steps) == (64, 32, 5_000)
    assert (encoder.reconstruction_weight, encoder.is_augmented) == (0.3, False)


def test_auto_picks_the_small_preset_for_few_images(ingested):
    atlas = Atlas(ingested)
    assert atlas.choose_preset("auto") == "small"
    assert atlas.choose_preset("paper") == "paper"


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        (TrainGanConfig, "n_steps", 0),
        (TrainGanConfig, "n_critic", 0),
        (TrainGanConfig, "penalty_every", -1),
        (TrainGanConfig, "learning_rate", 0.0),
        (TrainGanConfig, "learning_rate", float("nan")),
        (TrainGanConfig, "average_decay", 1.0),
        (TrainEncoderConfig, "batch_size", 0),
        (TrainEncoderConfig, "reconstruction_weight", 1.1),
    ],
)
def test_a_value_out_of_range_is_refused_naming_field_and_value(config, field, value):
    with pytest.raises(ValueError, match=f"{field} must be .*, got {value}"):
        config(**{field: value})


def test_a_diverged_training_keeps_the_last_good_checkpoint_and_goes_on_failing(copy, ingested):
    atlas = Atlas(copy(ingested))
    atlas.train_gan(**{**GAN, "n_steps": 2})
    home = atlas.folder / "networks" / "gan"
    tensors, metadata = load_tensors(TrainingFolder(home).state_path)
    tensors["critic.head.weight"][0, 0] = float("nan")
    save_tensors(home / "state.safetensors", tensors, metadata=metadata)
    with pytest.raises(Diverged, match="training diverged at step 4"):
        atlas.train_gan(n_steps=6)
    assert TrainingFolder(home).steps() == [2]
    assert read_run(home) is None
