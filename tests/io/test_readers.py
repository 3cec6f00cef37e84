import os
import pickle
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_array_equal
from PIL import Image

from peculiar.io.readers import Entry, Loaded, ReadOptions, Rejected, list_entries, read_many, survey_shape

DATA = Path(__file__).parents[3] / "shared" / "data"
RANDOM = np.random.default_rng(6)
OPTIONS = ReadOptions()


@pytest.fixture
def data() -> Path:
    if not DATA.exists():
        pytest.skip(f"no real data in {DATA}")
    return DATA


def save(path: Path, height: int = 64, width: int = 64, channels: int = 3) -> np.ndarray:
    pixels = RANDOM.integers(0, 256, (height, width, channels), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path)
    return pixels


def read_all(folder: Path, options: ReadOptions = OPTIONS) -> dict[str, Loaded | Rejected]:
    entries = list(list_entries(folder, options))
    return dict(zip([entry.source for entry in entries], read_many(entries, options), strict=True))


def test_a_folder_is_listed_to_its_depths_in_stable_order(tmp_path):
    for name in ("b.png", "a/z.JPG", "a/b/c.tif", "c.webp", ".hidden.png", ".cache/d.png"):
        save(tmp_path / name)
    (tmp_path / "README.txt").write_text("hello")
    (tmp_path / "a" / "objects.csv").write_text("object_id\n1\n")
    (tmp_path / "noise").write_text("")
    ignored: Counter[str] = Counter()
    entries = list(list_entries(tmp_path, OPTIONS, ignored=ignored))
    assert [entry.source for entry in entries] == ["a/b/c.tif", "a/z.JPG", "b.png", "c.webp"]
    assert all(entry.object_id is None for entry in entries)
    assert ignored == {".txt": 1, ".csv": 1, "no suffix": 1}
    assert all(isinstance(result, Loaded) for result in read_many(entries, OPTIONS))


def test_listing_is_lazy(tmp_path, monkeypatch):
    for name in ("a/1.png", "b/1.png"):
        save(tmp_path / name)
    scanned = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: scanned.append(str(path)) or scandir(path))
    assert next(iter(list_entries(tmp_path, OPTIONS))).source == "a/1.png"
    assert str(tmp_path / "b") not in scanned


def test_the_issues_bad_inputs_are_rejected_with_rule_and_value(tmp_path):
    good = save(tmp_path / "good.png")
    save(tmp_path / "tiny.png", 5, 5)
    save(tmp_path / "long.png", 9000, 10)
    save(tmp_path / "small.png", 48, 48)
    save(tmp_path / "grey.png", channels=1)
    (tmp_path / "text.jpg").write_text("this is no image")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:3000])
    Image.fromarray(good).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:3000])
    Image.new("RGB", (64, 64), (9, 8, 7)).save(tmp_path / "constant.png")
    fits.PrimaryHDU(np.full((3, 64, 64), np.nan, np.float32)).writeto(tmp_path / "nan.fits")
    fits.PrimaryHDU(good.transpose(2, 0, 1).astype("f4")).writeto(tmp_path / "cut.fits")
    (tmp_path / "cut.fits").write_bytes((tmp_path / "cut.fits").read_bytes()[:9000])
    results = read_all(tmp_path, replace(OPTIONS, size=64, channels=3))
    assert_array_equal(results.pop("good.png").image, good)
    assert results.pop("grey.png").image.shape == (64, 64, 3)
    for source, result in results.items():
        assert isinstance(result, Rejected), source
        assert result.reason.startswith(f"{source}: ")
        assert result.value
    assert {source: (r.rule, r.value) for source, r in results.items() if r.rule != "unreadable"} == {
        "tiny.png": ("too small", "5x5"),
        "long.png": ("too small", "9000x10"),
        "small.png": ("wrong size", "48x48"),
        "empty.png": ("empty file", "0 bytes"),
        "constant.png": ("constant image", "[9, 8, 7]"),
        "nan.fits": ("no finite pixel", "plane 0"),
    }
    unreadable = {source for source, r in results.items() if r.rule == "unreadable"}
    assert unreadable == {"text.jpg", "cut.png", "cut.jpg", "cut.fits"}
    assert "--fit crop|pad|resample" in results["small.png"].reason


def test_vanished_and_forbidden_files_do_not_raise(tmp_path):
    results = read_many([Entry("a.png", str(tmp_path / "a.png")), Entry("b.h5#1", str(tmp_path / "b.h5"), 0)], OPTIONS)
    assert [result.rule for result in results] == ["unreadable", "unreadable"]


@pytest.mark.parametrize(
    ("how", "rule"), [("exact", "wrong size"), ("crop", "too small"), ("pad", ""), ("resample", "")]
)
def test_the_fit_is_what_was_asked_for(tmp_path, how, rule):
    save(tmp_path / "a.png", 48, 48)
    (result,) = read_all(tmp_path, ReadOptions(size=64, fit=how)).values()
    assert getattr(result, "rule", "") == rule
    if not rule:
        assert result.image.shape == (64, 64, 3)


def test_an_empty_center_is_constant(tmp_path):
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[0] = 200
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (result,) = read_all(tmp_path, ReadOptions(size=32, fit="crop")).values()
    assert result.rule == "constant image"


def test_color_in_a_grey_survey_has_wrong_channels(tmp_path):
    save(tmp_path / "a.png")
    (result,) = read_all(tmp_path, ReadOptions(channels=1)).values()
    assert (result.rule, result.value) == ("wrong channels", "3")


def test_ids_come_from_names_when_asked(tmp_path):
    for name in ("cut_43158859342174407.png", "-3.png", "nothing.png"):
        save(tmp_path / name)
    results = read_all(tmp_path, ReadOptions(ids="name"))
    assert results["cut_43158859342174407.png"].entry.object_id == 43158859342174407
    assert results["-3.png"].entry.object_id == -3
    assert results["nothing.png"].rule == "bad id"


def test_results_keep_their_order_and_travel_between_processes(tmp_path):
    for i in range(6):
        save(tmp_path / f"{i}.png", 64 if i % 2 else 5, 64)
    entries = list(list_entries(tmp_path, OPTIONS))[::-1]
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        results = pool.submit(read_many, entries, OPTIONS).result(timeout=60)
    assert [isinstance(result, Loaded) for result in results] == [True, False] * 3
    assert [r.entry if isinstance(r, Loaded) else r.source for r in results[:2]] == [entries[0], "4.png"]
    assert pickle.loads(pickle.dumps(OPTIONS)) == OPTIONS  # noqa: S301


def test_the_survey_takes_the_most_common_shape(tmp_path):
    for i in range(5):
        save(tmp_path / f"a{i}.png", 40, 40)
    save(tmp_path / "b.png", 64, 64)
    save(tmp_path / "c.png", 64, 80, channels=1)
    (tmp_path / "d.png").write_bytes(b"")
    assert survey_shape(list_entries(tmp_path, OPTIONS), OPTIONS) == (40, 3)
    assert survey_shape(list_entries(tmp_path, OPTIONS), ReadOptions(size=50, channels=1)) == (50, 1)
    only = [Entry("c.png", str(tmp_path / "c.png"))]
    assert survey_shape(only, ReadOptions(fit="crop")) == (64, 1)
    assert survey_shape(only, ReadOptions(fit="pad")) == (80, 1)
    with pytest.raises(ValueError, match=r"nothing could be read \(1 tried\).*c.png: is 64x80.*--fit crop"):
        survey_shape(only, OPTIONS)
    with pytest.raises(ValueError, match="no input"):
        survey_shape([], OPTIONS)


def test_images_that_are_not_there_or_of_no_kind_raise(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        list_entries(tmp_path / "nowhere", OPTIONS)
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(ValueError, match="of no kind"):
        list_entries(tmp_path / "a.txt", OPTIONS)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"size": 31}, "at least 32"),
        ({"channels": 9}, "channels"),
        ({"fit": "stretch"}, "fit"),
        ({"q": 0.0}, "positive"),
        ({"bands": ("i", "i")}, "different"),
        ({"bands": ("i", "r"), "stretch": "lupton"}, "three bands"),
        ({"band_pattern": "{name}.fits", "bands": ("i",)}, "{band}"),
        ({"band_pattern": "{name}_{band}.fits"}, "--bands"),
        ({"is_field": True}, "--bands"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, word):
    with pytest.raises(ValueError, match=r"must|need") as raised:
        ReadOptions(**options)
    assert word in str(raised.value)


@pytest.mark.parametrize(("folder", "size", "n"), [("gz2", 128, 4889), ("hsc", 96, 602)])
def test_real_images_are_read(data, folder, size, n):
    entries = list(list_entries(data / folder, OPTIONS))
    assert len(entries) == n
    assert survey_shape(entries, OPTIONS) == (size, 3)
    for result in read_many(entries[:50], ReadOptions(size=size, channels=3)):
        assert isinstance(result, Loaded), result
        assert_array_equal(result.image, np.asarray(Image.open(result.entry.path)))
