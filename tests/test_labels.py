import os
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from textwrap import dedent

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from peculiar.labels import DEFAULT_CLASSES, FORM, LabelClass, Labels, Said

AT = "2026-03-01T12:00:00.000Z"


def said(event_id, object_id, label="merger", at=AT):
    return Said(str(event_id), object_id, label, at)


def votes_of(labels, expert=None):
    return {(row["expert"], row["object_id"]): row["label"] for row in labels.votes(expert).to_pylist()}


@pytest.fixture
def labels(tmp_path):
    return Labels(tmp_path)


# --- nothing yet


def test_an_atlas_without_labels_is_empty_and_stays_without_a_file(labels, tmp_path):
    assert not labels.exists()
    assert labels.experts() == []
    assert labels.classes() == list(DEFAULT_CLASSES)
    assert labels.expert_of("token") is None
    assert labels.last_event() == 0
    assert labels.seen_by("ann").dtype == np.int64
    for table in (labels.votes(), labels.votes("ann"), labels.visible_votes("ann", is_blind=True), labels.events()):
        assert table.num_rows == 0
    assert [str(each.type) for each in labels.votes().schema] == ["int64", "string", "string", "int64", "string"]
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_that_a_kill_left_is_empty_too_and_is_gone_on_with(labels):
    labels.path.touch()
    assert labels.votes().num_rows == labels.last_event() == 0
    assert labels.add("ann", [said(1, 5)]) == [1]


def test_no_folder_is_made(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no atlas"):
        Labels(tmp_path / "none").add_expert("ann")
    assert not (tmp_path / "none").exists()


# --- experts


def test_a_token_is_known_until_there_is_another(labels):
    first = labels.add_expert(" Ann Lee ")
    assert labels.expert_of(first) == "Ann Lee"
    second = labels.add_expert("Ann Lee")
    assert labels.expert_of(first) is None
    assert labels.expert_of(second) == "Ann Lee"
    assert labels.expert_of("") is labels.expert_of("\udc80") is None
    labels.add_expert("Bob")
    assert labels.experts() == ["Ann Lee", "Bob"]
    assert first.encode() not in labels.path.read_bytes()
    assert len(second) >= 43


def test_names_are_composed_and_their_case_is_one(labels):
    labels.add_expert("Jose\u0301")
    assert labels.experts() == ["José"]
    labels.add("José", [said(1, 1)])
    assert labels.seen_by("Jose\u0301").tolist() == [1]
    with pytest.raises(ValueError, match="there is an expert 'José'; 'JOSÉ' differs in case only"):
        labels.add_expert("JOSÉ")
    with pytest.raises(ValueError, match="differs in case only"):
        labels.add("JOSÉ", [said(2, 1)])


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x00b", "x" * 65, "a\u202eb"])
def test_a_name_that_cannot_be_shown_is_refused(labels, name):
    with pytest.raises(ValueError, match="an expert's name must be 1 to 64 printable characters"):
        labels.add_expert(name)


# --- classes


def test_classes_are_a_list_of_which_the_newest_counts(labels):
    ring = LabelClass(" ring ", "#FF0000", "9", "a ring around a core")
    labels.set_classes([ring, *DEFAULT_CLASSES], "ann")
    assert labels.classes()[0] == LabelClass("ring", "#FF0000", "9", "a ring around a core")
    labels.add("ann", [said(1, 1, "ring")])
    labels.set_classes([LabelClass("bar")], "bob")
    assert labels.classes() == [LabelClass("bar")]
    labels.add("ann", [said(2, 2, "ring"), said(3, 3, "lens"), said(4, 4, "bar")])
    assert "ring" in labels.every_class()
    assert votes_of(labels)["ann", 1] == "ring"
    assert labels.experts() == ["ann", "bob"]
    with pytest.raises(ValueError, match="there are labels of the class 'ring'; keep its spelling, not 'Ring'"):
        labels.set_classes([LabelClass("Ring")], "ann")
    labels.set_classes([LabelClass("Artefact")], "ann")  # nobody has said the other


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (lambda: [], "1 to 40 classes, got 0"),
        (lambda: [LabelClass(f"c{each}") for each in range(41)], "1 to 40 classes, got 41"),
        (lambda: [LabelClass("a", key="1"), LabelClass("b", key="1")], "two classes have the key '1'"),
        (lambda: [LabelClass("a"), LabelClass("A ")], "two classes have the name 'a'"),
        (lambda: [LabelClass("x" * 41)], "a class's name must be 1 to 40 printable"),
        (lambda: [LabelClass("a", "red")], "the color of a must be #rrggbb, got 'red'"),
        (lambda: [LabelClass("a", "#12345g")], "the color of a"),
        (lambda: [LabelClass("a", key="x")], "the key of a must be one of 0 to 9 or empty"),
        (lambda: [LabelClass("a", key="10")], "the key of a"),
        (lambda: [LabelClass("a", description="x" * 501)], "the description of a"),
    ],
)
def test_classes_that_cannot_be_are_refused(labels, classes, message):
    with pytest.raises(ValueError, match=message):
        labels.set_classes(classes(), "ann")
    assert not labels.exists()


def test_the_default_classes_are_a_list_that_may_be_set(labels):
    labels.set_classes(DEFAULT_CLASSES, "ann")
    assert [each.key for each in labels.classes()] == list("1234567")
    assert len({each.color for each in DEFAULT_CLASSES}) == 7


# --- the log


def test_the_newest_of_an_expert_on_an_object_counts_and_all_is_kept(labels):
    assert labels.add("ann", [said(1, -5), said(2, 2**63 - 1, "lens"), said(3, -5, "normal")]) == [1, 2, 3]
    assert labels.add("bob", [said(4, -5, "lens"), said(5, 7)]) == [4, 5]
    assert labels.add("bob", [said(6, 7, None)]) == [6]
    assert votes_of(labels) == {("ann", -5): "normal", ("ann", 2**63 - 1): "lens", ("bob", -5): "lens"}
    assert votes_of(labels, "bob") == {("bob", -5): "lens"}
    assert labels.votes()["event"].to_pylist() == [2, 3, 4]
    assert_array_equal(labels.seen_by("ann"), [-5, 2**63 - 1])
    assert labels.seen_by("bob").tolist() == [-5]
    events = labels.events()
    assert events["replaces"].to_pylist() == [None, None, 1, None, None, 5]
    assert events["said_at"].to_pylist() == [AT] * 6
    assert labels.events(after=4)["label"].to_pylist() == ["merger", None]
    assert labels.last_event() == 6


def test_what_is_sent_again_is_stored_once(labels):
    sent = [said("a", 1), said("b", 2, None)]
    assert labels.add("ann", sent) == [1, 2]
    assert labels.add("ann", [*sent, said("c", 3), said("c", 3)]) == [1, 2, 3, 3]
    assert labels.last_event() == 3
    for other in (said("a", 2), said("a", 1, "lens")):
        with pytest.raises(ValueError, match="event_id 'a' is event 1, where ann said 'merger' of 1"):
            labels.add("ann", [said("new", 9), other])
    with pytest.raises(ValueError, match="event_id 'a' is another expert's") as refused:  # who and what is not told
        labels.add("bob", [said("new", 9), said("a", 1)])
    assert "merger" not in str(refused.value)
    assert labels.last_event() == 3  # all or none
    assert "bob" not in labels.experts()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (said(1, 1, "rnig"), "no class 'rnig'; there are artefact, lens"),
        (said(1, 1, ""), "no class ''"),
        (said(1, 2**63), "object_id must be int64"),
        (said("", 1), "an event_id must be 1 to 200"),
        (said(1, 1, at="yesterday"), "said_at must be a time as ISO 8601 has it, got 'yesterday'"),
        (said(1, 1, at=None), "said_at must be a time"),
    ],
)
def test_what_is_said_wrongly_is_refused_with_all_that_came_with_it(labels, wrong, message):
    with pytest.raises(ValueError, match=message):
        labels.add("ann", [said(0, 0), wrong])
    assert labels.last_event() == 0


def test_ids_of_numpy_are_ids_and_floats_are_none(labels):
    labels.add("ann", [said(1, np.int64(2**60 + 1))])
    assert labels.seen_by("ann").tolist() == [2**60 + 1]
    with pytest.raises(TypeError):
        labels.add("ann", [said(2, 1.0)])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET label = 'lens'",
        "DELETE FROM event",
        "INSERT OR REPLACE INTO event SELECT * FROM event",
        "INSERT OR REPLACE INTO event SELECT 99, event_id, 3, expert, label, said_at, stored_at, NULL FROM event",
        "UPDATE class_list SET expert = 'bob'",
        "DELETE FROM class_list",
        "INSERT OR REPLACE INTO class_list SELECT version, '[]', 'bob', '' FROM class_list",
    ],
)
def test_the_log_cannot_be_changed_by_any_program(labels, statement):
    labels.set_classes(DEFAULT_CLASSES, "ann")
    labels.add("ann", [said(1, 1)])
    connection = sqlite3.connect(labels.path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()
    assert votes_of(labels) == {("ann", 1): "merger"}


def test_a_newer_file_and_one_that_is_none_are_refused(labels):
    labels.add("ann", [said(1, 1)])
    connection = sqlite3.connect(labels.path)
    connection.execute(f"PRAGMA user_version = {FORM + 1}")
    connection.close()
    for act in (labels.votes, labels.last_event, lambda: labels.add("ann", [said(2, 2)])):
        with pytest.raises(ValueError, match=r"labels.sqlite was written by a newer peculiar \(form 2, known 1\)"):
            act()
    labels.path.write_bytes(b"no database at all" * 100)
    with pytest.raises(OSError, match="cannot be read or written: file is not a database"):
        labels.votes()


def test_a_fixed_copy_without_a_place_to_write_is_read(labels, monkeypatch):
    labels.add("ann", [said(1, 1)])
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may always write
    assert votes_of(labels) == {("ann", 1): "merger"}
    assert [each.name for each in labels.folder.iterdir()] == ["labels.sqlite"]


# --- who may see what


def test_blind_experts_see_others_where_they_have_voted(labels):
    labels.add("ann", [said(1, 1), said(2, 2), said(3, 3)])
    labels.add("bob", [said(4, 1, "lens"), said(5, 4, "lens"), said(6, 2, "lens"), said(7, 2, None)])
    seen = labels.visible_votes("bob", is_blind=True).to_pylist()
    assert {(row["expert"], row["object_id"]) for row in seen} == {("bob", 1), ("ann", 1), ("bob", 4)}
    assert labels.visible_votes("bob", is_blind=False).equals(labels.votes())
    assert labels.visible_votes("cy", is_blind=True).num_rows == 0


STEPS = st.tuples(
    st.sampled_from(["ann", "bob", "cy"]),
    st.integers(-2, 3),
    st.sampled_from(["merger", "lens", None]),
    st.integers(0, 30),  # of the event_id: some are sent again
)


@settings(max_examples=25, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_votes_are_what_the_log_says(tmp_path_factory, steps):
    labels = Labels(tmp_path_factory.mktemp("log"))
    sent = {}
    for expert, object_id, label, number in steps:
        sent.setdefault(number, (expert, object_id, label))
        expert, object_id, label = sent[number]
        labels.add(expert, [said(number, object_id, label)])
    current, last = {}, {}
    for row in labels.events().to_pylist():
        key = row["expert"], row["object_id"]
        assert row["replaces"] == last.get(key)
        current[key], last[key] = row["label"], row["event"]
    expected = {key: label for key, label in current.items() if label is not None}
    assert votes_of(labels) == expected
    assert labels.last_event() == len(sent)
    for expert in ("ann", "bob", "cy"):
        mine = {object_id for (name, object_id) in expected if name == expert}
        assert labels.seen_by(expert).tolist() == sorted(mine)
        seen = {(row["expert"], row["object_id"]) for row in labels.visible_votes(expert, is_blind=True).to_pylist()}
        assert seen == {key for key in expected if key[1] in mine}
        for is_blind in (True, False):
            every = labels.visible_votes(expert, is_blind=is_blind).to_pylist()
            for object_id in range(-2, 4):
                on_it = labels.visible_votes_on(object_id, expert, is_blind=is_blind).to_pylist()
                assert on_it == [each for each in every if each["object_id"] == object_id]


# --- many at once


def test_ten_thousand_at_once_take_about_a_second(labels):
    start = time.perf_counter()
    numbers = labels.add("ann", [said(each, each % 9_000) for each in range(10_000)])
    assert time.perf_counter() - start < 5  # a second, where nothing else runs
    assert numbers == list(range(1, 10_001))
    assert labels.votes().num_rows == len(labels.seen_by("ann")) == 9_000


def test_twenty_threads_label_at_once_from_the_first_moment(labels):
    def label(expert):
        return [labels.add(f"expert {expert}", [said(f"{expert}-{each}", each)])[0] for each in range(10)]

    with ThreadPoolExecutor(20) as pool:
        numbers = [number for each in pool.map(label, range(20)) for number in each]
    assert sorted(numbers) == list(range(1, 201))
    assert labels.votes().num_rows == 200
    assert len(labels.experts()) == 20


def label_some(folder, expert):
    labels = Labels(folder)
    return [labels.add(expert, [said(f"{expert}-{each}", each)])[0] for each in range(10)]


def test_several_processes_make_and_share_one_file(labels):
    with ProcessPoolExecutor(4, get_context("spawn")) as pool:
        jobs = [pool.submit(label_some, labels.folder, f"expert {each}") for each in range(4)]
        numbers = [number for each in jobs for number in each.result()]
    assert sorted(numbers) == list(range(1, 41))
    connection = sqlite3.connect(labels.path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_what_was_acknowledged_before_a_kill_is_there_once(labels):
    code = """
        import sys
        from itertools import count
        from pathlib import Path
        from peculiar.labels import Labels, Said

        labels = Labels(Path(sys.argv[1]))
        for each in count():
            at = "2026-03-01T12:00:00Z"
            print(labels.add("ann", [Said(f"event {each}", each, "merger", at)])[0], each, flush=True)
    """
    command = [sys.executable, "-c", dedent(code), str(labels.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines = [process.stdout.readline() for _ in range(25)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    acknowledged = {f"event {line.split()[1]}": int(line.split()[0]) for line in lines if line.endswith("\n")}
    assert len(acknowledged) >= 25
    rows = labels.events().to_pylist()
    stored = {row["event_id"]: row["event"] for row in rows}
    assert len(stored) == len(rows) <= len(acknowledged) + 1  # one may be stored, and its answer lost
    assert acknowledged.items() <= stored.items()
    sent_again = labels.add("ann", [said(f"event {each}", each) for each in range(len(rows) + 1)])
    assert sent_again[:-1] == [row["event"] for row in rows]
