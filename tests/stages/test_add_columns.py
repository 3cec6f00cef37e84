import numpy as np
import pytest
from numpy.testing import assert_array_equal

from peculiar import Atlas
from peculiar.run import read_run


def write(path, header, rows):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_columns_are_joined_by_id_and_objects_without_a_row_get_nulls(copy, ingested, inputs, tmp_path):
    atlas = Atlas(copy(ingested))
    ids = inputs.object_id
    rows = [f"{ids[each]},{each}.5,kind {each}" for each in (7, 1, 2, 60)] + ["123,9.5,of no object"]
    run = atlas.add_columns(write(tmp_path / "more.csv", "object_id,color,kind", rows))
    assert run.outputs["columns_added"] == ["color", "kind"]
    found = atlas.survey.take(ids)
    color = dict(zip(ids.tolist(), found["color"].to_pylist(), strict=True))
    assert {key: value for key, value in color.items() if value is not None} == {
        int(ids[each]): each + 0.5 for each in (7, 1, 2, 60)
    }
    assert found["kind"].to_pylist()[7] == "kind 7"
    assert_array_equal(atlas.survey.images(ids), inputs.images)
    assert found["source"].to_pylist() == inputs.names
    assert atlas.survey.form.size == 32


def test_columns_are_joined_by_file_name(copy, ingested, inputs, tmp_path):
    atlas = Atlas(copy(ingested))
    quoted = '"' + inputs.names[3].replace('"', '""') + '"'
    atlas.add_columns(write(tmp_path / "more.csv", "name,color", [f"{quoted},1.5"]), file_column="name")
    assert atlas.survey.take(inputs.object_id[2:5], ["color"])["color"].to_pylist() == [None, 1.5, None]


def test_a_second_table_adds_to_the_first_and_the_first_again_is_refused(copy, ingested, inputs, tmp_path):
    atlas = Atlas(copy(ingested))
    first = write(tmp_path / "a.csv", "object_id,color", [f"{inputs.object_id[0]},1"])
    atlas.add_columns(first)
    atlas.add_columns(write(tmp_path / "b.csv", "object_id,size", [f"{inputs.object_id[0]},2"]))
    assert read_run(atlas.folder / "survey").outputs["columns_added"] == ["color", "size"]
    with pytest.raises(ValueError, match="the survey has color already"):
        atlas.add_columns(first)


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ("object_id,magnitude", "1,2", "the survey has magnitude already"),
        ("object_id,ra", "1,2", "the survey would get no new column"),
        ("object_id,color", "1,2", "no row of .* belongs to an object of the survey"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_and_nothing_is_changed(copy, ingested, tmp_path, header, row, message):
    atlas = Atlas(copy(ingested))
    version = atlas.survey.version
    with pytest.raises(ValueError, match=message):
        atlas.add_columns(write(tmp_path / "more.csv", header, [row]))
    assert atlas.survey.version == version


def test_without_a_survey_it_says_what_to_do(tmp_path):
    table = write(tmp_path / "more.csv", "object_id,color", ["1,2"])
    with pytest.raises(FileNotFoundError, match='run "peculiar ingest" first'):
        Atlas(tmp_path / "none").add_columns(table)


def test_the_new_column_can_be_ranked_by_shown_and_appended_to(copy, ranked, inputs, made, tmp_path):
    atlas = Atlas(copy(ranked))
    rows = [f"{each},{place}" for place, each in enumerate(inputs.object_id.tolist())]
    atlas.add_columns(write(tmp_path / "more.csv", "object_id,height", rows))
    assert atlas.top(2, by="height")["object_id"].tolist() == inputs.object_id[[63, 62]].tolist()
    assert {each.folder: each.state for each in atlas.status()}["scores/main"] == "complete"
    made.write(tmp_path / "new", made.images(1, seed=9), ["new.png"])
    atlas.ingest(tmp_path / "new")
    assert np.isnan(atlas.survey.column("height")).sum() == 1
    assert atlas.survey.take([atlas.survey.find("new.png")], ["height"])["height"].to_pylist() == [None]
