import logging
import shutil

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from peculiar import Atlas
from peculiar.checkpoint import TrainingFolder, load_network, load_tensors
from peculiar.networks.autoencoder import Autoencoder
from peculiar.ranking import Ranking, residuals_by
from peculiar.run import read_run, read_started
from peculiar.stages import train_autoencoder as stage
from peculiar.stages.train_autoencoder import PRESETS, TrainAutoencoderConfig, train_autoencoder
from peculiar.survey import Survey

SMALL = {"width": 2, "n_features": 3, "batch_size": 8, "save_every": 2, "n_steps": 4}
PLACE = ("networks", "autoencoder-residual")


def trained(folder, *, name="autoencoder-residual", replace=False, **options):
    return train_autoencoder(folder, TrainAutoencoderConfig(**(SMALL | options)), name=name, replace=replace)


def batches(folder, **options):
    """What training is shown, made as the stage makes it."""
    config = TrainAutoencoderConfig(**(SMALL | options))
    ranking = Ranking(folder)
    residuals = residuals_by(folder, ranking.scored, ranking.facts) if config.of == "residual" else None
    sample = stage._sample(ranking.survey, ranking, config)
    return stage._SampledImages(ranking.survey, config, sample, residuals)


def as_set(images):
    return {each.tobytes() for each in images}


# --- what is shown


@pytest.mark.parametrize("of", ["residual", "image"])
def test_an_epoch_shows_every_residual_or_image_once(ranked, of):
    shown = batches(ranked, of=of)
    opened = Ranking(ranked)
    all_of_them = opened.survey.images(opened.object_ids)
    expected = opened.residuals(opened.object_ids) if of == "residual" else all_of_them
    epoch = np.concatenate([shown.batch(number) for number in range(8)])
    assert len(as_set(expected)) == 64
    assert as_set(epoch) == as_set(expected)
    assert_array_equal(shown.batch(3), shown.batch(3))
    assert as_set(shown.batch(8)) != as_set(shown.batch(0))  # the next epoch has its own order


def test_a_random_sample_is_the_ids_of_smallest_hash(ranked):
    shown = batches(ranked, sample="random", n_sample=20)
    opened = Ranking(ranked)
    chosen = opened.survey.sample(20, seed=0)
    epoch = np.concatenate([shown.batch(number) for number in range(5)])  # two epochs, all of both
    assert as_set(epoch) == as_set(opened.residuals(chosen))
    assert shown.sizes == [20]


def test_the_selected_sample_is_what_lies_above_3_sigma_in_score_disc(copy, ranked, monkeypatch):
    folder = copy(ranked)
    opened = Ranking(folder)
    chosen = opened.object_ids[[5, 9, 33]]
    opened.base.open().update({"score_disc_sigma": "1.0"})
    listed = ",".join(map(str, chosen))
    opened.base.open().update({"score_disc_sigma": "3.01"}, where=f"object_id IN ({listed})")
    with pytest.raises(
        ValueError, match=r"only 3 objects .* above 3, and sample \"selected\" needs 100; .*--sample all"
    ):
        trained(folder, sample="selected")
    assert not folder.joinpath(*PLACE).exists()
    monkeypatch.setattr(stage, "N_SELECTED", 3)
    shown = batches(folder, sample="selected")
    assert as_set(np.concatenate([shown.batch(0), shown.batch(1)])) == as_set(opened.residuals(chosen))
    assert trained(folder, sample="selected").inputs["n_objects"] == 3


def test_objects_without_a_latent_are_not_shown(copy, ranked, made, tmp_path):
    folder = copy(ranked)
    made.write(tmp_path / "more", made.images(5, seed=9), [f"new{each}.png" for each in range(5)])
    Atlas(folder).ingest(tmp_path / "more")
    assert len(Survey(folder / "survey" / "table.lance")) == 69
    assert trained(folder).inputs["n_objects"] == 64
    assert trained(folder, name="autoencoder-image", of="image").inputs["n_objects"] == 69


# --- training


def test_training_that_was_killed_goes_on_to_the_same_weights(copy, ranked, made):
    killed = copy(ranked)
    whole = shutil.copytree(ranked, killed.parent / "whole")
    made.kill(3, killed, "train_autoencoder", SMALL)
    home = killed.joinpath(*PLACE)
    assert TrainingFolder(home).steps() == [2]
    assert (read_run(home), read_started(home).stage) == (None, "train-autoencoder")
    assert trained(killed).outputs["step"] == trained(whole).outputs["step"] == 4
    found, expected = (load_tensors(each.joinpath(*PLACE) / "state.safetensors")[0] for each in (killed, whole))
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []
    rows = [(each.joinpath(*PLACE) / "metrics.csv").read_text() for each in (killed, whole)]
    assert rows[0] == rows[1]
    assert [row.split(",")[0] for row in rows[0].splitlines()] == ["step", "2", "4"]


def test_a_checkpoint_is_an_autoencoder_of_the_surveys_form(copy, ranked):
    folder = copy(ranked)
    run = trained(folder)
    network = load_network(TrainingFolder(folder.joinpath(*PLACE)).checkpoint_path(), "autoencoder", Autoencoder)
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 3, 32, 32)
    assert network.n_features == 3
    scored = read_run(folder / "scores" / "main")
    assert run.inputs["gan"] == scored.inputs["gan"]
    assert not list(folder.glob("**/*.npy"))  # residuals are never written


def test_residuals_and_images_make_two_networks(copy, ranked):
    folder = copy(ranked)
    trained(folder)
    with pytest.raises(ValueError, match="of was 'residual', now 'image'"):
        trained(folder, of="image")
    run = trained(folder, name="autoencoder-image", of="image")
    assert "gan" not in run.inputs


def test_images_need_neither_scores_nor_ranking_and_residuals_do(copy, ingested):
    folder = copy(ingested)
    with pytest.raises(FileNotFoundError, match="rankings/main is not complete"):
        trained(folder)
    assert not (folder / "networks").exists()
    assert trained(folder, name="autoencoder-image", of="image").outputs["step"] == 4


def test_another_generator_or_other_scores_are_refused(copy, ranked):
    folder = copy(ranked)
    trained(folder)
    atlas = Atlas(folder)
    atlas.score(replace=True, n_latent_steps=1)
    with pytest.raises(ValueError, match=r"residuals of scores that were made anew since; .*--replace"):
        trained(folder, n_steps=6)
    assert trained(folder, replace=True).outputs["step"] == 4
    path = TrainingFolder(folder / "networks" / "gan").checkpoint_path()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"has digest .*, and the scores were made with"):
        trained(folder, n_steps=6)


def test_the_log_says_that_a_size_is_padded(tmp_path, made, caplog, copy, ingested):
    made.write(tmp_path / "in", made.images(9, size=44), [f"{each}.png" for each in range(9)])
    Atlas(tmp_path / "odd").ingest(tmp_path / "in")
    with caplog.at_level(logging.INFO):
        trained(tmp_path / "odd", name="autoencoder-image", of="image", n_steps=1)
    assert "images of 44 pixels are padded to 48 by reflection" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        trained(copy(ingested), name="autoencoder-image", of="image", n_steps=1)
    assert "padded" not in caplog.text


# --- presets and ranges


def test_the_papers_preset_is_the_papers():
    paper = PRESETS["paper"]
    assert (paper.of, paper.sample, paper.n_sample, paper.is_augmented) == ("residual", "random", 100_000, False)
    assert (paper.width, paper.n_features, paper.sparsity) == (64, 64, 0.0)
    assert (paper.n_steps, paper.batch_size, paper.learning_rate) == (30_000, 30, 1e-3)


@pytest.mark.parametrize(
    ("field", "value"),
    [("n_features", 0), ("n_sample", 0), ("batch_size", -1), ("learning_rate", float("nan")), ("sparsity", -0.1)],
)
def test_a_value_out_of_range_is_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} must .*, got {value}"):
        TrainAutoencoderConfig(**{field: value})
