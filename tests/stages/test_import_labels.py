import pytest

from peculiar import Atlas
from peculiar.labels import Labels


@pytest.fixture
def folder(copy, ingested):
    return copy(ingested)


def write(path, *rows, header="object_id,label"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return path


def votes_of(folder):
    return {(row["expert"], row["object_id"]): row["label"] for row in Labels(folder).votes().to_pylist()}


def test_the_same_file_twice_adds_nothing(folder, inputs, tmp_path):
    ids = inputs.object_id[:4].tolist()
    path = write(tmp_path / "a.csv", (ids[0], "Merger"), (ids[1], " lens"), (7, "lens"), (ids[2], ""), ("", "lens"))
    done = Atlas(folder).import_labels(path, expert="ann")
    assert (done.n_rows, done.n_added, done.n_known, done.n_empty, done.n_unknown) == (5, 2, 0, 2, 1)
    assert votes_of(folder) == {("ann", ids[0]): "merger", ("ann", ids[1]): "lens"}
    again = Atlas(folder).import_labels(path.rename(tmp_path / "b.csv"), expert="ann")
    assert (again.n_added, again.n_known) == (0, 2)
    assert Labels(folder).last_event() == 2


def test_experts_and_times_of_the_table_count(folder, inputs, tmp_path):
    ids = inputs.object_id[:3].tolist()
    rows = [(ids[0], "lens", "bob", "2024-05-06T07:08:09"), (ids[1], "lens", "", ""), (ids[2], 1.0, "cy", "")]
    path = write(tmp_path / "a.csv", *rows, header="Object_ID,Label,Expert,at")
    with pytest.raises(ValueError, match="does not say whose labels these are; give --expert NAME"):
        Atlas(folder).import_labels(path)
    done = Atlas(folder).import_labels(path, expert="ann", add_classes=True)
    assert done.classes_added == ("1",)
    assert votes_of(folder) == {("bob", ids[0]): "lens", ("ann", ids[1]): "lens", ("cy", ids[2]): "1"}
    times = dict(zip(*(Labels(folder).votes().to_pydict()[each] for each in ("expert", "at")), strict=True))
    assert times["bob"] == "2024-05-06T07:08:09"


def test_classes_that_are_not_known_are_named_and_nothing_is_stored(folder, inputs, tmp_path):
    ids = inputs.object_id[:3].tolist()
    path = write(tmp_path / "a.csv", (ids[0], "lens"), (ids[1], "Ring"), (ids[2], "ring"))
    with pytest.raises(ValueError, match=r"no class Ring, ring; there are artefact, .* --add-classes adds them"):
        Atlas(folder).import_labels(path, expert="ann")
    assert not Labels(folder).exists()
    assert Atlas(folder).import_labels(path, expert="ann", add_classes=True).classes_added == ("Ring",)
    assert len(Labels(folder).classes()) == 8
    assert set(votes_of(folder).values()) == {"lens", "Ring"}


def test_a_table_without_labels_is_refused(folder, inputs, tmp_path):
    path = write(tmp_path / "a.csv", (inputs.object_id[0], 3), header="object_id,kind")
    with pytest.raises(ValueError, match="has no column label; it has object_id, kind"):
        Atlas(folder).import_labels(path, expert="ann")
