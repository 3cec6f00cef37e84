import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal

from peculiar import Atlas
from peculiar.survey import Table

STEP = 0.01 * np.sqrt(2) * 3600  # arcsec from one object of the made catalog to the next


@pytest.fixture
def folder(copy, ranked):
    """An atlas whose objects stand in a line on the sky, one of them nowhere."""
    return copy(ranked)


def standing(folder, place="groups/main"):
    return next(each for each in Atlas(folder).status() if each.folder == place)


def test_groups_are_columns_of_the_ranking(folder, inputs):
    atlas = Atlas(folder)
    alone = atlas.group()
    assert (alone.stage, alone.outputs["n_grouped"], alone.outputs["n_without_position"]) == ("group", 0, 1)
    run = atlas.group(STEP * 1.01, name="wide")
    assert run.outputs["n_objects"] == 64
    assert run.outputs["n_groups"] == 2  # the one that is nowhere parts the line
    assert run.outputs["n_grouped"] == 63
    assert run.outputs["by"] == atlas.ranking().first_shown
    rows = atlas.ranking().rows(inputs.object_id)
    assert rows["group_size"].to_pylist() == [1] * 4 + [None] + [1] * 59
    assert rows["group_id"].to_pylist() == [None if place == 4 else each for place, each in enumerate(inputs.object_id)]
    wide = rows["group_id-wide"].to_pylist()
    assert wide[:5] == [-int(inputs.object_id[0])] * 4 + [None]
    assert set(wide[5:]) == {int(inputs.object_id[5])}
    values = atlas.ranking().column(run.outputs["by"])
    ids = atlas.ranking().object_ids
    first = [each["object_id"] for each in rows.to_pylist() if each["is_representative-wide"]]
    parts = [inputs.object_id[:4], inputs.object_id[5:]]
    best = [ids[np.isin(ids, part)][np.argmax(values[np.isin(ids, part)])] for part in parts]
    assert sorted(first) == sorted([*best, inputs.object_id[4]])
    assert len(atlas.select("group_rank = 1")) == 63
    exact = int(inputs.object_id[5])
    assert len(atlas.select(f"`group_id-wide` = {exact}")) == 59
    assert len(atlas.select(f"`group_id-wide` = {exact + 1}")) == 0  # a float64 would not tell the two apart
    top = atlas.top(3)
    assert "friends" in top["group_id"].description
    assert top["group_id-wide"].description.endswith("(wide)")


def test_the_same_again_is_the_same_and_another_radius_needs_a_word(folder):
    atlas = Atlas(folder)
    first = Table(folder / "groups" / "main" / "table.lance")
    atlas.group(60)
    rows = first.open().to_table().to_pylist()
    atlas.group(60)
    assert first.open().to_table().to_pylist() == rows
    with pytest.raises(ValueError, match=r"radius_arcsec was 60, now 9"):
        atlas.group(9)
    atlas.group(9, replace=True)
    assert standing(folder).state == "complete"


def test_a_ranking_that_was_made_anew_makes_groups_stale_and_leaves_them_out(folder):
    atlas = Atlas(folder)
    atlas.group()
    atlas.rank(replace=True, n_reconstructions=3)
    assert standing(folder).state == "stale"
    assert "group_id" not in atlas.ranking().schema.names
    atlas.group()
    assert standing(folder).state == "complete"
    assert "group_id" in atlas.ranking().schema.names


def test_objects_that_came_since_are_to_come(folder, made, tmp_path):
    atlas = Atlas(folder)
    atlas.group()
    made.write(tmp_path / "more", made.images(2, seed=9), ["new1.png", "new2.png"])
    atlas.ingest(tmp_path / "more")
    assert (standing(folder).state, standing(folder).detail) == ("behind", "2 of 66 objects to come")
    atlas.score()
    atlas.rank()
    atlas.group()
    assert standing(folder).state == "complete"


def test_groups_of_one_ranking_do_not_stand_in_another(folder):
    atlas = Atlas(folder)
    atlas.rank(name="half", combination_weight=0.5, n_reconstructions=3)
    atlas.group()
    assert "group_id" not in atlas.ranking("half").schema.names
    with pytest.raises(KeyError, match=r"peculiar group"):
        atlas.ranking("half").group_ids()


def test_a_release_lists_one_a_group(folder):
    atlas = Atlas(folder)
    options = {"threshold": -99.0, "n_top": 0, "is_hdf5": False, "is_full_catalog": False}
    with pytest.raises(KeyError, match=r"peculiar group"):
        atlas.release(name="few", is_one_a_group=True, **options)
    assert not (folder / "release" / "few").exists()
    atlas.group(STEP * 1.01)
    run = atlas.release(name="few", is_one_a_group=True, **options)
    assert (run.outputs["n_selected"], run.outputs["n_left_out"]) == (3, 61)
    rows = pq.read_table(folder / "release" / "few" / "selection.parquet").to_pylist()
    assert all(each["is_representative"] for each in rows)
    assert [each["rank"] for each in rows] == sorted(each["rank"] for each in rows)
    assert "left out" in (folder / "release" / "few" / "report.html").read_text()
    assert standing(folder, "release/few").state == "complete"


@pytest.mark.parametrize("of", ["main", "scores/main", "rankings/../x", "rankings/"])
def test_what_cannot_be_grouped_is_refused(folder, of):
    with pytest.raises(ValueError, match="of must be survey, rankings/NAME or catalogs/NAME"):
        Atlas(folder).group(of=of)


def test_a_survey_without_positions_says_so(copy, folder, inputs):
    survey = Atlas(folder).survey.open()
    survey.update({"ra": "NULL"})
    with pytest.raises(ValueError, match=r"no object of rankings/main has a position"):
        Atlas(folder).group()
    assert not (folder / "groups" / "main" / "run.json").exists()


def test_rows_have_ids_once(folder, inputs):
    Atlas(folder).group()
    assert_array_equal(np.sort(Table(folder / "groups/main/table.lance").object_ids()), np.sort(inputs.object_id))
