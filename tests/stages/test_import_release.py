import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal
from typer.testing import CliRunner

from peculiar import Atlas
from peculiar.cli import app
from peculiar.run import read_run
from peculiar.survey import Table


@pytest.fixture
def product(tmp_path, made):
    """An HDF5 product of eight objects in the released layout, and its catalog as CSV."""
    ids, images = made.ids(8), made.images(8)
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["reals"], file["object_ids"], file["idxs"] = images, ids, np.arange(8) * 10
    lines = ["idx,HSC_object_id,ra,dec,discriminator_score_normalized"]
    lines += [f"{each * 10},{ids[each]},{150 + each / 3600},2.0,{each}" for each in range(8)]
    (tmp_path / "catalog.csv").write_text("\n".join(lines) + "\n")
    return tmp_path, ids, images


def said_by(*arguments, expect=0):
    result = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    assert result.exit_code == expect, result.output
    return " ".join(result.output.split())


def test_a_catalog_without_images_is_a_table_that_can_be_grouped(product):
    home, ids, _ = product
    atlas = Atlas(home / "atlas")
    run = atlas.import_release(home / "catalog.csv")
    assert (run.stage, run.outputs["n_objects"], run.outputs["images"]) == ("import-release", 8, "")
    assert not atlas.survey.exists()
    grouped = atlas.group(1.5, of="catalogs/released")
    assert (grouped.outputs["n_groups"], grouped.outputs["n_grouped"], grouped.outputs["by"]) == (
        *(1, 8),
        "score_disc_sigma",
    )
    rows = Table(home / "atlas/groups/main/table.lance").take(ids).to_pylist()
    assert {each["group_id"] for each in rows} == {ids.min()}
    assert [each["group_rank"] for each in rows] == list(range(8, 0, -1))
    assert [each.state for each in atlas.status() if each.folder in ("groups/main", "catalogs/released")] == [
        *("complete", "complete")
    ]
    assert atlas.catalog()["object_id"].tolist() == ids.tolist()


def test_the_same_catalog_again_is_gone_on_with_and_another_is_refused(product):
    home, _, _ = product
    atlas = Atlas(home / "atlas")
    first = atlas.import_release(home / "catalog.csv")
    assert atlas.import_release(home / "catalog.csv").identity == first.identity
    text = (home / "catalog.csv").read_text()
    (home / "catalog.csv").write_text(text.replace("150.0,", "151.0,"))
    with pytest.raises(ValueError, match="holds another catalog"):
        atlas.import_release(home / "catalog.csv")
    atlas.group(of="catalogs/released")
    atlas.import_release(home / "catalog.csv", replace=True)
    assert next(each for each in atlas.status() if each.folder == "groups/main").state == "stale"
    assert atlas.catalog()["ra"][0] == 151


def test_images_become_the_survey_and_released_scores_its_columns(product):
    home, ids, images = product
    atlas = Atlas(home / "atlas")
    atlas.import_release(home / "catalog.csv", home / "images.h5")
    assert sorted(atlas.survey.object_ids()) == sorted(ids)
    assert_array_equal(atlas.images(ids), images)
    rows = atlas.survey.take(ids, ["release_index", "score_disc_sigma_catalog", "ra"])
    assert rows["release_index"].to_pylist() == list(range(0, 80, 10))
    assert rows["score_disc_sigma_catalog"].to_pylist() == list(range(8))
    assert not len(atlas.quarantine)


def test_images_whose_ids_are_lost_are_resolved_by_idx(product):
    home, ids, images = product
    with h5py.File(home / "images.h5", "a") as file:
        del file["object_ids"]
        file["object_ids"] = np.r_[ids, 0].astype(np.float32)
    atlas = Atlas(home / "atlas")
    atlas.import_release(home / "catalog.csv", home / "images.h5")
    assert_array_equal(atlas.images(ids), images)


def test_a_refusal_leaves_nothing(product):
    home, _, _ = product
    with pytest.raises(FileNotFoundError, match="--images"):
        Atlas(home / "atlas").import_release(home / "catalog.csv", home / "none.h5")
    (home / "bad.csv").write_text("HSC_object_id,ra\n1.5,2\n")
    with pytest.raises(ValueError, match="as float64"):
        Atlas(home / "atlas").import_release(home / "bad.csv")
    assert not (home / "atlas").exists()


def test_the_commands_say_what_came(product):
    home, _, _ = product
    atlas = home / "atlas"
    said = said_by("import-release", atlas, "--catalog", home / "catalog.csv")
    assert "8 objects in catalogs/released" in said
    assert "release_index" in said
    said = said_by("group", atlas, "--of", "catalogs/released", "--radius", 1.5)
    assert "8 of 8 objects have another within 1.5 arcsec, in 1 groups, the largest of 8" in said
    assert read_run(atlas / "groups/main").config["radius_arcsec"] == 1.5
    with pytest.raises(FileNotFoundError, match="--catalog"):
        said_by("import-release", atlas)
    with pytest.raises(FileNotFoundError, match="import-release"):
        said_by("group", atlas, "--of", "catalogs/other")
    said = said_by("import-release", atlas, "--catalogue", home / "catalog.csv", "--images", home / "images.h5")
    assert "survey: 8 objects with images" in said


def test_the_released_anomalies_are_imported_and_grouped_as_published(shared_data, tmp_path):
    source = shared_data / "catalogue" / "anomaly_catalog_hsc_disc3sigma.p"
    atlas = Atlas(tmp_path / "atlas")
    assert atlas.import_release(source).outputs["n_objects"] == 13_477
    assert atlas.group(8, of="catalogs/released").outputs["n_grouped"] == 2_444
    assert atlas.group(16, name="wide", of="catalogs/released").outputs["n_grouped"] == 4_067
    exact = Table(tmp_path / "atlas/catalogs/released/table.lance").object_ids()
    assert_array_equal(pq.read_table(tmp_path / "atlas/catalogs/released/catalog.parquet")["object_id"], exact)
    assert len(np.unique(exact)) == 13_477
    assert len(np.unique(exact.astype(float))) == 12_674


@pytest.mark.parametrize("command", ["group", "import-release"])
def test_the_commands_are_named_and_explained(command):
    assert f" {command} " in said_by("--help")
    assert "--replace" in said_by(command, "--help")
