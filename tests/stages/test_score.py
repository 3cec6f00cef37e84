import json
import shutil

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from peculiar import Atlas
from peculiar.checkpoint import TrainingFolder, file_digest, load_network
from peculiar.networks.gan import Critic, Generator
from peculiar.run import read_run
from peculiar.scoring.measures import MEASURES, measure
from peculiar.sky.pixels import to_network
from peculiar.stages.score import ScoreConfig
from peculiar.survey import Table

SCORES = {"n_latent_steps": 3, "latent_rate": 0.1}  # of conftest.py


def facts(folder, name="main"):
    return Table(folder / "scores" / name / "table.lance")


def numbers(folder, object_id, name="main"):
    """Scores and latents of objects, as arrays."""
    rows = facts(folder, name).take(object_id, ["score_gen", "score_disc", "score_pca", "latent"])
    latent = np.stack(rows["latent"].to_numpy())
    return np.stack([rows[each].to_numpy() for each in rows.column_names[:3]], axis=1), latent


def test_scores_are_distances_of_image_and_reconstruction_at_the_stored_latent(ranked, inputs):
    scores, latent = numbers(ranked, inputs.object_id)
    path = TrainingFolder(ranked / "networks" / "gan").checkpoint_path()
    generator, critic = load_network(path, "generator", Generator), load_network(path, "critic", Critic)
    images = torch.from_numpy(to_network(inputs.images))
    made = generator(torch.from_numpy(latent))
    assert_allclose(scores[:, 0], (images - made).abs().sum(dim=(1, 2, 3)), rtol=1e-4)
    assert_allclose(scores[:, 1], (critic.features(images) - critic.features(made)).abs().sum((1, 2, 3)), rtol=1e-3)


def test_measures_are_those_of_the_images(ranked, inputs):
    rows = facts(ranked).take(inputs.object_id, MEASURES)
    for name, values in measure(inputs.images).items():
        assert_array_equal(rows[name].to_numpy(), values)


def test_the_record_pins_networks_by_digest_and_names_the_weight(ranked):
    run = read_run(ranked / "scores" / "main")
    for which, place in run.outputs["networks"].items():
        assert file_digest(ranked / place) == run.inputs[which]
    assert run.outputs["n_objects"] == 64
    assert facts(ranked).schema.metadata[b"reconstruction_weight"] == b"0.3"


def test_scoring_twice_adds_nothing(copy, ranked):
    folder = copy(ranked)
    version, before = facts(folder).version, read_run(folder / "scores" / "main").outputs
    run = Atlas(folder).score()
    assert len(facts(folder)) == 64
    assert run.outputs == before
    assert_array_equal(facts(folder).object_ids(), facts(ranked).object_ids())
    assert facts(folder).version - version <= 1  # the index may be refreshed


def test_scores_depend_neither_on_order_nor_on_company(tmp_path, trained, made, inputs):
    """Seven of the objects, in another order, in a survey of their own, by the same networks."""
    chosen = [40, 3, 11, 63, 0, 29, 2]
    made.write(tmp_path / "in", inputs.images[chosen], [f"{each}.png" for each in range(7)])
    lines = [f"{place}.png,{inputs.object_id[each]}" for place, each in enumerate(chosen)]
    (tmp_path / "few.csv").write_text("file,object_id\n" + "\n".join(lines) + "\n")
    few = Atlas(tmp_path / "atlas")
    few.ingest(tmp_path / "in", catalog=tmp_path / "few.csv")
    shutil.copytree(trained / "networks", tmp_path / "atlas" / "networks")
    for options in ({}, {"name": "random", "start": "random"}):
        few.score(**SCORES, **options)
    full = shutil.copytree(trained, tmp_path / "full")
    Atlas(full).score(**SCORES)
    Atlas(full).score(**SCORES, name="random", start="random")
    for name in ("main", "random"):
        expected, found = (numbers(each, inputs.object_id[chosen], name) for each in (full, few.folder))
        assert_allclose(found[0][:, :2], expected[0][:, :2], rtol=1e-4)  # the pixel PCA knows its survey
        assert_allclose(found[1], expected[1], rtol=1e-3, atol=1e-4)
    assert not np.allclose(numbers(full, inputs.object_id)[1], numbers(full, inputs.object_id, "random")[1], atol=1e-2)


def test_more_steps_reconstruct_better(copy, trained, inputs):
    folder = copy(trained)
    totals = []
    for n_steps in (0, 5):
        Atlas(folder).score(n_latent_steps=n_steps, latent_rate=0.1, name=f"steps{n_steps}")
        scores, _ = numbers(folder, inputs.object_id, f"steps{n_steps}")
        totals.append(0.7 * scores[:, 0] + 0.3 * scores[:, 1])
    assert (totals[1] <= totals[0] * (1 + 1e-4)).all()
    assert totals[1].mean() < totals[0].mean()


def test_new_objects_are_scored_and_the_old_rows_stay(copy, ranked, made, tmp_path):
    folder = copy(ranked)
    made.write(tmp_path / "more", made.images(5, seed=9), [f"new{each}.png" for each in range(5)])
    atlas = Atlas(folder)
    old = facts(folder).take(atlas.survey.object_ids())
    atlas.ingest(tmp_path / "more")
    standing = {each.folder: each for each in atlas.status()}
    assert (standing["scores/main"].state, standing["rankings/main"].state) == ("behind", "behind")
    assert standing["scores/main"].detail == "5 of 69 objects to come"
    assert atlas.score().outputs["n_objects"] == 69
    assert len(facts(folder)) == 69
    assert facts(folder).take(old["object_id"].to_numpy()).equals(old)
    assert {each.folder: each.state for each in atlas.status()}["scores/main"] == "complete"


def test_scoring_that_was_killed_goes_on_to_the_same_table(copy, trained, ranked, made, inputs):
    folder = copy(trained)
    code = """
        import os, signal, sys
        from contextlib import contextmanager
        from peculiar import Atlas
        from peculiar.stages import score

        score.SCAN_ROWS = score.COMMIT_ROWS = 8

        @contextmanager
        def track(description, total):
            done = []
            def advance(n):
                done.append(n)
                if sum(done) >= 32:
                    os.kill(os.getpid(), signal.SIGKILL)
            yield advance

        Atlas(sys.argv[1], track=track).score(n_latent_steps=3, latent_rate=0.1)
    """
    made.python(code, folder, expect=-9)
    n_before = len(facts(folder))
    assert 0 < n_before < 64
    atlas = Atlas(folder)
    assert {each.folder: each.state for each in atlas.status()}["scores/main"] == "interrupted"
    with pytest.raises(FileNotFoundError, match="scores/main is not complete"):
        atlas.rank()
    assert atlas.score().outputs["n_objects"] == 64
    assert sorted(facts(folder).object_ids()) == sorted(inputs.object_id)
    for found, expected in zip(numbers(folder, inputs.object_id), numbers(ranked, inputs.object_id), strict=True):
        assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_scores_of_two_networks_never_stand_in_one_table(copy, ranked):
    folder = copy(ranked)
    atlas = Atlas(folder)
    atlas.train_gan(n_steps=6)
    assert {each.folder: each.state for each in atlas.status()}["scores/main"] == "stale"
    with pytest.raises(ValueError, match=r"was scored with networks .*, and they are now .*--replace"):
        atlas.score()
    assert atlas.score(name="later", n_latent_steps=1).outputs["n_objects"] == 64
    assert atlas.score(replace=True, n_latent_steps=1).outputs["n_objects"] == 64


def test_an_earlier_checkpoint_can_score(copy, ranked, inputs):
    folder = copy(ranked)
    Atlas(folder).score(name="early", checkpoint=2, n_latent_steps=1)
    run = read_run(folder / "scores" / "early")
    assert run.outputs["networks"]["gan"].endswith("00000002.safetensors")
    with pytest.raises(FileNotFoundError, match=r"no checkpoint 3 in .*; there are 2, 4"):
        Atlas(folder).score(name="never", checkpoint=3)


def test_another_weight_needs_another_name(copy, ranked):
    with pytest.raises(ValueError, match=r"reconstruction_weight was 0\.3, now 0\.5"):
        Atlas(copy(ranked)).score(reconstruction_weight=0.5)


def test_scoring_before_training_says_so(copy, ingested):
    folder = copy(ingested)
    with pytest.raises(FileNotFoundError, match="train it first"):
        Atlas(folder).score()
    assert not (folder / "scores").exists()


def test_a_sweep_leaves_scores_at_every_weight_a_figure_and_a_page(copy, ranked):
    import pyarrow.parquet as pq

    folder = copy(ranked)
    run = Atlas(folder).sweep_weights((0.0, 0.3, 1.0), sample=20)
    table = pq.read_table(folder / "sweeps" / "main" / "scores.parquet")
    assert table.num_rows == 20
    assert set(table.column_names) == {
        "object_id",
        *(f"{term}_{w}" for term in ("gen", "disc") for w in ("0", "0.3", "1")),
    }
    assert_allclose(table["gen_0.3"].to_numpy(), numbers(folder, table["object_id"].to_numpy())[0][:, 0], rtol=1e-4)
    assert table["gen_0"].to_numpy().mean() <= table["gen_1"].to_numpy().mean()
    assert (folder / run.outputs["page"]).exists()
    assert json.loads((folder / "sweeps" / "main" / "run.json").read_text())["outputs"]["weights"] == [0.0, 0.3, 1.0]
    with pytest.raises(ValueError, match="a sweep needs two or more weights from 0 to 1"):
        Atlas(folder).sweep_weights((0.3,))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reconstruction_weight": 1.5}, r"reconstruction_weight must be from 0 to 1, got 1\.5"),
        ({"n_latent_steps": -1}, "n_latent_steps must not be negative, got -1"),
        ({"latent_rate": 0.0}, r"latent_rate must be positive, got 0\.0"),
    ],
)
def test_a_value_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ScoreConfig(**options)
