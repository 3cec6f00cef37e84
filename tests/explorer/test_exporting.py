import io
import tempfile
import zipfile
from pathlib import Path

import astropy.io.fits
import numpy as np
import pyarrow.parquet
import pytest
from astropy.io.votable import parse_single_table
from PIL import Image

from peculiar import Atlas
from peculiar.explorer.exporting import FORMS, cutout, export
from peculiar.explorer.opened import Opened, Order

ORDER = Order(
    by="magnitude", descending=False, where="magnitude > 20.2 and not inside(ra, dec, 150, 1, 150.2, 1, 150.2, 3)"
)


@pytest.fixture(scope="module")
def opened(explored):
    return Opened(explored)


@pytest.fixture(scope="module")
def selected(opened):
    ids = opened.object_ids[opened.rows(ORDER)]
    assert 5 < len(ids) < 60
    return ids


def written(opened, form, folder, order=ORDER):
    path = folder / f"selection.{form}"
    assert export(opened, order, form, path) > 0
    return path


def test_tables_hold_the_selection_in_its_order(opened, selected, tmp_path):
    parquet = pyarrow.parquet.read_table(written(opened, "parquet", tmp_path))
    assert parquet["object_id"].to_pylist() == selected.tolist()
    assert parquet.schema.field("ra").metadata[b"unit"] == b"deg"
    with astropy.io.fits.open(written(opened, "fits", tmp_path)) as opened_fits:
        assert opened_fits[1].data["object_id"].tolist() == selected.tolist()
    votable = parse_single_table(str(written(opened, "vot", tmp_path))).to_table()
    assert votable["object_id"].tolist() == selected.tolist()
    lines = written(opened, "csv", tmp_path).read_text().splitlines()
    assert [int(each.split(",")[0]) for each in lines[1:]] == selected.tolist()


def test_the_python_selects_the_same(opened, selected, tmp_path, monkeypatch):
    monkeypatch.chdir(opened.folder.parent)
    found: dict[str, object] = {}
    exec(written(opened, "py", tmp_path).read_text(), found)
    assert found["object_ids"].tolist() == selected.tolist()
    assert len(found["table"]) == len(selected)
    sampled = Order(sample=7, seed=3)
    exec(written(opened, "py", tmp_path, sampled).read_text(), found)
    assert set(found["object_ids"].tolist()) == set(opened.object_ids[opened.rows(sampled)].tolist())


def test_images_are_whole(opened, selected, tmp_path):
    with zipfile.ZipFile(written(opened, "zip", tmp_path)) as archive:
        assert archive.namelist() == [f"{each}.png" for each in selected]
        first = np.asarray(Image.open(io.BytesIO(archive.read(archive.namelist()[0]))))
    assert (first == opened.ranking.survey.images(selected[:1])[0]).all()


def test_regions_stand_where_the_objects_are(opened, selected, tmp_path):
    lines = written(opened, "reg", tmp_path).read_text().splitlines()
    assert lines[:2] == ["# Region file format: DS9 version 4.1", "fk5"]
    row = Atlas(opened.folder).scores(selected[:1])[0]
    assert lines[2] == f'circle({row["ra"]:.7f},{row["dec"]:+.7f},5") # text={{{selected[0]}}}'
    assert len(lines) == 2 + len(selected)


def test_one_without_a_position_is_left_out_of_regions(opened, inputs, tmp_path):
    nowhere = Order(where=f"object_id in ({inputs.object_id[4]})")
    with pytest.raises(ValueError, match="none of these objects has a position"):
        export(opened, nowhere, "reg", tmp_path / "none.reg")


def test_nothing_selected_is_no_file(opened, tmp_path):
    with pytest.raises(ValueError, match="nothing is selected"):
        export(opened, Order(where="false"), "csv", tmp_path / "none.csv")


def test_a_cutout_is_the_image_with_its_place(opened, inputs):
    with astropy.io.fits.open(io.BytesIO(cutout(opened, int(inputs.object_id[7])))) as made:
        assert (np.moveaxis(made[0].data, 0, -1) == opened.ranking.survey.images(inputs.object_id[7:8])[0]).all()
        assert made[0].header["OBJECT"] == str(inputs.object_id[7])
        assert made[0].header["RA"] == pytest.approx(150.07)
    with astropy.io.fits.open(io.BytesIO(cutout(opened, int(inputs.object_id[4])))) as made:
        assert "RA" not in made[0].header


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_handed_out_and_leaves_nothing_behind(client, form, monkeypatch, tmp_path):
    home = tmp_path / "temporary"
    home.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    answer = client.get("/api/export", params={"form": form, "where": "magnitude > 20.2"})
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == f'attachment; filename="selection.{form}"'
    assert len(answer.content) > 100
    assert client.get("/api/export", params={"form": form, "where": "magnitude > 99"}).status_code == 400
    assert list(Path(home).iterdir()) == []


def test_a_fits_cutout_is_handed_out(client, inputs):
    answer = client.get(f"/api/cutout/{inputs.object_id[7]}")
    assert answer.headers["content-disposition"] == f'attachment; filename="{inputs.object_id[7]}.fits"'
    assert answer.content[:6] == b"SIMPLE"


def test_a_selection_is_also_a_method_of_the_atlas(opened, selected):
    atlas = Atlas(opened.folder)
    assert atlas.select(ORDER.where, by="magnitude", descending=False).tolist() == selected.tolist()
    top = atlas.top(3, by="magnitude", where="magnitude < 20.3")
    assert top["magnitude"].max() < 20.3
    assert top["rank"].tolist() == [1, 2, 3]
