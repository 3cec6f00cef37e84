import csv
import gzip
import json
from io import StringIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from peculiar.io.classifications import Failure, Vote, read_classifications

ID = 43_158_859_342_174_406
HEADER = [
    *("classification_id", "user_name", "user_id", "user_ip", "workflow_id", "workflow_name", "workflow_version"),
    *("created_at", "gold_standard", "expert", "metadata", "annotations", "subject_data", "subject_ids"),
]


def line(
    number=1,
    user="ann",
    user_id="7",
    ip="ab12",
    workflow="99",
    value="Interesting",
    annotations=None,
    subject=None,
    at="2024-05-06 07:08:09 UTC",
):
    """A line as Zooniverse exports it."""
    if annotations is None:
        annotations = [{"task": "T0", "task_label": "Is it odd?", "value": value}]
    subject = {"#object_id": str(ID), "filename": f"object_{ID}.png"} if subject is None else subject
    about = {"10123": {"retired": None, **subject}}
    cells = [number, user, user_id, ip, workflow, "Odd or not", "3.1", at, "", "", '{"seen_before": true}']
    texts = [each if isinstance(each, str) else json.dumps(each) for each in (annotations, about)]
    return [*map(str, cells), *texts, "10123"]


def export(path, *lines):
    with StringIO(newline="") as text:
        csv.writer(text).writerows([HEADER, *lines])
        content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def votes(path, **options):
    return list(read_classifications(path, **options))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_line_of_an_export_is_a_vote(tmp_path, name):
    assert votes(export(tmp_path / name, line(number=314))) == [
        Vote(1, ID, "id:7", "ann", ("Interesting",), 314, "2024-05-06T07:08:09+00:00")
    ]


def test_users_are_told_apart_by_their_number_else_their_address_else_not_at_all(tmp_path):
    path = export(
        tmp_path / "a.csv",
        line(user="renamed"),
        line(user="not-logged-in-f00", user_id="", ip="f00"),
        line(user="not-logged-in-xyz", user_id="", ip=""),
        line(user="", user_id="", ip=""),
        line(user="", user_id="", ip=""),
    )
    found = votes(path)
    assert [each.user for each in found] == ["id:7", "address:f00", "name:not-logged-in-xyz", "row:4", "row:5"]
    assert found[1].shown == "not-logged-in-f00"


def test_the_task_is_the_first_or_the_one_that_is_named_also_within_others(tmp_path):
    together = [{"task": "T3", "value": "No"}, {"task": "T4", "value": ["arc", " ring  of stars", "arc"]}]
    path = export(tmp_path / "a.csv", line(annotations=[{"task": "combo", "value": together}]))
    assert votes(path)[0].answers == ("No",)
    assert votes(path, task="T4")[0].answers == ("arc", "ring of stars")
    failed = votes(path, task="T9")[0]
    assert (failed.reason, failed.text) == ("the task was not answered", "answered: T3, T4")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"annotations": '[{"task": "T0", "value'}, "annotations is no JSON"),
        ({"annotations": '{"T0": 1}'}, "annotations is no list of tasks"),
        ({"annotations": []}, "the task was not answered"),
        ({"value": None}, "the task was not answered"),
        ({"value": []}, "the task was not answered"),
        ({"value": 1}, "the answer is no text"),  # a place in the list of answers: 1 is the second, and no "1"
        ({"value": [{"x": 3.5, "y": 2, "tool": 0}]}, "the answer is no text"),
        ({"subject": {}}, "there is no object_id"),
        ({"subject": {"#object_id": "4.31589E+16"}}, "the id was rounded"),
        ({"subject": {"#object_id": 4.31589e16}}, "the id was rounded"),
    ],
)
def test_a_bad_line_is_told_with_its_reason_and_the_rest_goes_on(tmp_path, bad, reason):
    path = export(tmp_path / "a.csv", line(), line(**bad), line(number=3))
    first, failed, last = votes(path)
    assert isinstance(failed, Failure)
    assert failed.row == 2
    assert failed.reason.startswith(reason)
    assert (first.order, last.order) == (1, 3)


def test_a_line_of_several_subjects_is_not_counted(tmp_path):
    cells = line()
    cells[12] = json.dumps({"1": {"object_id": "1"}, "2": {"object_id": "2"}})
    assert votes(export(tmp_path / "a.csv", cells))[0].reason == "subject_data is not that of one subject"


def test_lines_that_are_cut_short_are_told_and_empty_ones_are_none(tmp_path):
    path = export(tmp_path / "a.csv", line(), line()[:5], [], line(number=4))
    found = votes(path)
    assert [type(each) for each in found] == [Vote, Failure, Vote]
    assert (found[1].reason, found[1].text) == (
        "the line is cut short or has too much",
        "5 cells, and there are 14 columns",
    )


def test_long_drawings_are_read_and_the_limit_of_csv_is_as_before(tmp_path):
    before = csv.field_size_limit()
    drawing = [{"task": "T0", "value": "Yes"}, {"task": "T1", "value": [{"x": 1.5}] * 20_000}]
    path = export(tmp_path / "a.csv", line(annotations=drawing))
    assert len(path.read_text()) > 2 * before
    assert votes(path)[0].answers == ("Yes",)
    assert csv.field_size_limit() == before


def test_several_workflows_are_refused_unless_one_is_named(tmp_path):
    path = export(tmp_path / "a.csv", line(), line(workflow="100"), line(number=3))
    with pytest.raises(ValueError, match=r"several workflows, 99 \(Odd or not\) and 100 \(Odd or not\); .* --workflow"):
        votes(path)
    assert [each.order for each in votes(path, workflow="99")] == [1, 3]
    assert votes(path, workflow="7") == []


def test_a_time_that_is_none_is_left_out(tmp_path):
    assert [each.at for each in votes(export(tmp_path / "a.csv", line(at=""), line(at="yesterday")))] == ["", ""]


# --- tables


def test_a_plain_table_is_read_row_by_row(tmp_path):
    path = tmp_path / "a.csv"
    rows = [f"{ID},Interesting,ann", "4.3E+16,yes,bob", f"{ID + 1},1.0,", "-5,,cy", f'{ID},"é, no",cy']
    path.write_text("\ufeff# Object_ID,Label,User\n" + "\n".join(rows) + "\n", encoding="utf-8")
    found = votes(path)
    assert [(each.object_id, each.user, each.answers) for each in found if isinstance(each, Vote)] == [
        (ID, "name:ann", ("Interesting",)),
        (ID + 1, "row:3", ("1",)),
        (ID, "name:cy", ("é, no",)),
    ]
    assert [(each.row, each.reason[:16]) for each in found if isinstance(each, Failure)] == [
        (2, "the id was round"),
        (4, "there is no answ"),
    ]


def test_other_formats_and_a_column_that_is_named_are_read(tmp_path):
    table = {"object_id": [ID, -ID, None], "kind": ["ring", None, "arc"], "interesting": [True, False, True]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    found = votes(tmp_path / "a.parquet")
    assert [(each.object_id, each.answers) for each in found[:2]] == [(ID, ("True",)), (-ID, ("False",))]
    assert found[2].reason.startswith("there is no object_id")
    by_kind = votes(tmp_path / "a.parquet", task="Kind")
    assert by_kind[0].answers == ("ring",)
    assert by_kind[1].reason == "there is no answer"


def test_what_cannot_be_read_is_refused_and_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist; give the classification export"):
        votes(tmp_path / "none.csv")
    path = tmp_path / "a.csv"
    path.write_text("object_id,kind\n1,ring\n")
    with pytest.raises(ValueError, match=r"must have columns object_id and label .* it has object_id, kind"):
        votes(path)
    with pytest.raises(ValueError, match="has no workflows; leave --workflow away"):
        votes(path, workflow="3")
    path.write_text("")
    with pytest.raises(ValueError, match="must have columns object_id"):
        votes(path)
    pq.write_table(pa.table({"object_id": [float(ID)], "label": ["yes"]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="holds object_id as floats"):
        votes(tmp_path / "a.parquet")
    short = export(tmp_path / "b.csv.gz", *(line(number=each, user=f"user{each * 7919}") for each in range(500)))
    short.write_bytes(short.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"is cut short after record .*; download it again"):
        votes(short)
