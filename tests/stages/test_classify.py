import csv
import json
import shutil

import numpy as np
import pyarrow.csv
import pytest
from scipy.stats import binomtest

from peculiar import Atlas
from peculiar.figures.classifications import choose_surest
from peculiar.labels import Labels
from peculiar.run import read_run
from peculiar.stages.bundle import BundleConfig, bundle
from peculiar.stages.classify import ClassifyConfig, classify, wilson_bounds
from peculiar.survey import Table

N_USERS = 9
HEADER = [
    *("classification_id", "user_name", "user_id", "user_ip", "workflow_id", "workflow_name", "created_at"),
    *("metadata", "annotations", "subject_data", "subject_ids"),
]


def line(number, user, subject, answer):
    """A line as Zooniverse exports it: of who is logged in, or of an address."""
    is_known = not user.startswith("not-logged-in")
    annotations = [{"task": "T0", "task_label": "Is there anything unusual?", "value": answer}]
    about = json.dumps({str(5000 + number): {"retired": None, **subject}})
    who = [user, str(hash_of(user)) if is_known else "", f"ip{hash_of(user)}"]
    return [str(number), *who, "77", "Odd", "2024-05-06 07:08:09 UTC", "{}", json.dumps(annotations), about, "1"]


def hash_of(user):
    return sum(ord(each) * 31**place for place, each in enumerate(user)) % 100_003


def write(path, lines):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *lines])
    return path


@pytest.fixture(scope="module")
def bundled(ranked, tmp_path_factory):
    """An atlas with a bundle of all its objects, and their subjects as volunteers' answers name them."""
    folder = shutil.copytree(ranked, tmp_path_factory.mktemp("bundled") / "atlas")
    bundle(folder, BundleConfig(n=12, n_control=52, size=32, n_in_folder=40))
    subjects = []
    for part in ("part-01", "part-02"):
        with (folder / "bundles" / "main" / part / "manifest.csv").open(newline="", encoding="utf-8") as file:
            subjects += list(csv.DictReader(file))
    return folder, subjects


@pytest.fixture
def atlas(bundled, copy):
    return copy(bundled[0])


def said(subjects, seed=0):
    """Votes of known number: of object k in the bundle's order, k mod 10 of nine are for interesting."""
    random = np.random.default_rng(seed)
    lines, expected = [], {}
    for place, subject in enumerate(subjects):
        n_yes = place % (N_USERS + 1)
        expected[int(subject["#object_id"])] = (N_USERS, n_yes)
        for user, answer in enumerate(random.permutation([1] * n_yes + [0] * (N_USERS - n_yes)).tolist()):
            name = f"user{user}" if user < 6 else f"not-logged-in-{user:05x}"
            lines.append((name, subject, "Interesting" if answer else "Not interesting"))
    shuffled = [lines[each] for each in random.permutation(len(lines))]
    return [line(number, *each) for number, each in enumerate(shuffled, 1)], expected


def counts_of(folder, name="main"):
    rows = Table(folder / "classifications" / name / "table.lance").open().to_table().to_pylist()
    return {each["object_id"]: each for each in rows}


def test_votes_come_back_to_the_last_digit_and_stand_in_the_ranking(atlas, bundled, tmp_path, inputs):
    lines, expected = said(bundled[1])
    run = classify(atlas, ClassifyConfig(table=write(tmp_path / "a.csv", lines), bundle="main"))
    assert (run.outputs["n_votes"], run.outputs["n_users"], run.outputs["n_failed"]) == (64 * N_USERS, N_USERS, 0)
    found = counts_of(atlas)
    assert set(found) == set(inputs.object_id.tolist())
    counted = {
        each: (row["classification_n_votes"], row["classification_n_interesting"]) for each, row in found.items()
    }
    assert counted == expected
    ranking = Atlas(atlas).ranking()
    part = dict(zip(ranking.object_ids.tolist(), ranking.column("classification_interesting"), strict=True))
    assert part == {each: pytest.approx(yes / n) for each, (n, yes) in expected.items()}
    n_sure = sum(yes >= 8 for _, yes in expected.values())
    assert len(Atlas(atlas).select("classification_n_interesting >= 8")) == n_sure
    home = atlas / "classifications" / "main"
    table = pyarrow.csv.read_csv(home / "counts.csv").to_pylist()
    assert {each["object_id"]: each["classification_n_interesting"] for each in table} == {
        each: yes for each, (_, yes) in expected.items()
    }
    page = (home / "classifications.html").read_text()
    assert "First and controls" in page
    assert f">{sum(yes for _, yes in expected.values())}<" in page
    assert Atlas(atlas).status()
    assert next(each for each in Atlas(atlas).status() if each.folder == "classifications/main").state == "complete"


def test_the_first_of_several_answers_of_one_user_counts_in_whatever_order_they_are(atlas, bundled, tmp_path):
    subject = bundled[1][0]
    lines = [
        line(12, "ann", subject, "Not interesting"),
        line(11, "ann", subject, "Interesting"),
        line(13, "ann", subject, "Not interesting"),
        line(14, "bob", subject, "Not interesting"),
        line(15, "not-logged-in-1", subject, "Interesting"),
        line(16, "not-logged-in-1", subject, "Interesting"),
        line(17, "not-logged-in-2", subject, "Not interesting"),
    ]
    run = classify(atlas, ClassifyConfig(table=write(tmp_path / "a.csv", lines)))
    assert (run.outputs["n_votes"], run.outputs["n_repeated"], run.outputs["n_users"]) == (4, 3, 4)
    row = counts_of(atlas)[int(subject["#object_id"])]
    assert (row["classification_n_votes"], row["classification_n_interesting"]) == (4, 2)


def test_what_cannot_be_counted_is_told_and_what_a_spreadsheet_rounded_is_recovered(atlas, bundled, tmp_path):
    a, b, c = [each for each in bundled[1] if len(each["#object_id"]) == 17][:3]
    broken = line(4, "ann", a, "Interesting")
    broken[8] = broken[8][:20]
    lines = [
        line(1, "ann", {**a, "#object_id": "4.31589E+16"}, "Interesting"),  # its name is whole
        line(2, "ann", {"#object_id": "4.31589E+16"}, "Interesting"),
        line(3, "ann", {"#object_id": "123456789"}, "Interesting"),
        broken,
        line(5, "ann", b, None),
        line(6, "ann", c, "Interesting")[:7],
        line(7, "ann", b, "Not interesting"),
    ]
    run = classify(atlas, ClassifyConfig(table=write(tmp_path / "a.csv", lines)))
    outputs = run.outputs
    assert (outputs["n_votes"], outputs["n_failed"], outputs["n_recovered"]) == (2, 5, 1)
    assert set(counts_of(atlas)) == {int(a["#object_id"]), int(b["#object_id"])}
    with (atlas / "classifications" / "main" / "failures.csv").open(newline="") as file:
        failures = {int(each["row"]): (each["reason"], each["text"]) for each in csv.DictReader(file)}
    assert sorted(failures) == [2, 3, 4, 5, 6]
    assert failures[2][0].startswith("the id was rounded")
    assert failures[3] == ("there is no such object here", "123456789")
    assert failures[4][0] == "annotations is no JSON"
    assert failures[5][0] == "the task was not answered"
    assert "failures.csv" in (atlas / "classifications" / "main" / "classifications.html").read_text()


def test_other_answers_are_counted_and_those_that_are_interesting_may_be_named(atlas, bundled, tmp_path):
    subject = bundled[1][0]
    answers = ["Arc, or a ring", "arc, but faint", "Smooth", "Smooth", ["Smooth", "Ring"]]
    lines = [line(number, f"user{number}", subject, each) for number, each in enumerate(answers)]
    path = write(tmp_path / "a.csv", lines)
    with pytest.raises(ValueError, match=r"no answer counts as interesting, which are .*'Smooth' \(2\).*--interesting"):
        classify(atlas, ClassifyConfig(table=path))
    assert not (atlas / "classifications").exists()
    run = classify(atlas, ClassifyConfig(table=path, interesting=("ARC*", "ring")))
    assert (run.outputs["n_votes"], run.outputs["n_interesting"]) == (5, 3)
    table = pyarrow.csv.read_csv(atlas / "classifications" / "main" / "answers.csv").to_pylist()
    assert {each["answer"]: each["n_votes"] for each in table} == {
        "Arc, or a ring": 1,
        "arc, but faint": 1,
        "Smooth": 3,
        "Ring": 1,
    }


def test_few_votes_give_no_part_and_nine_of_ten_are_above_one_of_one(atlas, inputs, tmp_path):
    ids = inputs.object_id.tolist()
    rows = [f"{ids[0]},yes,user{each}" for each in range(9)] + [f"{ids[0]},no,user9", f"{ids[3]},yes,user1"]
    rows += [f"{ids[5]},no,user{each}" for each in range(10)] + [f"{ids[6]},no,user1"]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["object_id,label,user", *rows]) + "\n")
    classify(atlas, ClassifyConfig(table=path, n_shown=1))
    lower = {each: row["classification_lower"] for each, row in counts_of(atlas).items()}
    upper = {each: row["classification_upper"] for each, row in counts_of(atlas).items()}
    assert max(lower, key=lower.__getitem__) == ids[0]
    assert min(upper, key=upper.__getitem__) == ids[5]
    classify(atlas, ClassifyConfig(table=path, min_votes=2), name="few")
    few = counts_of(atlas, "few")
    assert {each: row["classification_interesting"] for each, row in few.items()} == {
        ids[0]: 0.9,
        ids[3]: None,
        ids[5]: 0.0,
        ids[6]: None,
    }
    assert few[ids[3]]["classification_n_votes"] == 1
    assert few[ids[3]]["classification_lower"] is None
    run = classify(atlas, ClassifyConfig(table=path, min_votes=99), name="none")
    assert run.outputs["n_rated"] == 0
    assert (atlas / "classifications" / "none" / "classified.png").exists()


def test_a_newer_export_is_counted_anew_and_other_words_need_a_word(atlas, bundled, tmp_path):
    lines, expected = said(bundled[1])
    classify(atlas, ClassifyConfig(table=write(tmp_path / "a.csv", lines[:200])))
    rows = counts_of(atlas)
    run = classify(atlas, ClassifyConfig(table=write(tmp_path / "b.csv", lines)))
    assert run.outputs["n_votes"] == len(lines) == sum(n for n, _ in expected.values())
    assert sum(each["classification_n_votes"] for each in rows.values()) == 200
    with pytest.raises(ValueError, match="min_votes was 1, now 3"):
        classify(atlas, ClassifyConfig(table=tmp_path / "b.csv", min_votes=3))
    again = counts_of(atlas)
    classify(atlas, ClassifyConfig(table=tmp_path / "b.csv"))
    assert counts_of(atlas) == again


def test_votes_can_be_taken_for_labels_and_stay_what_they_were(atlas, bundled, tmp_path):
    lines, expected = said(bundled[1])
    classify(atlas, ClassifyConfig(table=write(tmp_path / "a.csv", lines)))
    done = Atlas(atlas).import_labels(atlas / "classifications" / "main" / "votes.csv", add_classes=True)
    assert done.n_added == 64 * N_USERS
    assert sorted(done.classes_added) == ["Interesting", "Not interesting"]
    votes = Labels(atlas).votes().to_pylist()
    n_yes = dict.fromkeys(expected, 0)
    for each in votes:
        n_yes[each["object_id"]] += each["label"] == "Interesting"
    assert n_yes == {each: yes for each, (_, yes) in expected.items()}
    assert {each["at"] for each in votes} == {"2024-05-06T07:08:09+00:00"}
    assert "user3" in Labels(atlas).experts()


def test_a_table_of_which_nothing_can_be_counted_says_the_commonest_reason(atlas, tmp_path):
    lines = [line(each, "ann", {"#object_id": str(each)}, "Interesting") for each in range(3)]
    with pytest.raises(ValueError, match=r"3 of 3 as there is no such object here \(the first in row 1: '0'\)"):
        classify(atlas, ClassifyConfig(table=write(tmp_path / "a.csv", lines)))
    with pytest.raises(ValueError, match="holds no classification"):
        classify(atlas, ClassifyConfig(table=write(tmp_path / "b.csv", [])))
    assert not (atlas / "classifications").exists()


def test_what_is_not_there_is_refused(atlas, bundled, tmp_path):
    path = write(tmp_path / "a.csv", said(bundled[1])[0])
    with pytest.raises(FileNotFoundError, match=r'bundles/none is not complete .*run "peculiar bundle" first'):
        classify(atlas, ClassifyConfig(table=path, bundle="none"))
    with pytest.raises(ValueError, match="catalogs/x has no images"):
        classify(atlas, ClassifyConfig(table=path, of="catalogs/x"))
    with pytest.raises(ValueError, match="min_votes and n_shown must be at least 1"):
        ClassifyConfig(table=path, min_votes=0)
    with pytest.raises(ValueError, match="interesting must name an answer"):
        ClassifyConfig(table=path, interesting=())
    assert read_run(atlas / "classifications" / "main") is None


def test_the_surest_are_chosen_and_none_is_both_most_and_least():
    n_yes, n = np.array([0, 9, 1, 0, 5, 10]), np.array([10, 10, 1, 1, 10, 10])
    lower, upper = wilson_bounds(n_yes, n)
    tie = np.arange(6, dtype=np.uint64)
    most, least = choose_surest(lower, upper, tie, 2)
    assert most.tolist() == [5, 1]
    assert least.tolist() == [0, 4]
    most, least = choose_surest(lower, upper, tie)
    assert sorted([*most, *least]) == [0, 1, 3, 4, 5]  # the one vote of 2 is for interesting: not among the least
    lower[:], upper[:] = 0.2, 0.8  # all alike: the order is that of the ties
    assert choose_surest(lower, upper, tie[::-1], 2)[0].tolist() == [5, 4]
    lower[0] = upper[0] = np.nan
    assert 0 not in np.concatenate(choose_surest(lower, upper, tie))


@pytest.mark.parametrize(("n_yes", "n"), [(0, 10), (10, 10), (5, 10), (9, 10), (1, 1), (37, 400)])
def test_bounds_are_wilson_s(n_yes, n):
    interval = binomtest(n_yes, n).proportion_ci(0.95, method="wilson")
    lower, upper = wilson_bounds(np.array([n_yes]), np.array([n]))
    assert lower[0] == pytest.approx(interval.low, abs=1e-12)
    assert upper[0] == pytest.approx(interval.high, abs=1e-12)


def test_no_vote_leaves_every_part_possible():
    lower, upper = wilson_bounds(np.zeros(1, np.int64), np.zeros(1, np.int64))
    assert (lower[0], upper[0]) == (0.0, 1.0)
