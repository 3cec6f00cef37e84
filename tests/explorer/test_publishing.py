import base64
import io
import json
import re

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from peculiar import Atlas
from peculiar.explorer.opened import Opened
from peculiar.explorer.publishing import publish

PUT = re.compile(r"peculiarSite\.put\((?P<name>\".*?\"), (?P<text>\".*\")\);\n", re.DOTALL)


def text_of(site, name):
    """The text that a file of data hands over, which must be all that the file is."""
    found = PUT.fullmatch((site / "data" / f"{name}.js").read_text())
    assert json.loads(found["name"]) == name
    return json.loads(found["text"])


@pytest.fixture(scope="module")
def site(explored, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "site"
    title = "</title><script>alert(1)</script>"
    assert publish(explored, folder, where="magnitude < 20.3", by="magnitude", n=30, title=title) == 30
    return folder


@pytest.fixture(scope="module")
def sample(explored):
    atlas = Atlas(explored)
    return set(atlas.select("magnitude < 20.3", by="magnitude")[:30].tolist())


def ids_in(site):
    contents = json.loads(text_of(site, "contents"))
    stream = base64.b64decode(text_of(site, contents["columns"]["object_id"]))
    return pa.ipc.open_stream(stream).read_all()["object_id"].to_pylist()


def test_the_sample_is_there_and_nothing_else(site, sample):
    assert {int(each) for each in ids_in(site)} == sample
    assert json.loads(text_of(site, "atlas"))["n_objects"] == 30
    assert json.loads(text_of(site, "atlas"))["is_read_only"]


def test_columns_and_evidence_are_in_the_order_of_ids(site, explored):
    contents, opened = json.loads(text_of(site, "contents")), Opened(explored)
    ids = [int(each) for each in ids_in(site)]
    column = base64.b64decode(text_of(site, contents["columns"]["magnitude"]))
    published = pa.ipc.open_stream(column).read_all()["magnitude"].to_numpy()
    rows = [opened.object_ids.tolist().index(each) for each in ids]
    assert np.allclose(published, opened.number("magnitude")[rows])
    objects = json.loads(text_of(site, "objects-0"))
    assert [int(each["object_id"]) for each in objects] == ids
    assert all(each["votes"] == [] for each in objects)


def test_neighbors_are_of_the_sample_and_the_nearest_first(site, sample):
    for own, alike in zip(ids_in(site), json.loads(text_of(site, "neighbors-0")), strict=True):
        assert {int(each["object_id"]) for each in alike} <= sample - {int(own)}
        far = [each["distance"] for each in alike]
        assert len(far) == 16
        assert far == sorted(far)


def test_every_image_stands_at_its_place(site, explored):
    ids, atlas = [int(each) for each in ids_in(site)], Atlas(explored)
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(text_of(site, "image-0"))))).astype(float)
    assert sheet.shape == (96, 320, 3)
    for place, image in enumerate(atlas.images(ids)):
        row, column = divmod(place, 10)
        cell = sheet[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32]
        assert np.abs(cell - image).mean() < 6
    assert (site / "data" / "residual-0.js").exists()


def test_a_title_is_text(site):
    page = (site / "index.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "Content-Security-Policy" in page


def test_it_names_no_other_machine_and_no_expert(explored, copy, tmp_path):
    folder = copy(explored)
    atlas = Atlas(folder)
    atlas.labels.add_expert("carol")
    publish(folder, tmp_path / "site", n=5)
    texts = [path.read_text() for path in (tmp_path / "site" / "data").iterdir()]
    assert not any("carol" in each for each in texts)
    assert "://" not in (tmp_path / "site" / "index.html").read_text()


def test_the_same_folder_is_written_anew_and_another_is_left_alone(explored, tmp_path):
    publish(explored, tmp_path / "site", n=5)
    assert publish(explored, tmp_path / "site", n=3) == 3
    assert len(ids_in(tmp_path / "site")) == 3
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years")
    with pytest.raises(ValueError, match="holds something that is no published site"):
        publish(explored, tmp_path / "mine", n=3)
    assert (tmp_path / "mine" / "thesis.tex").exists()
    assert not list(tmp_path.glob(".partial*"))


def test_bad_samples_are_refused(explored, tmp_path):
    with pytest.raises(ValueError, match="from 1 to 20000 objects, got 0"):
        publish(explored, tmp_path / "site", n=0)
    with pytest.raises(ValueError, match="no object passes the filter 'magnitude > 99'"):
        publish(explored, tmp_path / "site", where="magnitude > 99")
    assert not (tmp_path / "site").exists()
