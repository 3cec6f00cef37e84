import csv
import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from peculiar import Atlas
from peculiar.run import begin, finish
from peculiar.stages.learn import LearnConfig
from peculiar.survey import Table


def vectors_of(object_id):
    """Two kinds, by the parity of the id: what is of interest is one of them."""
    random = np.random.default_rng(0)
    sides = np.where(object_id % 2, 1.0, -1.0)[:, None]
    return (random.normal(size=(len(object_id), 4)) * 0.3 + sides * [1, 0.5, 0, 0]).astype(np.float32)


@pytest.fixture(scope="module")
def described(tmp_path_factory, ranked, inputs):
    """An atlas with features in which odd ids lie together. Not to be changed."""
    folder = shutil.copytree(ranked, tmp_path_factory.mktemp("described") / "atlas")
    home = folder / "features" / "look"
    schema = pa.schema([("object_id", pa.int64()), ("vector", pa.list_(pa.float32(), 4))])
    packed = pa.FixedSizeListArray.from_arrays(pa.array(vectors_of(inputs.object_id).ravel()), 4)
    run = begin(home, "features", LearnConfig(), inputs={})
    rows = pa.record_batch([pa.array(inputs.object_id), packed], schema=schema)
    Table(home / "table.lance").append_in_commits([rows], schema, n_rows=10**6)
    finish(home, run)
    return folder


@pytest.fixture
def folder(copy, described):
    return copy(described)


def write(path, object_id, labels=None, **columns):
    labels = ["merger" if each % 2 else "normal" for each in object_id] if labels is None else labels
    rows = {"object_id": object_id, **({} if "grade" in columns else {"label": labels}), **columns}
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(rows)
        writer.writerows(zip(*rows.values(), strict=True))
    return path


def learn(folder, labels, **options):
    return Atlas(folder).learn(labels, features="look", **options)


def interest_of(folder, object_id, column="interest"):
    table = Table(folder / "interest" / "main" / "table.lance")
    return table.take(object_id, [column])[column].to_numpy()


def test_what_is_like_the_liked_is_of_interest_and_ranked(folder, inputs, tmp_path):
    labelled, others = inputs.object_id[:24], inputs.object_id[24:]
    run = learn(folder, write(tmp_path / "labels.csv", labelled))
    assert (run.outputs["n_objects"], run.outputs["n_labelled"], run.outputs["n_found"]) == (64, 24, 12)
    assert_array_equal(interest_of(folder, others) > 0.5, others % 2 == 1)
    assert (interest_of(folder, others, "interest_std") > 0).all()
    atlas = Atlas(folder)
    top = atlas.top(10, by="interest")
    assert (np.asarray(top["object_id"]) % 2 == 1).all()
    assert "labels" in top["interest"].description
    assert {each.folder: each.state for each in atlas.status()}["interest/main"] == "complete"
    assert (folder / "interest" / "main" / "progress.png").stat().st_size > 5_000


def test_more_like_these_and_less_like_those(folder, inputs, tmp_path):
    path = write(tmp_path / "labels.csv", inputs.object_id[:24])
    learn(folder, path, like=("normal",))
    assert_array_equal(interest_of(folder, inputs.object_id[24:]) > 0.5, inputs.object_id[24:] % 2 == 0)
    with pytest.raises(ValueError, match="like names ring, and the labels are merger, normal"):
        learn(folder, path, like=("ring",), replace=True)


def test_what_is_asked_for_next_is_new_and_partly_random(folder, inputs, tmp_path):
    path = tmp_path / "labels.csv"
    first = learn(folder, write(path, inputs.object_id[:10]), n_next=10, control=0.2).outputs["next"]
    assert len(set(first)) == 10
    assert not set(first) & set(map(str, inputs.object_id[:10]))
    asked = json.loads((folder / "interest" / "main" / "next.json").read_text())
    assert [each["why"] for each in asked] == ["learned"] * 8 + ["control"] * 2
    labelled = np.concatenate([inputs.object_id[:10], np.array(first, np.int64)])
    run = learn(folder, write(path, labelled))
    progress = json.loads((folder / "interest" / "main" / "progress.json").read_text())
    assert progress["control"]["n_labelled"] == 2
    assert_array_equal(progress["found"], np.cumsum(labelled % 2))
    left = run.outputs["still_to_find"]
    assert 0 <= left["low"] <= left["mean"] <= left["high"] <= 44
    assert not set(run.outputs["next"]) & set(map(str, labelled))
    assert np.isnan(interest_of(folder, labelled, "acquisition")).all()


def test_run_again_with_the_same_labels_it_says_the_same(folder, inputs, tmp_path):
    path = write(tmp_path / "labels.csv", inputs.object_id[:20])
    first = learn(folder, path)
    before = interest_of(folder, inputs.object_id)
    again = learn(folder, path)
    assert_array_equal(interest_of(folder, inputs.object_id), before)
    assert first.outputs["next"] == again.outputs["next"]


def test_experts_who_contradict_each_other_are_weighed_and_asked_again(folder, inputs, tmp_path):
    ids = np.repeat(inputs.object_id[:20], 3)
    experts = np.tile(["ann", "bob", "cy"], 20)
    is_one = np.where(experts == "cy", np.arange(60) % 7 < 3, ids % 2 == 1)  # cy does not look
    path = write(tmp_path / "labels.csv", ids, np.where(is_one, "merger", "normal"), expert=experts)
    run = learn(folder, path, acquisition="disagreement")
    said = json.loads((folder / "interest" / "main" / "progress.json").read_text())["experts"]
    assert said["cy"]["sensitivity"] < said["ann"]["sensitivity"]
    assert run.outputs["n_labelled"] == 20
    assert set(run.outputs["next"][:3]) <= set(map(str, inputs.object_id[:20]))


def test_grades_are_learnt_as_they_are(folder, inputs, tmp_path):
    ids = inputs.object_id[:24]
    learn(folder, write(tmp_path / "labels.csv", ids, grade=np.where(ids % 2, 0.8, 0.1)))
    found = interest_of(folder, inputs.object_id[24:])
    assert_allclose(np.median(found[inputs.object_id[24:] % 2 == 1]), 0.8, atol=0.15)
    with pytest.raises(ValueError, match="grades must be from 0 to 1, got 0 to 5"):
        learn(folder, write(tmp_path / "labels.csv", ids, grade=5 * (ids % 2)))


@pytest.mark.parametrize("model", ["logistic", "forest"])
def test_the_other_models_learn_it_too(folder, inputs, tmp_path, model):
    learn(folder, write(tmp_path / "labels.csv", inputs.object_id[:24]), model=model)
    found = interest_of(folder, inputs.object_id[24:])
    is_one = inputs.object_id[24:] % 2 == 1
    assert np.median(found[is_one]) > np.median(found[~is_one]) + 0.05  # a strong prior
    learn(folder, write(tmp_path / "labels.csv", inputs.object_id[:1]), model=model)
    assert np.isfinite(interest_of(folder, inputs.object_id)).all()


def test_one_label_or_one_class_is_no_crash(folder, inputs, tmp_path, caplog):
    for n in (1, 5):
        ids = inputs.object_id[inputs.object_id % 2 == 1][:n]
        assert learn(folder, write(tmp_path / "labels.csv", ids)).outputs["n_labelled"] == n
        assert "say the same" in caplog.text
        assert np.isfinite(interest_of(folder, inputs.object_id)).all()


def test_labels_that_cannot_be_used_are_named(folder, inputs, tmp_path, caplog):
    path = write(tmp_path / "labels.csv", np.append(inputs.object_id[:6], [7, 8]))
    assert learn(folder, path).outputs["n_unknown"] == 2
    assert "2 labels are of objects without features, 7, 8" in caplog.text
    with pytest.raises(ValueError, match=r"no label in .* is of an object of features/look"):
        learn(folder, write(tmp_path / "alien.csv", np.array([7, 8])))
    (tmp_path / "empty.csv").write_text("object_id,label\n")
    with pytest.raises(ValueError, match=r"empty\.csv"):
        learn(folder, tmp_path / "empty.csv")
    (tmp_path / "bare.csv").write_text(f"object_id,note\n{inputs.object_id[0]},x\n")
    with pytest.raises(ValueError, match="has neither label nor grade; it has object_id, note"):
        learn(folder, tmp_path / "bare.csv")
    with pytest.raises(FileNotFoundError, match=r"absent\.csv does not exist"):
        learn(folder, tmp_path / "absent.csv")


def test_a_made_expert_finds_more_with_labels_than_without(folder, inputs, tmp_path):
    path = tmp_path / "truth.csv"
    rows = [f"{each},{'odd' if each % 2 else ''}" for each in inputs.object_id]
    path.write_text("\n".join(["object_id,planted_kind", *rows]) + "\n")
    run = Atlas(folder).simulate_expert(path, features="look", n_labels=24, batch_size=6, n_seeds=3)
    counts = json.loads((folder / "experts" / "main" / "found.json").read_text())
    assert np.mean(counts["learnt"], axis=0)[-1] > np.mean(counts["score_anom_conditional"], axis=0)[-1] + 4
    assert np.shape(counts["learnt"]) == (3, 24)
    assert (run.outputs["n_interesting"], run.outputs["n_objects"]) == (int((inputs.object_id % 2).sum()), 64)
    assert (folder / run.outputs["figure"]).stat().st_size > 5_000
    with pytest.raises(ValueError, match="none of the objects has planted_kind ring; there are , odd"):
        Atlas(folder).simulate_expert(path, features="look", like=("ring",))
