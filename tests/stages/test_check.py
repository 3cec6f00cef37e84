import json

import pyarrow as pa
import pytest

from peculiar import Atlas
from peculiar.checkpoint import TrainingFolder, file_digest
from peculiar.survey import Table


def wrong(folder):
    """The questions that were answered with no, and their details."""
    return {each.question: each.detail for each in Atlas(folder).check() if not each.is_right}


def test_an_untouched_atlas_is_right_in_everything(ranked):
    findings = Atlas(ranked).check()
    assert wrong(ranked) == {}
    assert len(findings) >= 10
    assert all(each.detail for each in findings)


def test_a_changed_generator_is_wrong_naming_both_digests(copy, ranked):
    folder = copy(ranked)
    training = TrainingFolder(folder / "networks" / "gan")
    path = training.checkpoint_path()
    before = file_digest(path)
    path.write_bytes(training.checkpoint_path(2).read_bytes())
    found = wrong(folder)
    assert (
        found[f"{path.relative_to(folder)} is the file that scored"] == f"digest {file_digest(path)}, recorded {before}"
    )
    assert any(question.startswith("score_gen of") for question in found)


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_an_absent_or_damaged_generator_is_a_finding_and_no_error(copy, ranked, damage):
    folder = copy(ranked)
    path = TrainingFolder(folder / "networks" / "gan").checkpoint_path()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-50])
    assert f"{path.relative_to(folder)} is the file that scored" in wrong(folder)


def test_a_score_that_cannot_be_made_again_is_wrong(copy, ranked):
    folder = copy(ranked)
    Table(folder / "scores" / "main" / "table.lance").open().update({"score_disc": "score_disc * 1.01"})
    assert [question.split(" of ")[0] for question in wrong(folder)] == ["score_disc"]


def test_missing_and_alien_objects_are_wrong(copy, ranked):
    folder = copy(ranked)
    scores = Table(folder / "scores" / "main" / "table.lance")
    ids = scores.object_ids()
    scores.open().delete(f"object_id = {ids[0]}")
    found = wrong(folder)
    assert found["the scores and the survey have the same objects"] == "0 unknown to the survey, 1 of it missing"
    Table(folder / "survey" / "table.lance").open().delete(f"object_id IN ({ids[1]}, {ids[2]})")
    found = wrong(folder)
    assert found["the scores and the survey have the same objects"] == "2 unknown to the survey, 1 of it missing"
    assert found["the ranking and the survey have the same objects"] == "2 unknown to the survey, 0 of it missing"


def test_an_object_that_stands_twice_is_wrong(copy, ranked):
    folder = copy(ranked)
    scores = Table(folder / "scores" / "main" / "table.lance")
    row = scores.take(scores.object_ids()[:1])
    scores.append(row.to_batches(), row.schema)
    assert wrong(folder)["every object_id stands once in the scores"] == "65 rows, 1 again"


@pytest.mark.parametrize("name", ["reference.json", "reference.parquet"])
def test_a_changed_reference_is_wrong(copy, ranked, name):
    import pyarrow.parquet as pq

    folder = copy(ranked)
    path = folder / "rankings" / "main" / name
    if name == "reference.json":
        written = json.loads(path.read_text())
        written["distributions"]["score_gen"]["mean"] += 1.0
        path.write_text(json.dumps(written))
    else:
        rows = pq.read_table(path)
        values = rows["log_score_0"].to_numpy() + 1.0
        pq.write_table(rows.set_column(rows.column_names.index("log_score_0"), "log_score_0", pa.array(values)), path)
    assert "the ranking was made with its reference" in wrong(folder)


def test_checking_before_ranking_says_what_to_do(trained):
    with pytest.raises(FileNotFoundError, match=r"rankings/main is not complete in .*; run "):
        Atlas(trained).check()
