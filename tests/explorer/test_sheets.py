import io

import numpy as np
import pytest
from PIL import Image

from peculiar.explorer.sheets import Look, lossless, parsed_ids, pictures, sheet
from peculiar.ranking import Ranking


@pytest.fixture(scope="module")
def ranking(explored):
    return Ranking(explored)


def decoded(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def test_every_object_stands_at_its_place(ranking):
    ids = ranking.object_ids[:7]
    whole = decoded(sheet(ranking, ids, Look(), size=32, columns=3)).astype(float)
    assert whole.shape == (96, 96, 3)
    for place, image in enumerate(ranking.survey.images(ids)):
        row, column = divmod(place, 3)
        cell = whole[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32]
        assert np.abs(cell - image).mean() < 6  # JPEG
        others = [np.abs(cell - other).mean() for other in ranking.survey.images(ids) if (other != image).any()]
        assert np.abs(cell - image).mean() < min(others)
    assert (whole[64:, 40:] < 16).all()  # black where there is none


def test_smaller_images_are_averaged(ranking):
    ids = ranking.object_ids[:1]
    small = decoded(sheet(ranking, ids, Look(), size=4, columns=1)).astype(float)
    expected = ranking.survey.images(ids)[0].reshape(4, 8, 4, 8, 3).mean(axis=(1, 3))
    assert np.abs(small - expected).mean() < 8


def test_one_object_is_given_without_loss(ranking):
    object_id = int(ranking.object_ids[0])
    assert (decoded(lossless(ranking, object_id, Look())) == ranking.survey.images([object_id])[0]).all()


def test_three_parts_stand_side_by_side(ranking):
    ids = ranking.object_ids[:2]
    triple = pictures(ranking, ids, Look(part="triple"))
    made = ranking.reconstructions(ids)
    images = ranking.survey.images(ids)
    residual = np.abs(images.astype(int) - made)
    assert (triple == np.concatenate([images, made, residual], axis=2)).all()
    assert (pictures(ranking, ids, Look(part="residual")) == ranking.residuals(ids)).all()
    assert decoded(sheet(ranking, ids, Look(part="triple"), size=16, columns=1)).shape == (32, 48, 3)


def test_looks_are_the_formulas_that_they_say(ranking):
    ids = ranking.object_ids[:1]
    stored = ranking.survey.images(ids)
    assert (pictures(ranking, ids, Look(invert=True)) == 255 - stored).all()
    faint = pictures(ranking, ids, Look(stretch=2.0))
    assert np.abs(faint - 255 * np.sqrt(stored / 255)).max() <= 0.5
    red = pictures(ranking, ids, Look(channels="r"))
    assert (red == stored[..., :1]).all()
    without_green = pictures(ranking, ids, Look(channels="rb"))
    assert (without_green[..., 1] == 0).all()
    assert (without_green[..., [0, 2]] == stored[..., [0, 2]]).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"part": "flux"}, "part must be one of"),
        ({"stretch": 0.0}, "stretch must be from"),
        ({"stretch": float("nan")}, "stretch must be from"),
        ({"channels": "rx"}, "channels must be"),
        ({"channels": ""}, "channels must be"),
        ({"channels": "rr"}, "channels must be"),
    ],
)
def test_other_looks_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        Look(**options)


def test_a_sheet_has_bounds(ranking):
    ids = ranking.object_ids
    with pytest.raises(ValueError, match="from 1 to 1024 objects, got 0"):
        sheet(ranking, ids[:0], Look(), size=32, columns=1)
    with pytest.raises(ValueError, match="got 1088"):
        sheet(ranking, np.tile(ids, 17), Look(), size=4, columns=1)
    with pytest.raises(ValueError, match="at most 4194304 pixels"):
        sheet(ranking, ids, Look(part="triple"), size=512, columns=8)
    with pytest.raises(ValueError, match="size must be from 4 to 512"):
        sheet(ranking, ids[:1], Look(), size=1024, columns=1)


def test_ids_are_read_as_whole_numbers():
    assert parsed_ids("43158859342174406,-5", 2).tolist() == [43158859342174406, -5]
    assert len(parsed_ids("", 2)) == 0
    for text in ("1.5", "a", "1,,2", "9" * 30):
        with pytest.raises(ValueError, match="whole numbers"):
            parsed_ids(text, 5)
    with pytest.raises(ValueError, match="at most 2 ids"):
        parsed_ids("1,2,3", 2)
