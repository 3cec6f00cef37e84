import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from peculiar.run import (
    as_json,
    at_least,
    atomic,
    begin,
    compared_fields,
    finish,
    home_of,
    positive,
    read_run,
    read_started,
    recorded_config,
)


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
    begin(tmp_path, "score", Config(weight=0.7), inputs={})  # nothing was written yet: any config may be
    begin(tmp_path, "score", Config(), inputs={})
    (tmp_path / "rows").touch()
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


@pytest.mark.parametrize("name", ["", ".", "..", "../survey", "a/b", "a\\b", "naïve", "a b", "x" * 101, "a\n"])
def test_a_name_that_could_be_a_path_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="must be letters, digits, - and _"):
        home_of(tmp_path, "maps", name)
    assert home_of(tmp_path, "maps", "mine-2_b") == tmp_path / "maps" / "mine-2_b"


def test_another_process_cannot_begin_where_one_is_at_work(tmp_path, made):
    begins = """
        import sys
        from dataclasses import dataclass
        from pathlib import Path
        from peculiar.run import begin

        @dataclass(frozen=True, kw_only=True)
        class Config:
            weight: float = 0.3

        try:
            begin(Path(sys.argv[1]), "score", Config(), inputs={})
        except ValueError as error:
            print(error)
    """
    begin(tmp_path / "a", "score", Config(), inputs={})
    begin(tmp_path / "a", "score", Config(), inputs={})  # the same process may, after an error
    run = begin(tmp_path / "b", "score", Config(), inputs={})
    assert "another process is at work in" in made.python(begins, tmp_path / "b")
    finish(tmp_path / "b", run)
    shutil.rmtree(tmp_path / "b")
    assert made.python(begins, tmp_path / "b") == ""  # and what died holds nothing


def test_what_a_kill_leaves_of_a_replaced_folder_does_not_pass_for_complete(tmp_path, monkeypatch):
    home = tmp_path / "a"
    finish(home, begin(home, "score", Config(), inputs={}))
    (home / "deep").mkdir()

    def killed(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        begin(home, "score", Config(), inputs={}, replace=True)
    assert read_run(home) is None


def test_a_field_that_an_older_record_does_not_have_was_as_its_default(tmp_path):
    begin(tmp_path, "score", Config(), inputs={})
    (tmp_path / "rows").touch()
    record = json.loads((tmp_path / "started.json").read_text())
    del record["config"]["bands"]
    (tmp_path / "started.json").write_text(json.dumps(record))
    begin(tmp_path, "score", Config(), inputs={})
    (tmp_path / "started.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="bands was None, now"):
        begin(tmp_path, "score", Config(bands=("z",)), inputs={})


def test_what_no_stage_has_made_is_not_thrown_away(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.tex").write_text("of years")
    with pytest.raises(ValueError, match="holds what no stage has made"):
        begin(folder, "score", Config(), inputs={}, replace=True)
    assert (folder / "thesis.tex").exists()


def test_what_a_kill_left_while_a_folder_was_emptied_is_emptied_by_the_next(tmp_path):
    folder = tmp_path / "half"
    folder.mkdir()
    (folder / ".emptying").touch()
    (folder / "table.lance").mkdir()
    begin(folder, "score", Config(), inputs={}, replace=True)
    assert not (folder / "table.lance").exists()
    assert not (folder / ".emptying").exists()


def test_half_files_of_a_kill_are_swept_away(tmp_path):
    finish(tmp_path, begin(tmp_path, "score", Config(), inputs={}))
    (tmp_path / ".partial-x.fits").write_bytes(b"half")
    begin(tmp_path, "score", Config(), inputs={})
    assert not (tmp_path / ".partial-x.fits").exists()


@pytest.mark.parametrize(
    ("check", "value", "said"),
    [
        (lambda config: at_least(config, 1, "n"), 0, "n must be at least 1, got 0"),
        (lambda config: at_least(config, 0, "n"), -1, "n must not be negative, got -1"),
        (lambda config: at_least(config, 0, "n"), float("nan"), "n must not be negative, got nan"),
        (lambda config: positive(config, "n"), 0.0, "n must be positive, got 0.0"),
        (lambda config: positive(config, "n"), float("nan"), "n must be positive, got nan"),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(check, value, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        check(SimpleNamespace(n=value))
    check(SimpleNamespace(n=1))
