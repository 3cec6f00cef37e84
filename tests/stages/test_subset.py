import errno
import json
import os
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

from peculiar import Atlas
from peculiar.labels import LabelClass, Labels, Said
from peculiar.stages.check import check
from peculiar.stages.subset import SubsetConfig, subset
from peculiar.survey import SMALLEST, Table

FEW = {"width": 2, "side": 16, "batch_size": 16, "n_steps": 2}
SMALL = FEW | {"n_features": 5}
AT = "2026-01-02T03:04:05+00:00"


@pytest.fixture(scope="module")
def rich(tmp_path_factory, ranked):
    """An atlas with score_joint, features, a forest, derived columns, groups and labels. Not to be changed."""
    folder = shutil.copytree(ranked, tmp_path_factory.mktemp("rich") / "an atlas, all of it")
    atlas = Atlas(folder)
    atlas.train_features(**SMALL)
    atlas.make_features("self-supervised")
    for look in ("frame", "center"):
        atlas.measure_neighbors(look)
        atlas.relate(f"neighbors/{look}")
    atlas.train_detector(**FEW)
    atlas.make_features("detector")
    atlas.relate("features/detector")
    atlas.join()
    atlas.make_features("critic", source="critic")
    atlas.grow_forest("critic", n_trees=5, sample_size=16)
    atlas.relate("forests/critic")
    atlas.derive(columns="half = magnitude / 2")
    atlas.group(40)
    return folder


def files_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of writing of every file but locks and links."""
    paths = (each for each in sorted(folder.rglob("*")) if each.is_file() and each.name != ".lock")
    return {str(each.relative_to(folder)): (each.stat().st_size, each.stat().st_mtime_ns) for each in paths}


def own_bytes(folder: Path) -> int:
    """Bytes of files that nothing else holds."""
    paths = (each for each in folder.rglob("*") if each.is_file())
    return sum(each.stat().st_size for each in paths if each.stat().st_nlink == 1)


def states(folder: Path) -> dict[str, str]:
    return {each.folder: each.state for each in Atlas(folder).status() if each.state != "absent"}


def chosen(folder: Path, tmp_path: Path, **options) -> np.ndarray:
    new = tmp_path / f"new-{len(list(tmp_path.iterdir()))}"
    run = subset(folder, SubsetConfig(**options), new)
    ids = Atlas(new).survey.object_ids()
    assert run.outputs["n_objects"] == len(ids)
    return np.sort(ids)


def test_the_new_atlas_has_the_parents_images_scores_and_ranks_without_their_bytes(rich, tmp_path, inputs):
    before = files_of(rich)
    new = tmp_path / "new"
    run = subset(rich, SubsetConfig(top=12), new)
    assert files_of(rich) == before
    parent, child = Atlas(rich), Atlas(new)
    ids = parent.top(12)["object_id"]
    assert_array_equal(child.top(64)["object_id"], ids)
    assert_array_equal(child.images(ids), parent.images(ids))
    theirs, mine = parent.ranking().rows(np.asarray(ids)), child.ranking().rows(np.asarray(ids))
    assert "score_joint_conditional" in mine.column_names
    assert {"score_forest_critic_sigma", "half"} <= set(mine.column_names)
    assert mine.equals(theirs.select(mine.column_names))
    assert set(theirs.column_names) - set(mine.column_names) == {
        *("group_id", "group_size", "group_rank", "is_representative")
    }
    assert_array_equal(child.reconstructions(ids), parent.reconstructions(ids))
    assert_array_equal(child.features("critic").take(np.asarray(ids)), parent.features("critic").take(np.asarray(ids)))
    assert_array_equal(np.sort(child.similar(int(ids[0]), 50)["object_id"]), np.sort(ids[1:]))
    assert child.survey.form == parent.survey.form
    assert run.outputs["images"] == "shared"
    images = inputs.images.nbytes
    assert own_bytes(new / "survey") < 0.2 * images
    shared = {each.stat().st_ino for each in (rich / "survey" / "table.lance" / "data").iterdir()}
    assert {each.stat().st_ino for each in (new / "survey" / "table.lance" / "data").iterdir()} <= shared


def test_status_says_complete_and_check_says_right(rich, tmp_path):
    new = tmp_path / "new"
    run = subset(rich, SubsetConfig(random=30), new)
    assert set(states(new).values()) == {"complete"}
    assert set(run.outputs["taken"]) | {"survey"} == set(states(new))
    assert {"networks/gan", "scores/main", "neighbors/frame", "forests/critic", "rankings/joint"} <= set(states(new))
    assert list(run.outputs["left_out"]) == ["groups/main"]
    assert [each for each in check(new) if not each.is_right] == []
    survey = json.loads((new / "survey" / "run.json").read_text())
    assert survey["outputs"]["subset"]["parent"] == str(rich)
    assert survey["outputs"]["subset"]["selection"]["random"] == 30
    assert survey["outputs"]["n_ingested"] == 30
    assert survey["identity"] != json.loads((rich / "survey" / "run.json").read_text())["identity"]
    assert run.inputs["tables"] == Atlas(rich).ranking().versions
    # Nothing is to be done again, and what was made of all objects is made of these.
    atlas = Atlas(new)
    scored = atlas.ranking().facts.version
    atlas.score()
    atlas.rank()
    atlas.join()
    assert atlas.ranking().facts.version == scored
    assert atlas.group(40).outputs["n_objects"] == 30
    assert set(states(new).values()) == {"complete"}


def test_filters_cones_lists_and_control_choose_the_objects_that_they_say(ranked, tmp_path, inputs, caplog):
    opened = Atlas(ranked).ranking()
    ids, ra, dec = (opened.object_ids, opened.column("ra"), opened.column("dec"))
    where = chosen(ranked, tmp_path, where="magnitude < 20.2")
    assert_array_equal(where, np.sort(ids[opened.column("magnitude") < 20.2]))
    near = chosen(ranked, tmp_path, cone=(150.1, 1.9, 0.03 * 3600), of="survey")
    apart = np.hypot((ra - 150.1) * np.cos(np.radians(1.9)), dec - 1.9)
    assert 0 < len(near) < 10
    assert_array_equal(near, np.sort(ids[apart < 0.03]))
    sigma = opened.column("score_disc_sigma")
    assert_array_equal(chosen(ranked, tmp_path, is_control=True), np.sort(ids[(sigma > -1) & (sigma < 1.5)]))
    other = opened.column("score_gen_sigma")
    of_gen = chosen(ranked, tmp_path, is_control=True, by="score_gen")
    assert_array_equal(of_gen, np.sort(ids[(other > -1) & (other < 1.5)]))
    assert not np.array_equal(of_gen, np.sort(ids[(sigma > -1) & (sigma < 1.5)]))
    table, text = tmp_path / "list.csv", tmp_path / "list.txt"
    table.write_text(f"object_id\n{inputs.object_id[1]}\n{inputs.object_id[60]}\n17\n")
    assert_array_equal(chosen(ranked, tmp_path, ids=table), np.sort(inputs.object_id[[1, 60]]))
    assert "1 rows of" in caplog.text
    assert "17" in caplog.text
    text.write_text(f"# mine\n{inputs.names[3]}\n\n{inputs.object_id[2]}\n", encoding="utf-8")
    assert_array_equal(chosen(ranked, tmp_path, ids=text), np.sort(inputs.object_id[[2, 3]]))
    sources = tmp_path / "sources.csv"
    sources.write_text(f"source,x\n{inputs.names[7]},1\n{inputs.names[8]},2\n")
    assert_array_equal(chosen(ranked, tmp_path, ids=sources), np.sort(inputs.object_id[[7, 8]]))


def test_top_and_random_take_of_those_that_pass(ranked, tmp_path, caplog):
    atlas = Atlas(ranked)
    bright = "magnitude < 20.2"
    top = chosen(ranked, tmp_path, top=5, by="score_gen", where=bright)
    assert_array_equal(top, np.sort(atlas.select(bright, by="score_gen")[:5]))
    first, again = (chosen(ranked, tmp_path, random=6, seed=3, where=bright) for _ in range(2))
    assert_array_equal(first, again)
    assert np.isin(first, atlas.select(bright)).all()
    assert len(first) == 6
    assert not np.array_equal(chosen(ranked, tmp_path, random=6, seed=4, where=bright), first)
    assert not caplog.text
    assert len(chosen(ranked, tmp_path, random=500)) == 64
    assert "500 objects were asked for, and there are 64" in caplog.text
    by_magnitude = chosen(ranked, tmp_path, top=64, by="magnitude", of="survey")
    assert len(by_magnitude) == 63  # what has no magnitude is not among the largest


def test_labels_come_along_with_who_and_when(copy, ranked, tmp_path, inputs):
    folder = copy(ranked)
    labels = Labels(folder)
    ids = inputs.object_id.tolist()
    labels.set_classes([LabelClass("ring", "#123456", "9", "a ring")], "Ana")
    labels.add("Ana", [Said("a1", ids[1], "ring", AT), Said("a2", ids[2], "ring", AT), Said("a3", ids[5], "ring", AT)])
    labels.add("Ben", [Said("b1", ids[1], "merger", AT), Said("b2", ids[2], "ring", AT)])
    labels.add("Ana", [Said("a4", ids[5], None, AT)])
    labels.set_classes([LabelClass("arc")], "Ana")
    new = tmp_path / "new"
    run = subset(folder, SubsetConfig(label="ring"), new)
    mine = Labels(new)
    assert_array_equal(np.sort(Atlas(new).survey.object_ids()), np.sort(inputs.object_id[[1, 2]]))
    assert run.outputs["n_label_events"] == 4
    votes = mine.votes().drop_columns(["event"]).to_pylist()
    assert votes == [each for each in labels.votes().drop_columns(["event"]).to_pylist() if each["object_id"] != ids[5]]
    assert {each["at"] for each in votes} == {AT}
    assert mine.classes() == labels.classes()
    assert mine.every_class() == labels.every_class()
    with pytest.raises(KeyError, match="no class 'rings'; there are"):
        subset(folder, SubsetConfig(label="rings"), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_what_is_ingested_into_it_is_scored_as_the_rest_and_leaves_the_parent_alone(rich, made, tmp_path, inputs):
    new = tmp_path / "new"
    subset(rich, SubsetConfig(top=20), new)
    before, atlas = files_of(rich), Atlas(new)
    shown = atlas.ranking().rows(atlas.ranking().object_ids)["score_anom_sigma"]
    first = atlas.ranking().object_ids
    with pytest.raises(FileNotFoundError, match=r"no images for .*; say where they are with --images"):
        atlas.ingest()
    made.write(tmp_path / "more", made.images(5, seed=9), [f"new{each}.png" for each in range(5)])
    atlas.ingest(tmp_path / "more")
    assert len(atlas.survey) == 25
    assert states(new)["scores/main"] == "behind"
    atlas.score()
    atlas.rank()
    atlas.make_features("self-supervised")
    for look in ("frame", "center"):
        atlas.measure_neighbors(look)
        atlas.relate(f"neighbors/{look}")
    atlas.make_features("detector")
    atlas.relate("features/detector")
    atlas.join()
    assert len(atlas.ranking()) == 25
    assert atlas.ranking().rows(first)["score_anom_sigma"].equals(shown)
    assert np.isfinite(atlas.ranking().column("score_joint")).sum() == 25
    assert states(new)["rankings/joint"] == "complete"
    assert [each for each in check(new) if not each.is_right] == []
    # The images that the parent was made of are known, and only those that are not here are read.
    run = atlas.ingest(inputs.folder, catalog=inputs.catalog)
    assert (run.outputs["n_known"], run.outputs["n_ingested"]) == (20, 44)
    sample = inputs.object_id[10:14]
    assert_array_equal(atlas.images(sample), inputs.images[10:14])
    assert files_of(rich) == before


def test_a_subset_of_a_subset_outlives_them_both(copy, rich, tmp_path):
    folder, middle, last = copy(rich), tmp_path / "middle", tmp_path / "last"
    subset(folder, SubsetConfig(random=30), middle)
    ids = Atlas(middle).survey.object_ids()
    images = Atlas(folder).images(ids)
    subset(middle, SubsetConfig(top=7), last)
    shutil.rmtree(folder)
    shutil.move(middle, tmp_path / "elsewhere")
    assert_array_equal(Atlas(tmp_path / "elsewhere").images(ids), images)
    shutil.rmtree(tmp_path / "elsewhere")
    kept = Atlas(last).survey.object_ids()
    assert len(kept) == 7
    assert_array_equal(Atlas(last).images(kept), images[[ids.tolist().index(each) for each in kept.tolist()]])
    assert [each for each in check(last) if not each.is_right] == []


def test_cleaning_one_of_two_atlases_loses_nothing_in_the_other(copy, ranked, tmp_path):
    folder, new = copy(ranked), tmp_path / "new"
    subset(folder, SubsetConfig(top=9), new)
    ids = Atlas(new).survey.object_ids()
    images, everything = Atlas(folder).images(ids), Atlas(folder).survey.object_ids()
    for atlas in (Atlas(folder), Atlas(new)):
        opened = atlas.survey.open()
        opened.optimize.compact_files()
        opened.cleanup_old_versions(timedelta(0), delete_unverified=True)
        atlas.survey.open().optimize.optimize_indices()
        assert_array_equal(Atlas(folder).images(ids), images)
        assert_array_equal(Atlas(new).images(ids), images)
    assert_array_equal(np.sort(Atlas(folder).survey.object_ids()), np.sort(everything))
    assert_array_equal(np.sort(Atlas(new).survey.object_ids()), np.sort(ids))
    with pytest.raises(KeyError, match="no object"):
        Atlas(new).images(everything[~np.isin(everything, ids)][:1])


def test_where_files_can_have_no_second_name_the_rows_are_copied(rich, tmp_path, monkeypatch):
    def refused(source, target):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    new = tmp_path / "new"
    run = subset(rich, SubsetConfig(top=11), new)
    assert run.outputs["images"] == "copied"
    parent, child = Atlas(rich), Atlas(new)
    ids = np.asarray(parent.top(11)["object_id"])
    assert_array_equal(child.top(64)["object_id"], ids)
    assert_array_equal(child.images(ids), parent.images(ids))
    assert child.survey.schema.equals(parent.survey.schema, check_metadata=True)
    assert_array_equal(child.survey.object_ids(), [each for each in parent.survey.object_ids() if each in ids])
    assert set(states(new).values()) == {"complete"}
    assert [each for each in check(new) if not each.is_right] == []


def test_the_same_again_changes_nothing_and_another_is_refused(ranked, copy, tmp_path, made, inputs):
    folder, new = copy(ranked), tmp_path / "new"
    config = SubsetConfig(top=8)
    done = subset(folder, config, new)
    before = files_of(new)
    assert subset(folder, config, new) == done
    assert files_of(new) == before
    with pytest.raises(ValueError, match=r"is another subset: top was 8, now 9; give another folder"):
        subset(folder, SubsetConfig(top=9), new)
    made.write(tmp_path / "some", made.images(2), ["a.png", "b.png"])
    with pytest.raises(ValueError, match="is there, and is no subset of"):
        subset(folder, config, tmp_path / "some")
    with pytest.raises(ValueError, match="give a folder outside of it"):
        subset(folder, config, folder / "part")
    other = subset(folder, SubsetConfig(top=3), tmp_path / "other")
    with pytest.raises(ValueError, match=r"is another subset: it is of .*atlas as it was"):
        subset(tmp_path / "other", config, new)
    listed = tmp_path / "list.txt"
    listed.write_text(str(inputs.object_id[0]))
    subset(folder, SubsetConfig(ids=listed), tmp_path / "listed")
    listed.write_text(str(inputs.object_id[1]))
    with pytest.raises(ValueError, match="the ids were others"):
        subset(folder, SubsetConfig(ids=listed), tmp_path / "listed")
    assert other.outputs["n_objects"] == 3
    assert files_of(new) == before


DIES = """
    import os, signal, sys
    from contextlib import contextmanager
    from pathlib import Path
    from peculiar.stages.subset import SubsetConfig, subset

    @contextmanager
    def track(description, total):
        steps = []
        def advance(n):
            steps.append(n)
            if len(steps) == int(sys.argv[3]):
                os.kill(os.getpid(), signal.SIGKILL)
        yield advance

    subset(Path(sys.argv[1]), SubsetConfig(random=8), Path(sys.argv[2]), track=track)
"""


@pytest.mark.parametrize("step", [1, 4])
def test_killed_it_is_no_atlas_and_the_same_again_makes_it(rich, tmp_path, made, step):
    new = tmp_path / "new"
    made.python(DIES, rich, new, step, expect=-9)
    assert states(new).get("survey") is None
    assert (new / "subset" / "started.json").exists()
    with pytest.raises(ValueError, match="is another subset: random was 8"):
        subset(rich, SubsetConfig(random=9), new)
    subset(rich, SubsetConfig(random=8), new)
    whole = tmp_path / "whole"
    subset(rich, SubsetConfig(random=8), whole)
    assert states(new) == states(whole)
    assert_array_equal(Atlas(new).survey.object_ids(), Atlas(whole).survey.object_ids())
    assert [each for each in check(new) if not each.is_right] == []


def test_what_is_stale_or_reads_it_is_left_out_and_said(copy, rich, tmp_path):
    folder = copy(rich)
    shutil.rmtree(folder / "neighbors" / "frame")
    run = subset(folder, SubsetConfig(random=10), tmp_path / "new")
    left_out = run.outputs["left_out"]
    assert left_out["rankings/neighbors-frame"].startswith("stale neighbors/frame is gone")
    assert "stale" in left_out["rankings/joint"]
    assert "rankings/neighbors-center" in run.outputs["taken"]
    assert set(states(tmp_path / "new").values()) == {"complete"}
    (folder / "neighbors" / "center" / "run.json").rename(folder / "neighbors" / "center" / "started.json")
    again = subset(folder, SubsetConfig(random=10), tmp_path / "again").outputs["left_out"]
    assert again["neighbors/center"].startswith("interrupted")
    assert again["rankings/neighbors-center"] == "made of neighbors/center, which is left out"


def test_objects_that_a_table_of_vectors_lacks_are_counted_anew(copy, ranked, tmp_path, inputs):
    folder = copy(ranked)
    np.savez(tmp_path / "vectors.npz", object_id=inputs.object_id[:40], vector=np.eye(40, 4, dtype=np.float32))
    Atlas(folder).make_features("mine", source="table", table=tmp_path / "vectors.npz")
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(map(str, inputs.object_id[30:50].tolist())))
    new = tmp_path / "new"
    subset(folder, SubsetConfig(ids=listed), new)
    assert Atlas(new).features("mine").run.outputs["n_missing"] == 10
    assert states(new)["features/mine"] == "complete"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "say which objects"),
        ({"top": 3, "random": 3}, "choose in two ways"),
        ({"top": -1}, "top must not be negative, got -1"),
        ({"cone": (150.0, 2.0)}, r"cone must be RA, Dec \(degrees\) and radius .* got 150, 2"),
        ({"cone": (150.0, 2.0, 0.0)}, "cone must be"),
        ({"cone": (150.0, float("nan"), 1.0)}, "cone must be"),
        ({"top": 3, "of": "catalogs/released"}, "of must be rankings/NAME or survey"),
    ],
)
def test_what_says_nothing_or_two_things_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SubsetConfig(**options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"where": "magnitude < 20.2", "cone": (10.0, 2.0, 9.0)}, ValueError, r"of 64; alone: where \d+, cone 0;"),
        ({"top": 3, "of": "survey"}, ValueError, "survey has no score that --top could take"),
        ({"is_control": True, "by": "nothing"}, KeyError, "no number 'nothing_sigma'"),
        ({"ids": Path("gone.txt")}, FileNotFoundError, "there is no gone.txt; say where"),
        ({"top": 3, "of": "rankings/other"}, FileNotFoundError, "rankings/other is not complete"),
    ],
)
def test_what_chooses_nothing_is_an_error_that_says_why_and_makes_nothing(ranked, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        subset(ranked, SubsetConfig(**options), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_list_of_other_objects_is_refused(ranked, tmp_path):
    listed = tmp_path / "list.csv"
    listed.write_text("object_id\n17\n18\n")
    with pytest.raises(ValueError, match=r"no row of .*list.csv is an object of rankings/main"):
        subset(ranked, SubsetConfig(ids=listed), tmp_path / "new")


def test_run_goes_on_in_it_with_the_parents_seed(copy, ranked, tmp_path):
    folder, new = copy(ranked), tmp_path / "new"
    record = {"stage": "run", "config": {"preset": "small", "seed": 0, "device": "cpu"}, "finished": "2026-01-01"}
    (folder / "run.json").write_text(json.dumps(record))
    subset(folder, SubsetConfig(random=20), new)
    begun = json.loads((new / "started.json").read_text())
    assert (begun["stage"], begun["config"]["preset"], begun["finished"]) == ("run", "small", "")
    assert not (new / "run.json").exists()


@pytest.mark.parametrize("kept", [[SMALLEST], [SMALLEST, -3, 5], [2**63 - 1], list(range(-40, 41, 2))])
def test_tables_share_the_ids_at_both_ends_and_in_many_parts(tmp_path, monkeypatch, kept):
    monkeypatch.setattr("peculiar.survey.DELETE_AT_ONCE", 7)
    ids = np.array([SMALLEST, *range(-50, 50), 2**63 - 1], np.int64)
    ids = np.random.default_rng(0).permutation(ids)
    table = Table(tmp_path / "table.lance")
    for part in np.array_split(ids, 4):
        batch = pa.record_batch({"object_id": part, "value": part // 2})
        table.append([batch], batch.schema)
    table.build_index()
    shared = Table(tmp_path / "deep" / "shared.lance")
    assert table.share(shared.path, np.array(kept))
    assert_array_equal(shared.object_ids(), ids[np.isin(ids, kept)])
    assert_array_equal(shared.take(kept, ["value"])["value"].to_numpy(), np.array(kept, np.int64) // 2)
    assert len(table) == 102
    with pytest.raises(KeyError, match="no object 77 in"):
        table.share(tmp_path / "other.lance", np.array([1, 77]))
    assert not (tmp_path / "other.lance").exists()


def test_a_table_that_is_lances_own_clone_is_copied(tmp_path):
    table, clone = Table(tmp_path / "table.lance"), Table(tmp_path / "clone.lance")
    batch = pa.record_batch({"object_id": np.arange(20)})
    table.append([batch], batch.schema)
    table.open().shallow_clone(str(clone.path), table.version)
    shared = Table(tmp_path / "shared.lance")
    assert not clone.share(shared.path, np.array([3, 4]))
    shutil.rmtree(table.path)
    assert_array_equal(shared.object_ids(), [3, 4])


def test_training_on_in_it_leaves_the_parents_networks_alone(ranked, tmp_path):
    new = tmp_path / "new"
    subset(ranked, SubsetConfig(random=32), new)
    before, was = files_of(ranked), (ranked / "networks" / "gan" / "metrics.csv").read_text()
    atlas = Atlas(new)
    assert (new / "networks" / "gan" / "metrics.csv").stat().st_nlink == 1  # it is written into
    atlas.train_gan(n_steps=6)
    mine = (new / "networks" / "gan" / "metrics.csv").read_text()
    assert mine.startswith(was)
    assert len(mine) > len(was)
    assert states(new)["scores/main"] == "stale"
    assert files_of(ranked) == before
    assert (ranked / "networks" / "gan" / "metrics.csv").read_text() == was
