import csv
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from peculiar.io.bundles import (
    MAX_BYTES,
    encode_subject,
    object_id_of,
    subject_name,
    write_manifest,
    write_readme,
)

ID = 43_158_859_342_174_406  # 17 digits


def decoded(content):
    with Image.open(BytesIO(content)) as image:
        return image.format, np.asarray(image)


def test_images_are_enlarged_in_their_colors_and_stand_beside_each_other():
    red, gray = np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 1), 70, np.uint8)
    red[..., 0] = 200
    form, pixels = decoded(encode_subject([red, gray], 100))
    assert form == "PNG"
    assert pixels.shape == (100, 208, 3)
    assert (pixels[:, :100] == (200, 0, 0)).all()
    assert (pixels[:, 100:108] == 0).all()
    assert (pixels[:, 108:] == 70).all()
    form, pixels = decoded(encode_subject([red], 100, "jpeg"))
    assert form == "JPEG"
    assert np.abs(pixels.astype(int) - (200, 0, 0)).max() < 5


def test_no_deep_ring_is_made_about_a_star():
    y, x = np.mgrid[:96, :96] - 47.5
    star = np.clip(2000 * np.exp(-(x**2 + y**2) / 2 / 1.2**2) + 12, 0, 255).astype(np.uint8)
    _, pixels = decoded(encode_subject([star[..., None]], 424))
    assert pixels.min() >= 10
    across = np.flatnonzero(pixels[..., 0].max(axis=0) > 128)
    assert across.mean() == pytest.approx(211.5, abs=0.6)  # in the middle, as before


def test_what_zooniverse_would_not_take_is_refused_with_a_remedy():
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"takes 3,1[0-9,]* bytes as png, .* 1,048,576 .* --format jpeg"):
        encode_subject([noise], 1024)
    assert len(encode_subject([noise], 512, "jpeg")) <= MAX_BYTES


def test_every_cell_of_a_manifest_is_quoted_and_comes_back(tmp_path):
    columns = ("filename", "#object_id", "a note")
    rows = [("object_1.png", ID, 'he said "no",\nthen yes'), ("ż.png", -5, None)]
    assert write_manifest(tmp_path / "manifest.csv", columns, rows) == 2
    text = (tmp_path / "manifest.csv").read_text(encoding="utf-8")
    assert f'"object_1.png","{ID}",' in text
    with (tmp_path / "manifest.csv").open(encoding="utf-8", newline="") as file:
        back = list(csv.reader(file))
    assert back == [list(columns), ["object_1.png", str(ID), rows[0][2]], ["ż.png", "-5", ""]]
    with pytest.raises(ValueError, match="a row needs 3 cells"):
        write_manifest(tmp_path / "other.csv", columns, [("a.png", 1)])
    assert not (tmp_path / "other.csv").exists()


def test_the_readme_names_every_manifest_and_the_way_back(tmp_path):
    write_readme(tmp_path / "README.md", atlas="hsc", name="odd", parts=["part-01", "part-02"], n_subjects=12_000)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "upload-subjects -f 1 SUBJECT_SET_ID part-01/manifest.csv part-02/manifest.csv" in text
    assert "peculiar import-classifications hsc classifications.csv --bundle odd" in text
    assert "12,000 subjects" in text


# --- ids on the way back


@pytest.mark.parametrize("object_id", [ID, -ID, 5, -5, 0, 2**63 - 1, -(2**63)])
def test_an_id_comes_back_by_its_column_or_by_its_name_alone(object_id):
    name = subject_name(object_id, "HSC")
    assert object_id_of({"#object_id": str(object_id), "filename": f"{name}.png"}) == (object_id, False)
    assert object_id_of({"retired": None, "Object_ID": object_id}) == (object_id, False)
    assert object_id_of({"!subject_name": name}) == (object_id, False)
    assert object_id_of({"Filename": f"{name}.jpg", "#object_id": ""}) == (object_id, False)


@pytest.mark.parametrize(
    "left",
    ["4.31589E+16", "4,31589E+16", "43158859342174400", "43158859342174408", "4.3158859342174408e+16", f"{ID}.0"],
)
def test_a_rounded_id_is_read_from_the_name(left):
    assert object_id_of({"#object_id": left, "!subject_name": subject_name(ID)}) == (ID, True)
    assert object_id_of({"#object_id": f"-{left}", "filename": f"{subject_name(-ID)}.png"}) == (-ID, True)


@pytest.mark.parametrize("left", ["4.31589E+16", "4,31589E+16", f"{ID}.0", "1e999999999"])
def test_a_rounded_id_without_a_name_is_refused(left):
    for other in (
        {},
        {"filename": "image_12.png"},
        {"filename": subject_name(-ID)},
        {"filename": subject_name(3 * ID)},
    ):
        with pytest.raises(ValueError, match="the id was rounded") as caught:
            object_id_of({"#object_id": left, **other})
        assert caught.value.text == left


def test_a_whole_id_is_believed_whatever_number_the_file_has():
    assert object_id_of({"object_id": str(ID), "filename": "image_12.png"}) == (ID, False)
    assert object_id_of({"object_id": "10", "filename": "image_12.png"}) == (10, False)
    assert object_id_of({"object_id": str(ID + 1), "filename": subject_name(ID)}) == (ID + 1, False)  # no float's


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        ({}, "there is no object_id"),
        ({"object_id": None, "filename": "a_1_2.png"}, "there is no object_id"),
        ({"object_id": "NGC 3073"}, "the id is no integer"),
        ({"object_id": str(2**63)}, "beyond 64 bits"),
        ({"object_id": "9" * 5_000}, "the id was rounded"),
    ],
)
def test_what_is_no_id_is_refused(subject, reason):
    with pytest.raises(ValueError, match=reason):
        object_id_of(subject)
