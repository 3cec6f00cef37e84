import math
import operator
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peculiar.catalog.filters import MAX_CHARACTERS, Column, in_polygon, parse_filter

NUMBERS = {
    "a": np.array([1.0, 2.0, np.nan, -3.0, 0.5]),
    "b": np.array([2.0, 2.0, 2.0, np.nan, 0.5]),
    "map_x_self-supervised": np.array([1.0, 2.0, 3.0, 4.0, 5.0]),
    "in_1": np.arange(5.0),
}
TEXTS = {"source": pa.array(["x/one.png", "two", None, "o'neil", "two"])}
COLUMNS = [Column(each, "number") for each in NUMBERS] + [Column(each, "text") for each in TEXTS]


def passed(text):
    return parse_filter(text, COLUMNS)({**NUMBERS, **TEXTS}.__getitem__, 5).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a > 0", [1, 1, 0, 0, 1]),
        ("0 < a <= 1", [1, 0, 0, 0, 1]),
        ("a = b", [0, 1, 0, 0, 1]),
        ("b == true or a = (b > 1)", [1, 0, 0, 0, 0]),
        ("a != b", [1, 0, 0, 0, 0]),  # with a missing value nothing is true
        ("not a > 0", [0, 0, 1, 1, 0]),
        ("a > 0 and b > 1 or a == -3", [1, 1, 0, 1, 0]),
        ("a > 0 and (b > 1 or a == -3)", [1, 1, 0, 0, 0]),
        ("a in (1, -3)", [1, 0, 0, 1, 0]),
        ("a not in (1, -3)", [0, 1, 0, 0, 1]),
        ("missing(a) or missing(source)", [0, 0, 1, 0, 0]),
        ("-a ** 2 == -4", [0, 1, 0, 0, 0]),
        ("2 * a + 1 > b * 2 - 1", [0, 1, 0, 0, 1]),
        ("abs(a) > 2 or sqrt(a) > 1.2 or log10(a) == 0", [1, 1, 0, 1, 0]),
        ("a / 0 > 1e300", [1, 1, 0, 0, 1]),
        ("map_x_self-supervised > 3", [0, 0, 0, 1, 1]),
        ("`map_x_self-supervised` - a > 3", [0, 0, 0, 1, 1]),
        ("a-b == 0", [0, 1, 0, 0, 1]),
        ("in_1 > 2", [0, 0, 0, 1, 1]),
        ('source == "two"', [0, 1, 0, 0, 1]),
        ("source != 'two'", [1, 0, 0, 1, 0]),
        ('source in ("two", "x/one.png")', [1, 1, 0, 0, 1]),
        ('source not in ("two",  "z")', [1, 0, 0, 1, 0]),
        ('contains(source, "o\'n") or startswith(source, "x/")', [1, 0, 0, 1, 0]),
        ("source == 'o''neil'", [0, 0, 0, 1, 0]),
        ('source in ("say ""hi""", "o\'neil")', [0, 0, 0, 1, 0]),
        ("true and not false", [1, 1, 1, 1, 1]),
        ("1 < 2", [1, 1, 1, 1, 1]),
        ('"a" == "a"', [1, 1, 1, 1, 1]),
    ],
)
def test_a_filter_means_what_it_says(text, expected):
    assert passed(text) == [bool(each) for each in expected]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected, not 'the end', at character 1"),
        ("a", "must be true or false"),
        ("a > ", "expected, not 'the end', at character 5"),
        ("a > 0 b", "'b' is not expected, at character 7"),
        ("a > 'x'", "number cannot be compared with a text"),
        ("source > 'x'", "compared by == and !="),
        ("scor > 1", "there is no column 'scor'; there are source"),
        ("a; drop table survey", "';' means nothing here, at character 2"),
        ("a > 0 -- comment", "there is no column 'comment'"),
        ("__import__('os') == 1", "there is no function __import__"),
        ("a.b > 1", "'.' means nothing here|not expected"),
        ("(a > 1", r"'\)' is expected"),
        ("a in ()", "must hold constants"),
        ("a in ('x')", "each a number"),
        ("a > 1 and 2", "'and' joins what is true or false"),
        ("not a", "'not' denies"),
        ("contains(a, 'x')", "takes a column of texts"),
        ("(" * 60 + "a" + ")" * 60 + " > 1", "at most 40 deep"),
        ("-" * 60 + "a > 1", "at most 40 deep"),
        ("not " * 60 + "a > 1", "at most 40 deep"),
    ],
)
def test_what_is_no_filter_is_refused_with_its_place(text, said):
    with pytest.raises(ValueError, match=said):
        passed(text)


def test_a_long_filter_is_refused():
    with pytest.raises(ValueError, match=f"at most {MAX_CHARACTERS} characters"):
        passed("a > 1 or " * 4_000 + "a > 1")


def test_a_filter_says_which_columns_it_reads():
    assert parse_filter("a > 1 and source == 'b' or a < 0", COLUMNS).columns == ("a", "source")


# Against Python's own reading of the same words, a row at a time.

numbers = st.sampled_from(["a", "b", "1", "2.5", "0"])
sums = st.recursive(numbers, lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from("+-*"), inner))
comparisons = st.builds("{} {} {}".format, sums, st.sampled_from(["<", "<=", ">", ">=", "=="]), sums)
truths = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner), st.builds("not {}".format, inner)
    ),
    max_leaves=8,
)


@given(truths)
def test_a_filter_is_as_python_reads_it(text):
    rows = zip(NUMBERS["a"], NUMBERS["b"], strict=True)
    expected = [bool(eval(text, {"__builtins__": {}}, {"a": float(a), "b": float(b)})) for a, b in rows]
    assert passed(text) == expected


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_refused(text):
    with suppress(ValueError):
        assert len(passed(text)) == 5


@given(st.sampled_from(["a", "b"]), st.floats(allow_nan=False, allow_infinity=False, width=32, min_value=0))
def test_numbers_are_read_whole(name, value):
    expected = [operator.lt(float(each), value) and not math.isnan(each) for each in NUMBERS[name]]
    assert passed(f"{name} < {value!r}") == expected


def test_a_polygon_is_as_matplotlib_has_it():
    from matplotlib.path import Path

    random = np.random.default_rng(0)
    polygon = random.normal(size=(9, 2))  # it crosses itself
    polygon[:, 1] *= 3
    x, y = random.normal(size=(2, 500))
    y[7] = np.nan
    star = in_polygon(x, y, polygon)
    # Even-odd: a place is inside if a ray from it crosses an odd number of sides; counted here one by one.
    crossings = np.zeros(500, int)
    for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        t = (y - a[1]) / (b[1] - a[1])
        crossings += (t >= 0) & (t < 1) & (a[0] + t * (b[0] - a[0]) > x)
    assert (star == (crossings % 2 == 1)).all()
    convex = np.array([[0.0, 0], [2, 0], [2.5, 1], [1, 2]])
    assert (in_polygon(x, y, convex) == Path(convex).contains_points(np.column_stack([x, y]))).all()


def test_a_polygon_is_part_of_a_filter():
    assert passed("inside(a, b, 0, 0, 3, 0, 3, 3, 0, 3)") == [True, True, False, False, True]
    assert passed("inside(a, b, 0.9, 1.5, 3, 1.5, 3, 3, 0.9, 3) and not inside(a, b, 1.5, 0, 3, 0, 3, 3, 1.5, 3)") == [
        *(True, False, False, False, False)
    ]
    for text in ("inside(a, b, 1, 2, 3, 4)", "inside(a, b, 1, 2, 3, 4, 5)", "inside(a, 'x', 1)", "inside(a, b, c)"):
        with pytest.raises(ValueError, match="at character"):
            passed(text)
