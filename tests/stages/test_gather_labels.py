import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from peculiar import Atlas
from peculiar.labels import Labels, Said
from peculiar.run import read_run
from peculiar.survey import Table

AT = "2026-03-01T12:00:00Z"
NAMES = ["label", "label_probability", "label_n_votes", "label_agreement"]


def say(folder, expert, labels, since=0):
    """Store labels, by id."""
    said = [Said(f"{expert} {since} {each}", each, label, AT) for each, label in labels.items()]
    return Labels(folder).add(expert, said)


@pytest.fixture
def folder(copy, ranked, inputs):
    """An atlas of which three experts labelled some objects; cy is of another opinion on the second."""
    folder = copy(ranked)
    first = inputs.object_id[:8].tolist()
    for expert in ("ann", "bob", "cy"):
        say(folder, expert, {each: "merger" if each % 2 else "normal" for each in first})
    say(folder, "cy", {first[1]: "lens"}, since=1)
    say(folder, "ann", {inputs.object_id[20].item(): "lens"})
    return folder


def test_votes_become_columns_of_every_ranking(folder, inputs):
    atlas = Atlas(folder)
    run = atlas.gather_labels()
    assert (run.stage, run.outputs["n_objects"], run.outputs["n_votes"]) == ("label", 9, 25)
    assert run.inputs == {"last_event": 26}
    rows = Table(folder / "labels" / "main" / "table.lance").take(inputs.object_id[[0, 1, 20]], NAMES).to_pylist()
    expected = "merger" if inputs.object_id[1] % 2 else "normal"
    assert [each["label"] for each in rows] == ["merger" if inputs.object_id[0] % 2 else "normal", expected, "lens"]
    assert [each["label_n_votes"] for each in rows] == [3, 3, 1]
    assert_allclose([each["label_agreement"] for each in rows], [1, 2 / 3, 1])
    assert all(0.5 < each["label_probability"] <= 1 for each in rows)
    assert rows[0]["label_probability"] > rows[1]["label_probability"]
    opened = atlas.ranking()
    assert opened.rows(inputs.object_id[[20, 30]])["label"].to_pylist() == ["lens", None]
    assert np.isfinite(opened.column("label_probability")).sum() == 9
    with pytest.raises(KeyError, match=r"label holds no numbers to order by; these do: .*label_n_votes"):
        opened.column("label")
    top = atlas.top(9, by="label_n_votes")
    assert "Dawid" in top["label"].description
    assert np.nansum(np.ma.filled(top["label_n_votes"].astype(float), np.nan)) == 25
    assert atlas.info(inputs.object_id[20].item())["label"] == "lens"


def test_a_newer_label_makes_it_stale_until_it_is_gathered_again(folder, inputs):
    atlas = Atlas(folder)

    def standing():
        return next(each for each in atlas.status() if each.folder == "labels/main")

    atlas.gather_labels()
    assert (standing().stage, standing().state) == ("label", "complete")
    say(folder, "bob", {inputs.object_id[30].item(): "lens", inputs.object_id[0].item(): None}, since=2)
    assert standing().state == "stale"
    assert standing().detail == "2 labels were given or taken back since"
    again = atlas.gather_labels()
    assert standing().state == "complete"
    assert again.outputs["n_objects"] == 10
    assert atlas.ranking().rows(inputs.object_id[:1])["label_n_votes"].to_pylist() == [2]


def test_everything_taken_back_leaves_columns_without_a_value(copy, ranked, inputs):
    folder = copy(ranked)
    with pytest.raises(ValueError, match="nobody has labelled anything"):
        Atlas(folder).gather_labels()
    assert not (folder / "labels").exists()
    say(folder, "ann", {inputs.object_id[0].item(): "lens"})
    say(folder, "ann", {inputs.object_id[0].item(): None}, since=1)
    assert Atlas(folder).gather_labels().outputs["n_objects"] == 0
    opened = Atlas(folder).ranking()
    assert np.isnan(opened.column("label_probability")).all()
    assert opened.rows(inputs.object_id[:3])["label"].to_pylist() == [None] * 3
    assert len(Atlas(folder).top(3)) == 3


def test_some_experts_alone_stand_under_another_name(folder, inputs):
    atlas = Atlas(folder)
    atlas.gather_labels()
    atlas.gather_labels(name="std", experts=("cy",))
    rows = atlas.ranking().rows(inputs.object_id[1:2]).to_pylist()[0]
    assert rows["label-std"] == "lens"
    assert rows["label"] != "lens"
    assert rows["label_n_votes-std"] == 1
    atlas.gather_labels(name="std")  # goes on as it was begun
    assert read_run(folder / "labels" / "std").config["experts"] == ["cy"]
    with pytest.raises(ValueError, match="no expert dora; there are ann, bob, cy"):
        atlas.gather_labels(name="dora", experts=("dora",))


def test_the_release_has_the_labels_and_says_when_they_changed(folder, inputs):
    atlas = Atlas(folder)
    atlas.gather_labels()
    atlas.release(is_hdf5=False)
    catalog = pq.read_table(folder / "release" / "main" / "catalog.parquet")
    by_id = dict(zip(catalog["object_id"].to_pylist(), catalog["label"].to_pylist(), strict=True))
    assert by_id[inputs.object_id[20].item()] == "lens"
    assert sum(each is not None for each in by_id.values()) == 9
    assert catalog.schema.field("label").metadata[b"ucd"] == b"meta.code.class"
    say(folder, "ann", {inputs.object_id[40].item(): "lens"}, since=1)
    atlas.gather_labels()
    state = next(each for each in atlas.status() if each.folder == "release/main")
    assert (state.state, state.detail) == ("stale", "labels/main has changed since")
    assert_array_equal(np.sort(catalog["object_id"].to_numpy()), np.sort(inputs.object_id))
