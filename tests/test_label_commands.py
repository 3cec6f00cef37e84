import re

import pytest
from typer.testing import CliRunner

from peculiar.cli import app
from peculiar.io.tables import read_table
from peculiar.labels import LabelClass, Labels, Said

AT = "2026-03-01T12:00:00Z"


def peculiar(*arguments):
    """Run a command in this process; errors are raised."""
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def folder(copy, ranked):
    return copy(ranked)


@pytest.fixture
def labelled(folder, inputs):
    """Ann and Bob agree on all but the first of 12 objects; Cy labelled one of them."""
    ids = inputs.object_id[:12].tolist()
    labels = Labels(folder)
    labels.set_classes([LabelClass("lens", key="1"), LabelClass("merger", key="2"), LabelClass("ring")], "ann")
    for expert in ("ann", "bob"):
        said = [Said(f"{expert} {each}", each, "merger" if each % 2 else "lens", AT) for each in ids]
        labels.add(expert, said)
    labels.add("bob", [Said("other", ids[0], "ring", AT)])
    labels.add("cy", [Said("cy", ids[5], "unusual", AT)])
    return folder


def test_the_report_counts_votes_and_says_how_far_experts_agree(labelled, inputs):
    said = peculiar("labels", labelled)
    assert "3 classes" in said
    assert "25 votes on 12 objects, 12 of them by two or more" in said
    assert re.search(r"bob\W+\d+\W+\d+\W+1\W+0\W+12\b", said)
    assert re.search(r"ann, bob\W+0\.\d+\W+12\b", said)
    assert re.search(r"all, merger or not\W+0\.\d+\W+12\b", said)
    disputed = said.split("most disputed")[1]
    assert str(inputs.object_id[0]) in disputed
    assert "bob: ring" in disputed
    assert str(inputs.object_id[5]) in disputed
    assert str(inputs.object_id[3]) not in disputed


def test_without_labels_it_shows_the_classes_and_what_to_do(folder):
    said = peculiar("labels", folder)
    assert "7 classes" in said
    assert "tidal tail" in said
    assert "peculiar explore" in said
    assert not Labels(folder).exists()


def test_one_expert_alone_is_no_error(folder, inputs):
    Labels(folder).add("ann", [Said("1", inputs.object_id[0].item(), "lens", AT)])
    said = peculiar("labels", folder)
    assert "1 votes on 1 objects" in said
    assert "kappa" not in said


@pytest.mark.parametrize("suffix", ["csv", "parquet", "vot", "xml"])
def test_what_is_exported_can_be_imported(labelled, ingested, tmp_path, suffix):
    path = tmp_path / f"labels.{suffix}"
    assert "25 labels:" in peculiar("labels", labelled, "--export", path)
    table = read_table(path, text_columns=("at",))
    assert table.column_names == ["object_id", "label", "expert", "at"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "survey").symlink_to(ingested / "survey")
    said = peculiar("labels", other, "--import", path, "--add-classes")
    assert "25 added of 25 rows, new classes: ring" in said
    columns = ["object_id", "expert", "label", "at"]
    before, after = Labels(labelled).votes().select(columns), Labels(other).votes().select(columns)
    keys = [("object_id", "ascending"), ("expert", "ascending")]
    assert after.sort_by(keys).equals(before.sort_by(keys))
    assert "0 added of 25 rows, 25 known already" in peculiar("labels", other, "--import", path)


def test_an_export_of_no_kind_and_options_without_an_import_are_refused(labelled, tmp_path):
    with pytest.raises(ValueError, match=r"of no kind that labels are written as; these are: .csv"):
        peculiar("labels", labelled, "--export", tmp_path / "labels.xlsx")
    with pytest.raises(FileNotFoundError, match="there is no atlas"):
        peculiar("labels", tmp_path / "none")
    with pytest.raises(ValueError, match="say how to --import a file"):
        peculiar("labels", labelled, "--expert", "ann")


def test_columns_are_gathered(labelled, inputs):
    assert "label: objects 12, votes 25" in peculiar("labels", labelled, "--columns")
    assert "label_probability" in peculiar("info", labelled, inputs.object_id[0])


def test_a_token_is_printed_once_and_works(folder):
    said = peculiar("expert", folder, "Ann Lee")
    token = next(word for word in said.split() if len(word) > 40)
    assert Labels(folder).expert_of(token) == "Ann Lee"
    assert "Give it to Ann Lee" in said
