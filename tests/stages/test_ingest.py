import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_array_equal
from PIL import Image

from peculiar import Atlas
from peculiar.run import read_run
from peculiar.stages.ingest import IngestConfig
from peculiar.survey import Table, hash_id

LARGE = 43_158_859_342_174_407  # float64 makes it ...408


def quarantined(atlas: Atlas) -> dict[str, tuple[str, str]]:
    """Rule and value of every source in quarantine."""
    rows = [row for batch in atlas.quarantine.scan() for row in batch.to_pylist()]
    assert len({row["source"] for row in rows}) == len(rows)
    assert all(row["reason"] and row["time"] for row in rows)
    return {row["source"]: (row["rule"], row["value"]) for row in rows}


@pytest.fixture
def pictures(tmp_path, made):
    """A folder of eight images with short names, and the images by name."""
    images = dict(zip([f"g{each}.png" for each in range(8)], made.images(8), strict=True))
    made.write(tmp_path / "in", np.stack(list(images.values())), list(images))
    return tmp_path / "in", images


def counts(run) -> tuple[int, int, int]:
    return tuple(run.outputs[each] for each in ("n_ingested", "n_known", "n_quarantined"))


def test_all_images_and_their_catalog_rows_are_in_the_survey(ingested, inputs):
    survey = Atlas(ingested).survey
    assert len(survey) == 64
    assert_array_equal(survey.images(inputs.object_id), inputs.images)
    rows = survey.take(inputs.object_id).to_pylist()
    assert [row["source"] for row in rows] == inputs.names
    assert [rows[each]["ra"] for each in (0, 1, 4)] == [150.0, 150.01, None]
    assert [rows[each]["magnitude"] for each in (0, 1, 4)] == [20.0, 20.05, None]
    assert survey.schema.names == ["object_id", "source", "ra", "dec", "image", "magnitude"]
    run = read_run(ingested / "survey")
    assert (*counts(run), run.outputs["n_without_catalog_row"]) == (64, 0, 0, 0)


def test_without_ids_an_image_has_the_hash_of_its_source(tmp_path, pictures):
    folder, images = pictures
    atlas = Atlas(tmp_path / "atlas")
    atlas.ingest(folder)
    assert sorted(atlas.survey.object_ids()) == sorted(hash_id(name) for name in images)
    for name, image in images.items():
        assert_array_equal(atlas.images([name])[0], image)


def test_ids_can_be_taken_from_names(tmp_path, made):
    made.write(tmp_path / "in", made.images(2), [f"cut_{LARGE}_i.png", "-12.png"])
    atlas = Atlas(tmp_path / "atlas")
    atlas.ingest(tmp_path / "in", ids="name")
    assert sorted(atlas.survey.object_ids()) == [-12, LARGE]


# --- what is bad


def write_bad_inputs(folder: Path, made) -> None:
    """The bad inputs of the issue beside four good ones."""
    good = made.images(6, size=40)
    made.write(folder, good, ["good0.png", "good1.png", "good2.png", "good3.png", "a/twin.png", "b/twin.png"])
    fits.PrimaryHDU(np.moveaxis(good[0], -1, 0).astype("f4")).writeto(folder / "cut.fits")
    (folder / "cut.fits").write_bytes((folder / "cut.fits").read_bytes()[:4000])
    (folder / "text.jpg").write_text("this is no image")
    (folder / "empty.png").write_bytes(b"")
    fits.PrimaryHDU(np.full((3, 40, 40), np.nan, "f4")).writeto(folder / "nan.fits")
    Image.new("RGB", (40, 40), (9, 8, 7)).save(folder / "constant.png")
    Image.fromarray(made.images(1)[0, 14:19, 14:19]).save(folder / "tiny.png")
    Image.fromarray(np.zeros((10, 9000, 3), np.uint8)).save(folder / "long.png")


def write_bad_catalog(path: Path) -> None:
    """A row that has no image, an id twice, and no row for good2."""
    path.write_text(
        "file,object_id,magnitude\n"
        f"good0.png,{LARGE},20.1\n"
        f"good1.png,{LARGE + 1},20.2\n"
        f"good3.png,{-LARGE},20.3\n"
        f"a/twin.png,77,20.4\n"
        f"b/twin.png,77,20.5\n"
        f"missing.png,{LARGE + 2},20.6\n"
    )


def test_bad_input_is_in_quarantine_with_rule_and_value_and_the_rest_is_ingested(tmp_path, made):
    write_bad_inputs(tmp_path / "in", made)
    write_bad_catalog(tmp_path / "objects.csv")
    atlas = Atlas(tmp_path / "atlas")
    run = atlas.ingest(tmp_path / "in", catalog=tmp_path / "objects.csv")
    found = quarantined(atlas)
    rules = {source: rule for source, (rule, _) in found.items()}
    sources = atlas.survey.take(atlas.survey.object_ids(), ["source"])["source"].to_pylist()
    assert set(sources) >= {"good0.png", "good1.png", "good2.png", "good3.png", "a/twin.png"}
    ids = [LARGE, LARGE + 1, -LARGE, hash_id("good2.png")]
    names = ["good0.png", "good1.png", "good3.png", "good2.png"]
    assert [atlas.survey.find(name) for name in names] == ids
    magnitudes = atlas.survey.take(ids, ["magnitude"])["magnitude"].to_pylist()
    assert magnitudes == [20.1, 20.2, 20.3, None]
    for source, rule, value in (
        ("cut.fits", "unreadable", ""),
        ("text.jpg", "unreadable", ""),
        ("empty.png", "empty file", "0 bytes"),
        ("nan.fits", "no finite pixel", "plane 0"),
        ("constant.png", "constant image", "[9, 8, 7]"),
        ("tiny.png", "too small", "5x5"),
        ("long.png", "too small", "10x9000"),
        (f"catalog#{LARGE + 2}", "no image", str(LARGE + 2)),
    ):
        assert rules[source] == rule, source
        assert value in found[source][1], source
    assert "duplicate object_id" in rules.values()
    assert len(sources) == len(set(sources)) == run.outputs["n_ingested"] == len(atlas.survey)
    assert run.outputs["n_quarantined"] == len(found)
    again = atlas.ingest()
    assert counts(again) == (0, len(sources), len(found))
    assert quarantined(atlas) == found


def test_info_says_why_an_input_is_in_quarantine(tmp_path, pictures):
    folder, _ = pictures
    (folder / "empty.png").write_bytes(b"")
    atlas = Atlas(tmp_path / "atlas")
    atlas.ingest(folder)
    found = atlas.info("empty.png")
    assert (found["quarantined"], found["rule"]) == (True, "empty file")
    with pytest.raises(KeyError, match=r"no object with id or source 'other\.png'"):
        atlas.info("other.png")


def test_a_repaired_file_leaves_quarantine(tmp_path, pictures, made):
    folder, _ = pictures
    (folder / "o'neil.png").write_bytes(b"")
    atlas = Atlas(tmp_path / "atlas")
    assert counts(atlas.ingest(folder)) == (8, 0, 1)
    made.write(folder, made.images(1, seed=9), ["o'neil.png"])
    assert counts(atlas.ingest()) == (1, 8, 0)
    assert quarantined(atlas) == {}
    assert len(atlas.survey) == 9


def test_nothing_readable_is_refused_with_the_first_reasons(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "text.png").write_text("no image")
    with pytest.raises(ValueError, match=r"nothing could be read \(1 tried\)\. First: text\.png"):
        Atlas(tmp_path / "atlas").ingest(tmp_path / "in")
    assert not (tmp_path / "atlas").exists()


def test_images_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="say where they are with --images"):
        Atlas(tmp_path / "atlas").ingest()
    with pytest.raises(FileNotFoundError, match=r"there is no .*nowhere"):
        Atlas(tmp_path / "atlas").ingest(tmp_path / "nowhere")


# --- again, and more


def test_ingesting_again_reads_nothing_and_new_files_are_appended(tmp_path, pictures, made):
    folder, images = pictures
    atlas = Atlas(tmp_path / "atlas")
    assert counts(atlas.ingest(folder)) == (8, 0, 0)
    before = atlas.survey.version
    assert counts(atlas.ingest(folder)) == (0, 8, 0)
    assert atlas.survey.version == before
    made.write(folder, made.images(3, seed=9), ["new0.png", "new1.png", "a/new2.png"])
    assert counts(atlas.ingest()) == (3, 8, 0)  # where the images are is remembered
    assert len(atlas.survey) == 11
    assert_array_equal(atlas.images(list(images)), np.stack(list(images.values())))


def test_a_second_folder_is_appended_and_a_same_named_other_image_refused(tmp_path, pictures, made):
    folder, images = pictures
    atlas = Atlas(tmp_path / "atlas")
    atlas.ingest(folder)
    second = tmp_path / "second"
    made.write(second, made.images(2, seed=9), ["g0.png", "other.png"])
    shutil.copy(folder / "g1.png", second / "g1.png")
    run = atlas.ingest(second)
    assert counts(run) == (1, 1, 1)
    assert_array_equal(atlas.images(["g0.png"])[0], images["g0.png"])
    (rule, value), *_ = quarantined(atlas).values()
    assert (rule, value) == ("duplicate source", str(hash_id("g0.png")))
    assert run.outputs["roots"] == sorted([str(folder.resolve()), str(second.resolve())])


def test_an_ingest_that_was_killed_goes_on_to_the_same_survey(tmp_path, made, inputs):
    code = """
        import os, signal, sys
        from contextlib import contextmanager
        from peculiar import Atlas
        from peculiar.stages import ingest

        ingest.CHUNK, ingest.COMMIT_BYTES = 8, 10 * 32 * 32 * 3  # commits of some ten images
        os.environ["PECULIAR_CORES"] = "0"  # one, so that no worker is left behind

        @contextmanager
        def track(description, total):
            done = 0
            def advance(n):
                nonlocal done
                done += n
                if description == "reading images" and done >= 40:
                    os.kill(os.getpid(), signal.SIGKILL)
            yield advance

        Atlas(sys.argv[1], track=track).ingest(sys.argv[2], catalog=sys.argv[3])
    """
    made.python(code, tmp_path / "atlas", inputs.folder, inputs.catalog, expect=-9)
    atlas = Atlas(tmp_path / "atlas")
    n_before = len(atlas.survey)
    assert 0 < n_before < 64
    assert atlas.status()[0].state == "interrupted"
    assert counts(atlas.ingest()) == (64 - n_before, n_before, 0)
    assert sorted(atlas.survey.object_ids()) == sorted(inputs.object_id)
    assert_array_equal(atlas.survey.images(inputs.object_id), inputs.images)
    assert atlas.survey.take(inputs.object_id, ["source"])["source"].to_pylist() == inputs.names


def test_another_config_is_refused_and_replace_starts_over(tmp_path, pictures):
    folder, _ = pictures
    atlas = Atlas(tmp_path / "atlas")
    atlas.ingest(folder)
    with pytest.raises(ValueError, match=r"pixel_scale was 0\.0, now 0\.168"):
        atlas.ingest(folder, pixel_scale=0.168)
    assert counts(atlas.ingest(folder, pixel_scale=0.168, replace=True)) == (8, 0, 0)
    assert atlas.survey.form.pixel_scale == 0.168


def test_a_catalog_with_columns_that_the_survey_has_not_is_refused_with_the_remedy(tmp_path, pictures):
    folder, _ = pictures
    atlas = Atlas(tmp_path / "atlas")
    atlas.ingest(folder)
    (tmp_path / "later.csv").write_text("file,color\ng0.png,1.5\n")
    with pytest.raises(ValueError, match=r"the survey has no columns color; join them with .*add-columns"):
        atlas.ingest(folder, catalog=tmp_path / "later.csv")


# --- flux


def write_cubes(folder: Path, n: int = 5) -> np.ndarray:
    flux = np.random.default_rng(0).gamma(1, 2, (n, 3, 36, 36)).astype("f4")
    folder.mkdir()
    for place, cube in enumerate(flux):
        fits.PrimaryHDU(cube).writeto(folder / f"{place}.fits")
    return flux


def test_flux_is_stretched_and_kept_where_asked_for(tmp_path):
    from peculiar.sky.rgb import lupton

    flux = write_cubes(tmp_path / "in")
    atlas = Atlas(tmp_path / "atlas")
    atlas.ingest(tmp_path / "in", keep_flux=True, curve=(0.1, 2.0, 8.0))
    ids = atlas.object_ids([f"{each}.fits" for each in range(5)])
    assert_array_equal(atlas.images(ids), lupton(flux, minimum=0.1, stretch=2.0, q=8.0))
    assert_array_equal(atlas.survey.flux(ids), flux)
    assert atlas.survey.form.flux_bands == 3
    assert counts(atlas.ingest()) == (0, 5, 0)  # curve and path come back from the record as what they were


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 16}, "size must be at least 32 pixels, or 0 .*, got 16"),
        ({"curve": (0.0, 1.0)}, "curve must be minimum, linear range and Q"),
        ({"pixel_scale": -1.0}, r"pixel_scale must not be negative, got -1\.0"),
    ],
)
def test_a_value_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        IngestConfig(**options)


def test_the_quarantine_is_a_table_also_when_empty(ingested):
    quarantine = Table(ingested / "survey" / "quarantine.lance")
    assert (quarantine.exists(), len(quarantine)) == (True, 0)
