import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from peculiar.run import as_json, atomic, begin, compared_fields, finish, read_run, read_started, recorded_config


@dataclass(frozen=True, kw_only=True)
class Config:
    weight: float = 0.3
    bands: tuple[str, ...] = ("i", "r")
    images: Path = Path("somewhere")
    device: str = field(default="auto", compare=False)


def test_a_record_comes_last_and_comes_back(tmp_path):
    run = begin(tmp_path / "stage", "score", Config(), inputs={"survey": 3})
    assert read_run(tmp_path / "stage") is None
    assert read_started(tmp_path / "stage") == run
    done = finish(tmp_path / "stage", run, n_objects=7)
    assert read_run(tmp_path / "stage") == done
    assert read_started(tmp_path / "stage") is None
    assert (done.stage, done.inputs, done.outputs) == ("score", {"survey": 3}, {"n_objects": 7})
    assert done.config == {"weight": 0.3, "bands": ["i", "r"], "images": "somewhere", "device": "auto"}
    assert done.started
    assert done.finished >= done.started
    assert done.packages["numpy"][0].isdigit()


def test_beginning_again_takes_the_promise_back_and_keeps_outputs_and_files(tmp_path):
    finish(tmp_path, begin(tmp_path, "score", Config(), inputs={}), n_objects=7)
    (tmp_path / "table").write_text("rows")
    run = begin(tmp_path, "score", Config(device="cpu"), inputs={})
    assert read_run(tmp_path) is None
    assert run.outputs == {"n_objects": 7}
    assert (tmp_path / "table").exists()


def test_an_interrupted_stage_keeps_its_first_time_of_start(tmp_path):
    begin(tmp_path, "score", Config(), inputs={})
    record = json.loads((tmp_path / "started.json").read_text())
    (tmp_path / "started.json").write_text(json.dumps(record | {"started": "2020-01-01T00:00:00+00:00"}))
    assert begin(tmp_path, "score", Config(), inputs={}).started.startswith("2020")


def test_another_config_is_refused_naming_the_field_and_both_values(tmp_path):
    begin(tmp_path, "score", Config(), inputs={})
    with pytest.raises(ValueError, match=r"weight was 0\.3, now 0\.5.*--replace"):
        begin(tmp_path, "score", Config(weight=0.5), inputs={})
    with pytest.raises(ValueError, match=r"bands was \['i', 'r'\], now \['g'\]"):
        begin(tmp_path, "score", Config(bands=("g",)), inputs={})
    assert recorded_config(tmp_path)["weight"] == 0.3


def test_replace_empties_the_folder(tmp_path):
    finish(tmp_path / "a", begin(tmp_path / "a", "score", Config(), inputs={}), n_objects=7)
    (tmp_path / "a" / "table").write_text("rows")
    run = begin(tmp_path / "a", "score", Config(weight=0.5), inputs={}, replace=True)
    assert not (tmp_path / "a" / "table").exists()
    assert run.outputs == {}


def test_fields_that_do_not_change_the_result_are_not_compared():
    assert compared_fields(Config()) == ["weight", "bands", "images"]
    assert as_json(Config(images=Path("a/b")))["images"] == "a/b"


def test_a_damaged_record_is_refused_with_a_remedy(tmp_path):
    (tmp_path / "run.json").write_text('{"stage": ')
    with pytest.raises(ValueError, match=r"run\.json is not a stage record.*move the folder away"):
        read_run(tmp_path)


def test_an_atomic_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("before")

    def write_and_fail() -> None:
        with atomic(path) as partial:
            partial.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert path.read_text() == "before"
    with atomic(path) as partial:
        partial.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert [each.name for each in tmp_path.iterdir()] == ["file.txt"]
    assert path.stat().st_mode & 0o777 == 0o644
