import csv
import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from peculiar import Atlas
from peculiar.labels import Labels, Said
from peculiar.run import begin, finish, read_run
from peculiar.scoring.evaluation import auroc
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
    found, is_one = interest_of(folder, others), others % 2 == 1
    assert auroc(found, is_one) > 0.99
    assert np.median(found[is_one]) > 0.5
    assert np.median(found[~is_one]) < 0.15
    assert (interest_of(folder, others, "interest_std") > 0).all()
    atlas = Atlas(folder)
    top = atlas.top(10, by="interest")
    assert (np.asarray(top["object_id"]) % 2 == 1).all()
    assert "labels" in top["interest"].description
    assert {each.folder: each.state for each in atlas.status()}["interest/main"] == "complete"
    assert (folder / "interest" / "main" / "progress.png").stat().st_size > 5_000


@pytest.mark.parametrize("model", ["gaussian-process", "logistic", "forest"])
def test_all_that_there_is_may_be_labelled(folder, inputs, tmp_path, model):
    run = learn(folder, write(tmp_path / "labels.csv", inputs.object_id), model=model)
    assert run.outputs["n_labelled"] == 64
    assert auroc(interest_of(folder, inputs.object_id), inputs.object_id % 2 == 1) > 0.99


def test_more_like_these_and_less_like_those(folder, inputs, tmp_path):
    path = write(tmp_path / "labels.csv", inputs.object_id[:24])
    learn(folder, path, like=("normal",))
    assert auroc(interest_of(folder, inputs.object_id[24:]), inputs.object_id[24:] % 2 == 0) > 0.99
    with pytest.raises(ValueError, match=r"like names ring, and the classes in .* are merger, normal"):
        learn(folder, path, like=("ring",), replace=True)


def test_what_is_asked_for_next_is_new_and_partly_random(folder, inputs, tmp_path):
    path = tmp_path / "labels.csv"
    first = learn(folder, write(path, inputs.object_id[:10]), n_next=10, control=0.2).outputs["next"]
    assert len(set(first)) == 10
    assert not set(first) & set(map(str, inputs.object_id[:10]))
    asked = json.loads((folder / "interest" / "main" / "next.json").read_text())
    assert sorted(each["why"] for each in asked) == ["control"] * 2 + ["learned"] * 8
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
    assert_allclose(np.median(found[inputs.object_id[24:] % 2 == 1]), 0.8, atol=0.25)  # the prior draws it down
    assert found.max() < 0.85
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


def test_while_nothing_is_found_the_next_are_those_of_the_order(folder, inputs, tmp_path):
    ranking = Atlas(folder).ranking()
    values = ranking.column(ranking.first_shown)
    order = ranking.object_ids[np.argsort(-values, kind="stable")]
    order = order[np.isin(order, inputs.object_id)]
    run = learn(folder, write(tmp_path / "labels.csv", order[:6], label=["no"] * 6), n_next=4, control=0.0)
    assert [int(each) for each in run.outputs["next"]] == order[6:10].tolist()


def test_labels_that_cannot_be_used_are_named(folder, inputs, tmp_path, caplog):
    path = write(tmp_path / "labels.csv", np.append(inputs.object_id[:6], [7, 8]))
    assert learn(folder, path).outputs["n_unknown"] == 2
    assert "of 8 labels 0 are without id or content, and 2 of objects without features: 7, 8" in caplog.text
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


def test_a_row_without_an_id_leaves_all_others_exact(folder, inputs, tmp_path):
    ids = inputs.object_id[:24]
    learn(folder, write(tmp_path / "labels.csv", ids))
    before = interest_of(folder, inputs.object_id)
    path = write(tmp_path / "nulls.csv", [*ids, ""], [*("merger" if each % 2 else "normal" for each in ids), "normal"])
    run = learn(folder, path)
    assert (run.outputs["n_labelled"], run.outputs["n_unknown"]) == (24, 1)
    assert_array_equal(interest_of(folder, inputs.object_id), before)


def test_what_was_drawn_at_random_is_asked_for_until_it_is_labelled(folder, inputs, tmp_path):
    path = tmp_path / "labels.csv"
    labelled = inputs.object_id[:10]
    first = learn(folder, write(path, labelled), n_next=10, control=0.5).outputs["next"]
    drawn = [each["object_id"] for each in json.loads((folder / "interest" / "main" / "next.json").read_text())]
    drawn = drawn[-5:]
    learn(folder, path, n_next=4)  # asked again, for fewer
    labelled = np.append(labelled, np.array([each for each in first if each not in drawn[2:]], np.int64))
    again = learn(folder, write(path, labelled), n_next=10)
    assert set(drawn[2:]) <= set(again.outputs["next"])
    labelled = np.append(labelled, np.array(drawn[2:], np.int64))
    for replace in (False, True):
        learn(folder, write(path, labelled), n_next=10, control=0.5, replace=replace)
        progress = json.loads((folder / "interest" / "main" / "progress.json").read_text())
        assert progress["control"]["n_labelled"] == 5


def test_objects_without_features_are_neither_asked_for_nor_learnt_from(folder, inputs, tmp_path, caplog):
    table = Table(folder / "features" / "look" / "table.lance")
    whole = table.take(inputs.object_id, ["object_id", "vector"])
    vectors = np.stack(whole["vector"].to_numpy())
    vectors[5:60:3] = np.nan
    packed = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 4)
    table.overwrite([pa.record_batch([pa.array(inputs.object_id), packed], schema=table.schema)])
    run = learn(folder, write(tmp_path / "labels.csv", inputs.object_id[:12]), n_next=64, control=0.5)
    blind = set(map(str, inputs.object_id[5:60:3]))
    assert not blind & set(run.outputs["next"])
    assert run.outputs["n_labelled"] == 12 - 3
    assert "whose features are NaN" in caplog.text


@pytest.mark.parametrize("acquisition", ["disagreement", "upper-bound"])
def test_asking_again_changes_nothing(folder, inputs, tmp_path, acquisition):
    ids, experts = np.repeat(inputs.object_id[:40], 2), ["ann", "bob"] * 40
    labels = np.where((np.arange(80) % 2 == 0) & (ids % 3 == 0), "merger", "normal")
    path = write(tmp_path / "labels.csv", ids, labels, expert=experts)
    learn(folder, path, acquisition=acquisition, control=0.5, n_next=10)
    first = (folder / "interest" / "main" / "next.json").read_text()
    learn(folder, path)
    assert (folder / "interest" / "main" / "next.json").read_text() == first
    progress = json.loads((folder / "interest" / "main" / "progress.json").read_text())
    assert progress["control"]["n_labelled"] == 0


@pytest.mark.parametrize(
    ("labels", "options", "n_found"),
    [
        (["Merger ", " NORMAL"], {}, 1),
        (["1.0", "0.0"], {}, 1),
        (["ring", "Artifact"], {}, 1),
        (["ring", "merger"], {"unlike": ("RING",)}, 1),
        (["ring", ""], {}, 1),
    ],
)
def test_classes_are_read_as_they_are_meant(folder, inputs, tmp_path, labels, options, n_found):
    assert (
        learn(folder, write(tmp_path / "labels.csv", inputs.object_id[:2], labels), **options).outputs["n_found"]
        == n_found
    )


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"label": ["a", "b"]}, {"unlike": ("nrmal",)}, "unlike names nrmal"),
        ({"label": ["a", "b"]}, {"like": ("a",), "unlike": ("A",)}, "like and unlike both name a"),
        ({"label": ["a", "b"], "Grade": [0, 1]}, {}, "both label and grade"),
        ({"grade": ["high", "low"]}, {}, "must be numbers from 0 to 1"),
        ({"label": ["", ""]}, {}, "says nothing of any object"),
        ({"label": ["a", "b"], "Label": ["a", "b"]}, {}, "two columns of one name"),
    ],
)
def test_what_is_said_unclearly_is_refused(folder, inputs, tmp_path, columns, options, message):
    rows = {"object_id": inputs.object_id[:2], **columns}
    with (tmp_path / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([rows, *zip(*rows.values(), strict=True)])
    with pytest.raises(ValueError, match=message):
        learn(folder, tmp_path / "labels.csv", **options)


def test_without_labels_it_says_what_to_give(folder):
    Labels(folder).add_expert("ann")  # who has said nothing yet
    with pytest.raises(
        ValueError, match=r'label some objects in "peculiar explore", or give a table of them, as --labels'
    ):
        Atlas(folder).learn()


def say(folder, expert, object_id, label=None):
    said = [
        Said(f"{expert} {each}", each, label or ("merger" if each % 2 else "normal"), "2026-03-01T12:00:00Z")
        for each in object_id.tolist()
    ]
    Labels(folder).add(expert, said)


def test_what_was_said_to_the_atlas_is_learnt_as_a_table_is(folder, inputs, tmp_path):
    labelled = inputs.object_id[:24]
    learn(folder, write(tmp_path / "labels.csv", labelled))
    expected = interest_of(folder, inputs.object_id)
    say(folder, "ann", labelled)
    run = Atlas(folder).learn()
    assert run.inputs["last_event"] == 24
    assert "labels" not in run.inputs
    assert_allclose(interest_of(folder, inputs.object_id), expected, atol=1e-6)
    assert read_run(folder / "interest" / "main").config["labels"] == "."


def test_either_source_may_follow_the_other(folder, inputs, tmp_path):
    path = write(tmp_path / "labels.csv", inputs.object_id[:12])
    learn(folder, path)
    assert Atlas(folder).learn().outputs["n_labelled"] == 12  # nothing was said: the table given before
    say(folder, "ann", inputs.object_id[:20])
    say(folder, "bob", inputs.object_id[10:24])
    atlas = Atlas(folder)
    assert atlas.learn().outputs["n_labelled"] == 24
    said = json.loads((folder / "interest" / "main" / "progress.json").read_text())["experts"]
    assert {name: each["n_votes"] for name, each in said.items()} == {"ann": 20, "bob": 14}
    assert {each.folder: each.state for each in atlas.status()}["interest/main"] == "complete"
    say(folder, "cy", inputs.object_id[30:31])
    assert {each.folder: each.state for each in atlas.status()}["interest/main"] == "stale"
    run = atlas.learn(path)
    assert run.outputs["n_labelled"] == 12
    assert "last_event" not in run.inputs
    assert atlas.learn().outputs["n_labelled"] == 25


def test_interest_under_another_name_hides_no_deviation(folder, inputs, tmp_path):
    path = write(tmp_path / "labels.csv", inputs.object_id[:24])
    learn(folder, path)
    learn(folder, path, name="std", like=("normal",))
    rows = Atlas(folder).ranking().rows(inputs.object_id)
    assert_array_equal(rows["interest_std"].to_numpy(), interest_of(folder, inputs.object_id, "interest_std"))
    assert np.corrcoef(rows["interest-std"].to_numpy(), rows["interest"].to_numpy())[0, 1] < 0


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
    with pytest.raises(ValueError, match=r"like names ring, and the classes in .* are odd"):
        Atlas(folder).simulate_expert(path, features="look", like=("ring",))
