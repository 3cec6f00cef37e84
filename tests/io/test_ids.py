import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peculiar.io.ids import exact_ids, id_in_name

BIG = 43158859342174406  # above 2**53


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_integers_and_digits_are_exact(ids):
    assert exact_ids(np.array(ids), "id").to_pylist() == ids
    assert exact_ids(np.array(ids, ">i8"), "id").to_pylist() == ids
    assert exact_ids(pa.array([str(i) for i in ids]), "id").to_pylist() == ids
    assert exact_ids(np.array([str(i).encode() for i in ids]), "id").to_pylist() == ids


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_floats_are_refused_with_the_reason(kind):
    with pytest.raises(ValueError, match=r"'my_id' holds ids as (float|double), which cannot hold 17 digits"):
        exact_ids(np.array([1.0, 2.0], kind), "my_id")


def test_ids_beyond_int64_are_refused():
    assert exact_ids(np.array([2**63 - 1], np.uint64), "id").to_pylist() == [2**63 - 1]
    with pytest.raises(ValueError, match="outside int64"):
        exact_ids(np.array([1, 2**63], np.uint64), "id")
    with pytest.raises(ValueError, match="outside int64"):
        exact_ids(pa.array([str(2**63)]), "id")


def test_text_that_is_no_integer_is_refused_by_value():
    with pytest.raises(ValueError, match=r"'4\.3e16'"):
        exact_ids(pa.array(["12", "4.3e16"]), "id")


def test_empty_text_and_nulls_stay_null():
    assert exact_ids(pa.array(["+12", "", None, " 7 "]), "id").to_pylist() == [12, None, None, 7]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"{BIG}.fits", BIG),
        (f"a/12/cut_{BIG}_i.fits.gz", BIG),
        (f"-{BIG}.png", -BIG),
        ("cut_-5.png", -5),
        ("cut-5.png", 5),
        ("gz2_00001.jpg", 1),
        ("galaxy.png", None),
        ("hsc_ra150.24071_dec2.06514.fits", None),
        (f"{2**63}.png", None),
        ("0.png", 0),
    ],
)
def test_the_one_integer_of_a_name_is_its_id(name, expected):
    assert id_in_name(name) == expected
