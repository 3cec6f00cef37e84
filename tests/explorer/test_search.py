import numpy as np
import pytest

from peculiar.explorer.opened import Opened
from peculiar.explorer.search import find


@pytest.fixture(scope="module")
def opened(explored):
    return Opened(explored)


def test_an_id_is_found_whole(opened):
    wanted = int(opened.object_ids.max())
    found = find(opened, f" {wanted} ")
    assert found.what == "ids"
    assert found.object_ids.tolist() == [wanted]
    with pytest.raises(ValueError, match=f"no object has the id {wanted + 1}"):
        find(opened, str(wanted + 1))


def test_a_list_of_ids_keeps_its_order_and_says_what_is_missing(opened):
    first, second = opened.object_ids[[5, 2]].tolist()
    found = find(opened, f"{first}, {second}\n12345 {'9' * 25}")
    assert found.object_ids.tolist() == [first, second]
    assert found.said == "2 found, 2 not in this atlas"


@pytest.mark.parametrize(
    "text",
    [
        '150.07 1.93 r=5"',
        "150.07,1.93",
        "10:00:16.8 +01:55:48",
        "10h00m16.8s +1d55m48s r=0.001d",
        "10 00 16.8 +01 55 48",
        "510.07 1.93",
    ],
)
def test_a_place_on_the_sky_is_understood(opened, text):
    row = int(np.flatnonzero(np.isclose(opened.number("ra"), 150.07))[0])
    found = find(opened, text)
    assert found.what == "position"
    assert found.object_ids.tolist() == [opened.object_ids[row]]


def test_the_nearest_comes_first_and_the_radius_counts(opened):
    found = find(opened, "150.07 1.93 r=1'")
    far = np.hypot(opened.number("ra") - 150.07, opened.number("dec") - 1.93) * 3600
    assert len(found.object_ids) == (far < 60).sum() == 3
    assert found.object_ids[0] == opened.object_ids[np.nanargmin(far)]


def test_where_nothing_is_the_nearest_is_told(opened):
    with pytest.raises(ValueError, match=r"the nearest, -?\d+, is [\d.]+ degrees away"):
        find(opened, "10.5 -30.25")
    with pytest.raises(ValueError, match="declination must be from -90 to 90"):
        find(opened, "10.5 -130.25")


def test_a_source_is_found_by_its_name_or_its_end(opened, inputs):
    assert find(opened, inputs.names[7]).object_ids.tolist() == [inputs.object_id[7]]
    quoted = find(opened, """o'neil's "odd" one""")
    assert quoted.what == "source"
    assert quoted.object_ids.tolist() == [inputs.object_id[3]]
    with pytest.raises(ValueError, match="nothing here is called 'no such thing'"):
        find(opened, "no such thing")
    with pytest.raises(ValueError, match="type an id"):
        find(opened, "  ")
