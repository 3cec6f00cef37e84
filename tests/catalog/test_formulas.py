import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from peculiar.catalog.filters import FUNCTIONS, parse_formula

COLUMNS = {"a": np.array([1.0, 4.0, 9.0]), "b": np.array([2.0, 0.0, -3.0])}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + 2 * b", [5, 4, 3]),
        ("-(a - b) / 2", [0.5, -2, -6]),
        ("a ** 0.5", [1, 2, 3]),
        ("sqrt(a) % 2", [1, 0, 1]),
        ("log10(a * 10)", 1 + np.log10([1, 4, 9])),
        ("hypot(a, b)", np.sqrt([5, 16, 90])),
        ("min(a, b)", [1, 0, -3]),
        ("degrees(angle(b, a))", [63.434949, 0, -18.434949]),
    ],
)
def test_a_formula_is_what_it_says(text, expected):
    found = parse_formula(text)(COLUMNS)
    assert found.dtype == np.float64
    assert_allclose(found, expected, rtol=1e-7)


@pytest.mark.parametrize("text", ["a / b", "ln(b)", "sqrt(b)", "b ** 0.5 + angle(b * 0, b * 0)"])
def test_what_has_no_value_is_nan_and_warns_of_nothing(text):
    found = parse_formula(text)(COLUMNS)
    assert np.isnan(found[1:]).any()
    assert not np.isinf(found).any()


def test_the_columns_are_those_that_are_named_in_order():
    assert parse_formula("b * a + sqrt(a)").names == ("b", "a")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a +", "expected, not 'the end'"),
        ("", "expected, not 'the end'"),
        ("1 + 2", "names no column"),
        ("cbrt(a)", "there is no function cbrt"),
        ("hypot(a)", "hypot takes 2 numbers, got 1"),
        ("sqrt(a, b)", "sqrt takes 1 number, got 2"),
        ("a > 3", "a formula must be a number"),
        ("'x' * 9", "reckons with numbers"),
        ("a.real", "means nothing here"),
        ("a[0]", "means nothing here"),
        ("__import__('os')", "there is no function __import__"),
        ("(lambda: a)()", "means nothing here"),
        ("a << 3", "is not expected|expected"),
        ("a + " + "-" * 1_900 + "1", "deep|brackets|nested"),
        ("a + " * 5_000 + "a", "300 signs"),
        ("(" * 400 + "a" + ")" * 400, "deep|brackets|nested"),
    ],
)
def test_nothing_else_is_a_formula(text, said):
    with pytest.raises(ValueError, match=said):
        parse_formula(text)


@given(st.text(max_size=60))
def test_any_text_is_understood_or_refused(text):
    with contextlib.suppress(ValueError):
        parse_formula(text)


def test_every_function_takes_arrays():
    for name, (function, n_arguments) in FUNCTIONS.items():
        assert np.shape(function(*[COLUMNS["a"]] * n_arguments)) == (3,), name
