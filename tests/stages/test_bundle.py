import csv

import numpy as np
import pyarrow.csv
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from peculiar import Atlas
from peculiar.run import read_run, read_started
from peculiar.stages.bundle import BundleConfig, bundle

BASIC = {"n": 10, "n_control": 6, "size": 40, "seed": 3}


@pytest.fixture
def folder(copy, ranked):
    return copy(ranked)


def config(**options):
    return BundleConfig(**{**BASIC, **options})


def manifest(part):
    with (part / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def key(home):
    return pyarrow.csv.read_csv(home / "key.csv").to_pylist()


def test_the_first_and_others_at_random_are_mixed_and_the_key_tells_them_apart(folder):
    run = bundle(folder, config())
    home, ranking = folder / "bundles" / "main", Atlas(folder).ranking()
    assert (run.outputs["n_objects"], run.outputs["n_first"], run.outputs["n_control"]) == (16, 10, 6)
    rows = key(home)
    first = {each["rank"]: each["object_id"] for each in rows if each["sample"] == "first"}
    assert [first[place] for place in range(1, 11)] == ranking.object_ids[ranking.order()[:10]].tolist()
    assert {each["rank"] for each in rows if each["sample"] == "control"} == {None}
    values = dict(zip(ranking.object_ids.tolist(), ranking.column(run.outputs["by"]), strict=True))
    assert [each["value"] for each in rows] == pytest.approx([values[each["object_id"]] for each in rows])
    places = [each["rank"] or 0 for each in rows]
    assert places != sorted(places)
    assert places != sorted(places, reverse=True)
    assert [each["object_id"] for each in rows] == [int(each["#object_id"]) for each in manifest(home / "part-01")]
    page = (home / "bundle.html").read_text()
    assert "sheet.png" in page
    assert (home / "sheet.png").exists()


def test_the_manifest_tells_volunteers_nothing_of_scores_and_keeps_ids_to_the_last_digit(folder, inputs):
    bundle(folder, config(columns=("ra",), hidden=("magnitude", "source"), prefix="HSC", n=60, n_control=4))
    part = folder / "bundles" / "main" / "part-01"
    rows = manifest(part)
    assert list(rows[0]) == ["filename", "#object_id", "!subject_name", "ra", "#magnitude", "#source"]
    assert {int(each["#object_id"]) for each in rows} == set(inputs.object_id.tolist())
    assert all(each["!subject_name"] == f"HSC_{each['#object_id']}" for each in rows)
    assert all(each["filename"] == f"HSC_{each['#object_id']}.png" for each in rows)
    assert {each.name for each in part.iterdir()} == {*(each["filename"] for each in rows), "manifest.csv"}
    nowhere = next(each for each in rows if int(each["#object_id"]) == inputs.object_id[4])
    assert nowhere["ra"] == nowhere["#magnitude"] == ""
    sources = {int(each["#object_id"]): each["#source"] for each in rows}
    assert sources == dict(zip(inputs.object_id.tolist(), inputs.names, strict=True))


def test_images_are_the_survey_s(folder, inputs):
    bundle(folder, config(size=32))
    part = folder / "bundles" / "main" / "part-01"
    for row in manifest(part):
        place = inputs.object_id.tolist().index(int(row["#object_id"]))
        with Image.open(part / row["filename"]) as image:  # of their own size they are as they were
            assert_array_equal(np.asarray(image), inputs.images[place])


def test_image_reconstruction_and_residual_stand_beside_each_other(folder):
    bundle(folder, config(size=32, is_triple=True, n=2, n_control=0))
    part, ranking = folder / "bundles" / "main" / "part-01", Atlas(folder).ranking()
    for row in manifest(part):
        ids = np.array([int(row["#object_id"])])
        with Image.open(part / row["filename"]) as image:
            pixels = np.asarray(image)
        assert pixels.shape == (32, 112, 3)
        assert_array_equal(pixels[:, 40:72], ranking.reconstructions(ids)[0])
        assert_array_equal(pixels[:, 80:], ranking.residuals(ids)[0])


def test_the_order_depends_on_the_seed_alone(folder):
    orders = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        bundle(folder, config(seed=seed), name=name)
        orders.append([each["object_id"] for each in key(folder / "bundles" / name)])
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_filters_choose_the_first_and_the_controls(folder):
    bundle(folder, config(where="magnitude > 20.3", control_where="magnitude < 20.1", by="brightness"))
    ranking = Atlas(folder).ranking()
    magnitude = dict(zip(ranking.object_ids.tolist(), ranking.column("magnitude"), strict=True))
    rows = key(folder / "bundles" / "main")
    assert min(magnitude[each["object_id"]] for each in rows if each["sample"] == "first") > 20.3
    assert max(magnitude[each["object_id"]] for each in rows if each["sample"] == "control") < 20.1


def test_a_survey_without_scores_is_bundled_at_random(copy, ingested):
    folder = copy(ingested)
    run = bundle(folder, config(of="survey", n=0, n_control=12, format="jpeg", n_in_folder=5))
    home = folder / "bundles" / "main"
    assert run.outputs["parts"] == ["part-01", "part-02", "part-03"]
    assert [len(manifest(home / part)) for part in run.outputs["parts"]] == [5, 5, 2]
    assert [len(list((home / part).glob("object_*.jpg"))) for part in run.outputs["parts"]] == [5, 5, 2]
    assert "part-01/manifest.csv part-02/manifest.csv part-03/manifest.csv" in (home / "README.md").read_text()
    assert [each["part"] for each in key(home)] == ["part-01"] * 5 + ["part-02"] * 5 + ["part-03"] * 2


def test_an_interrupted_bundle_makes_only_the_images_that_are_missing(folder, made):
    code = """
        import os, signal, sys
        from contextlib import contextmanager
        from pathlib import Path
        from peculiar.stages.bundle import BundleConfig, bundle

        @contextmanager
        def track(description, total):
            def advance(n):
                os.kill(os.getpid(), signal.SIGKILL)
            yield advance

        bundle(Path(sys.argv[1]), BundleConfig(n=10, n_control=6, size=40, seed=3, n_in_folder=8), track=track)
    """
    made.python(code, folder, expect=-9)
    home = folder / "bundles" / "main"
    assert read_run(home) is None
    assert read_started(home) is not None
    there = {each.name: each.stat().st_mtime_ns for each in (home / "part-01").glob("object_*")}
    assert len(there) == 8
    (home / "part-01" / ".partial-x.png").write_bytes(b"half")
    run = bundle(folder, config(n_in_folder=8))
    assert run.outputs["n_made"] == 8
    assert {each: (home / "part-01" / each).stat().st_mtime_ns for each in there} == there
    assert not list(home.glob("*/.partial-*"))
    assert bundle(folder, config(n_in_folder=8)).outputs["n_made"] == 0
    whole = bundle(folder, config(n_in_folder=8), name="whole")
    assert whole.outputs["n_made"] == 16
    for part in ("part-01", "part-02"):
        files = [
            {each.name: each.read_bytes() for each in (home.parent / name / part).iterdir()}
            for name in ("main", "whole")
        ]
        assert files[0] == files[1]


def test_another_choice_by_the_same_words_is_not_mixed_in(folder):
    bundle(folder, config())
    with pytest.raises(ValueError, match="n was 10, now 9"):
        bundle(folder, config(n=9))
    Atlas(folder).rank(replace=True, n_reconstructions=3, combination_weight=0.0)
    few = config(by="score_anom", n=3, n_control=0)
    bundle(folder, few, name="anom")
    Atlas(folder).rank(replace=True, n_reconstructions=3, combination_weight=1.0)
    with pytest.raises(
        ValueError, match="was begun with other objects: rankings/main has changed since; give --replace"
    ):
        bundle(folder, few, name="anom")
    before = {each.name for each in (folder / "bundles" / "anom" / "part-01").iterdir()}
    run = bundle(folder, few, name="anom", replace=True)
    after = {each.name for each in (folder / "bundles" / "anom" / "part-01").iterdir()}
    assert before != after
    assert len(after) == run.outputs["n_objects"] + 1


def test_reconstructions_of_an_earlier_ranking_do_not_stand_beside_new_ones(folder):
    options = {"is_triple": True, "n": 2, "n_control": 0}
    bundle(folder, config(**options))
    Atlas(folder).rank(replace=True, n_reconstructions=3)
    with pytest.raises(ValueError, match="has reconstructions of an earlier rankings/main"):
        bundle(folder, config(**options))
    bundle(folder, config(**options), replace=True)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n": 0, "n_control": 0}, ValueError, "n and n_control must not be negative, nor both 0"),
        ({"size": 8}, ValueError, "size must be from 32 to 1024 pixels, got 8"),
        ({"format": "gif"}, ValueError, "format must be png or jpeg"),
        ({"prefix": "S20A-2"}, ValueError, "prefix must be 1 to 40 letters"),
        ({"n_in_folder": 20_000}, ValueError, "n_in_folder must be from 1 to 10000"),
        ({"columns": ("ra",), "hidden": ("ra",)}, ValueError, "columns and hidden both name ra"),
        ({"columns": ("color",)}, KeyError, "rankings/main has no column color for the manifest; it has: object_id"),
        ({"hidden": ("image",)}, KeyError, "no column image"),
        ({"where": "magnitude > 99"}, ValueError, "no object of rankings/main passes the filter 'magnitude > 99'"),
        ({"n_control": 60}, ValueError, "n_control is 60, and there are 54 others; ask for fewer"),
        ({"of": "survey", "is_triple": True}, ValueError, "is_triple needs reconstructions"),
        ({"of": "catalogs/x"}, ValueError, "catalogs/x has no images"),
        ({"of": "rankings/x"}, FileNotFoundError, "rankings/x is not complete"),
    ],
)
def test_what_cannot_be_bundled_is_refused_and_nothing_is_begun(ranked, options, error, message):
    with pytest.raises(error, match=message):
        bundle(ranked, config(**options), name="refused")
    assert not (ranked / "bundles" / "refused").exists()
