"""Filters over columns as people type them, `score_joint > 3 and ra < 150`: parsed here, never SQL."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Kind = Literal["number", "text", "truth"]
MAX_CHARACTERS = 32_000  # a lasso of a thousand corners, or 1,500 ids
MAX_SHOWN = 300  # characters of what was typed, in an error
MAX_DEPTH = 40  # of brackets and of nots
MAX_LINKS = 300  # of signs and words that join: each is a call within a call


def angle(y: Any, x: Any) -> Any:
    """Return the direction of (x, y) in radians, as arctan2 does; NaN where both are 0, which is no direction."""
    return np.where((np.asarray(x) == 0) & (np.asarray(y) == 0), np.nan, np.arctan2(y, x))


FUNCTIONS: dict[str, tuple[Callable[..., Any], int]] = {  # and how many numbers they take
    **{"abs": (np.abs, 1), "sqrt": (np.sqrt, 1), "exp": (np.exp, 1), "ln": (np.log, 1), "log10": (np.log10, 1)},
    **{"sin": (np.sin, 1), "cos": (np.cos, 1), "degrees": (np.degrees, 1), "radians": (np.radians, 1)},
    **{"hypot": (np.hypot, 2), "min": (np.minimum, 2), "max": (np.maximum, 2), "angle": (angle, 2)},
}
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    **{"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal},
    **{"==": np.equal, "=": np.equal, "!=": np.not_equal},
}
_TEXT_MATCHES: dict[str, Callable[..., Any]] = {"contains": pc.match_substring, "startswith": pc.starts_with}
_BLANKS = re.compile(r"\s*")
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<text>"(?:[^"]|"")*"|'(?:[^']|'')*')
      | (?P<quoted>`[^`]+`)
      | (?P<sign>\*\*|<=|>=|==|!=|[-+*/%()<>=,])
      | (?P<name>[^\W\d]\w*)
      | (?P<end>$)
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Column:
    """A column that a filter may name."""

    name: str
    kind: Literal["number", "text"]


Columns = Callable[[str], Any]  # a name's values: float64 (n,), NaN where missing; of a text a pyarrow array, null
_Values = Callable[[Columns, int], Any]


@dataclass(frozen=True)
class _Node:
    kind: Kind
    values: _Values


@dataclass(frozen=True)
class Filter:
    """A filter that was understood.

    Parameters
    ----------
    text
        As it was typed.
    columns
        Names that it reads.
    """

    text: str
    columns: tuple[str, ...]
    _node: _Node

    def __call__(self, column: Columns, n_objects: int) -> np.ndarray:
        """Which of the objects pass, bool (n_objects,). `column` gives the values of a name, one for each object."""
        with np.errstate(all="ignore"):
            passed = self._node.values(column, n_objects)
        return np.broadcast_to(np.asarray(passed, bool), (n_objects,))


@dataclass(frozen=True)
class Formula:
    """A formula that was understood: what a derived column is, ours or the user's."""

    text: str
    names: tuple[str, ...]
    _node: _Node

    def __call__(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return its values, float64, for columns of one length; NaN where it has none (log10(-1), 1/0)."""
        with np.errstate(all="ignore"):
            values = np.asarray(self._node.values(columns.__getitem__, 0), np.float64)
        return np.where(np.isfinite(values), values, np.nan)


def parse_formula(text: str) -> Formula:
    """Understand a formula: a filter's numbers, over columns of any names.

    Raises
    ------
    ValueError
        It is none, saying what is wrong and at which character, or names no column.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"a formula must have at most {MAX_CHARACTERS} characters, got {len(text)}")
    names, node = _Parser(text, None).whole("number", "a formula must be a number, as -2.5 * log10(g_flux / r_flux) is")
    if not names:
        raise ValueError(f"the formula {text!r} names no column")
    return Formula(text.strip(), names, node)


def parse_filter(text: str, columns: Iterable[Column]) -> Filter:
    """Understand a filter over these columns.

    Numbers are compared by ``< <= > >= == !=``, also in chains (``0 < x <= 3``), and reckoned with by ``+ - * / % **``
    and abs, sqrt, log10, ln, exp, sin, cos, degrees, radians, hypot, min, max, angle. Texts stand in quotes, in which a
    quote of the same kind is written twice, and are compared by ``== !=``; ``contains(source, "a")`` and
    ``startswith(source, "a")`` look into them. ``x in (1, 2)``, ``x not in ("a", "b")``; ``missing(x)``;
    ``inside(x, y, 0, 0, 1, 0, 1, 1)`` asks whether a place is in the polygon of these corners; ``and``, ``or``, ``not``
    and brackets. A name with signs in it (``map_x_self-supervised``) is taken whole where there is such
    a column; any name may stand between backquotes. A comparison with a missing value is never true.

    Raises
    ------
    ValueError
        It is none, saying what is wrong and at which character.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"a filter must have at most {MAX_CHARACTERS} characters, got {len(text)}")
    parser = _Parser(text, columns)
    return Filter(text, *parser.whole("truth", "a filter must be true or false of an object, as score_joint > 3 is"))


class _Parser:
    """Recursive descent; each method takes what it can from the left and returns what it means."""

    def __init__(self, text: str, columns: Iterable[Column] | None) -> None:
        self.is_any_name = columns is None  # a formula's: they are looked up later
        self.what = "formula" if columns is None else "filter"
        self.text, self.place, self.depth, self.links = text, 0, 0, 0
        self.kinds = {each.name: each.kind for each in columns or ()}
        # The longest first: "map_x_self-supervised" is one name where there is such a column.
        self.signed = sorted((each for each in self.kinds if not each.isidentifier()), key=len, reverse=True)
        self.read: dict[str, None] = {}
        self.kind, self.token, self.began = "", "", 0
        self.advance()

    def whole(self, kind: Kind, what: str) -> tuple[tuple[str, ...], _Node]:
        node = self.either()
        if self.kind != "end":
            self.refuse(f"{self.token!r} is not expected")
        self.must_be(node, kind, what)
        return tuple(self.read), node

    def refuse(self, what: str, at: int | None = None) -> NoReturn:
        at = self.began if at is None else at
        shown = self.text if len(self.text) <= MAX_SHOWN else f"{self.text[:MAX_SHOWN]}..."
        raise ValueError(f"{what}, at character {at + 1} of the {self.what} {shown!r}")

    def must_be(self, node: _Node, kind: Kind, what: str) -> None:
        if node.kind != kind:
            hint = "; compare it, as is_masked = true" if {node.kind, kind} == {"number", "truth"} else ""
            self.refuse(f"{what}; this is a {node.kind}{hint}")

    def advance(self) -> None:
        """Read the next token."""
        rest = _BLANKS.match(self.text, self.place).end()  # type: ignore[union-attr]  # blanks may be none
        for name in self.signed:
            end = rest + len(name)
            if self.text.startswith(name, rest) and not self.text[end : end + 1].isidentifier():
                self.kind, self.token, self.began, self.place = "name", name, rest, end
                return
        found = _TOKEN.match(self.text, self.place)
        if found is None:
            self.refuse(f"{self.text[rest]!r} means nothing here", rest)
        self.kind = str(found.lastgroup)
        self.token, self.began, self.place = found.group(self.kind), found.start(self.kind), found.end()

    def take(self, *tokens: str) -> str:
        """The token, if it is one of these signs or words, and on to the next; empty if not."""
        if self.kind not in ("sign", "name") or self.token not in tokens:
            return ""
        token = self.token
        self.advance()
        return token

    def expect(self, token: str) -> None:
        if not self.take(token):
            self.refuse(f"{token!r} is expected, not {self.token or 'the end'!r}")

    def link(self) -> None:
        self.links += 1
        if self.links > MAX_LINKS:
            self.refuse(f"a filter may have {MAX_LINKS} signs and words that join")

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.refuse(f"brackets and signs must stand at most {MAX_DEPTH} deep")

    # The grammar, from what binds least.

    def either(self) -> _Node:
        return self.joined("or", self.both, np.logical_or)

    def both(self) -> _Node:
        return self.joined("and", self.denied, np.logical_and)

    def joined(self, word: str, part: Callable[[], _Node], join: Callable[[Any, Any], Any]) -> _Node:
        node = part()
        while self.take(word):
            self.link()
            other = part()
            for each in (node, other):
                self.must_be(each, "truth", f"{word!r} joins what is true or false")
            node = _both(node, other, join, "truth")
        return node

    def denied(self) -> _Node:
        if not self.take("not"):
            return self.compared()
        self.deeper()
        node = self.denied()
        self.depth -= 1
        self.must_be(node, "truth", "'not' denies what is true or false")
        return _Node("truth", lambda column, n: np.logical_not(node.values(column, n)))

    def compared(self) -> _Node:
        left = self.summed()
        is_denied = self.kind == "name" and self.token == "not"
        if is_denied:
            self.advance()
            if self.token != "in":
                self.refuse("'in' is expected after 'not'")
        if self.take("in"):
            found = self.among(left)
            return found if not is_denied else _Node("truth", _none_of(left, found))
        result: _Node | None = None
        while sign := self.take(*_COMPARISONS):
            self.link()
            right = self.summed()
            link = self.comparison(left, sign, right)
            result = link if result is None else _both(result, link, np.logical_and, "truth")
            left = right
        return result or left

    def comparison(self, left: _Node, sign: str, right: _Node) -> _Node:
        if {left.kind, right.kind} == {"number", "truth"} and sign in ("=", "==", "!="):
            left, right = (_as_number(each) if each.kind == "truth" else each for each in (left, right))
        if left.kind != right.kind or left.kind == "truth":
            self.refuse(f"a {left.kind} cannot be compared with a {right.kind}")
        if left.kind == "text":
            if sign not in ("=", "==", "!="):
                self.refuse(f"texts are compared by == and !=, not by {sign}")
            compare = pc.not_equal if sign == "!=" else pc.equal
            return _Node("truth", lambda column, n: _truth(compare(left.values(column, n), right.values(column, n)), n))
        if sign != "!=":
            return _both(left, right, _COMPARISONS[sign], "truth")
        return _both(left, right, lambda a, b: (a != b) & ~np.isnan(a) & ~np.isnan(b), "truth")

    def among(self, left: _Node) -> _Node:
        """A list of constants, in brackets."""
        self.expect("(")
        items: list[Any] = []
        while True:
            sign = -1 if self.take("-") else 1
            if self.kind == "number" and left.kind == "number":
                items.append(_number(self.token) * sign)
            elif self.kind == "text" and left.kind == "text":
                items.append(_text(self.token))
            else:
                self.refuse(f"a list must hold constants, each a {left.kind}, not {self.token or 'the end'!r}")
            self.advance()
            if not self.take(","):
                break
        self.expect(")")
        if left.kind == "text":
            wanted = pa.array(items, pa.string())
            return _Node("truth", lambda column, n: _truth(pc.is_in(left.values(column, n), wanted), n))
        return _Node("truth", lambda column, n: _is_in(left.values(column, n), items))

    def summed(self) -> _Node:
        return self.reckoned(self.product, {"+": np.add, "-": np.subtract})

    def product(self) -> _Node:
        return self.reckoned(self.signed_power, {"*": np.multiply, "/": np.divide, "%": np.mod})

    def reckoned(self, part: Callable[[], _Node], signs: dict[str, Callable[[Any, Any], Any]]) -> _Node:
        node = part()
        while sign := self.take(*signs):
            self.link()
            node = self.numbers(node, part(), signs[sign], sign)
        return node

    def numbers(self, left: _Node, right: _Node, act: Callable[[Any, Any], Any], sign: str) -> _Node:
        for each in (left, right):
            self.must_be(each, "number", f"{sign!r} reckons with numbers")
        return _both(left, right, act, "number")

    def signed_power(self) -> _Node:
        self.deeper()
        if self.take("-"):
            node = self.signed_power()
            self.must_be(node, "number", "'-' reckons with numbers")
            node = _Node("number", lambda column, n, values=node.values: np.negative(values(column, n)))  # type: ignore[misc]
        elif self.take("+"):
            node = self.signed_power()
        else:
            node = self.atom()
            if self.take("**"):
                node = self.numbers(node, self.signed_power(), np.power, "**")
        self.depth -= 1
        return node

    def atom(self) -> _Node:
        kind, token, began = self.kind, self.token, self.began
        if kind == "number":
            self.advance()
            constant = _number(token)
            return _Node("number", lambda column, n: constant)
        if kind == "text":
            self.advance()
            return _Node("text", lambda column, n: pa.scalar(_text(token)))
        if self.take("("):
            self.deeper()
            node = self.either()
            self.depth -= 1
            self.expect(")")
            return node
        if kind == "quoted":
            self.advance()
            return self.named(token[1:-1], began)
        if kind != "name":
            self.refuse(f"a column, a number or a text is expected, not {token or 'the end'!r}")
        self.advance()
        if token in ("true", "false") and token not in self.kinds:
            return _Node("truth", lambda column, n: np.bool_(token == "true"))
        if token not in self.kinds and self.take("("):
            return self.called(token, began)
        return self.named(token, began)

    def called(self, name: str, began: int) -> _Node:
        self.deeper()
        first = self.either()
        self.depth -= 1
        if name == "inside":
            return self.inside(first)
        if name in _TEXT_MATCHES:
            self.expect(",")
            if self.kind != "text" or first.kind != "text":
                self.refuse(f'{name} takes a column of texts and a text, as {name}(source, "a")')
            pattern = _text(self.token)
            self.advance()
            self.expect(")")
            match = _TEXT_MATCHES[name]
            return _Node("truth", lambda column, n: _truth(match(first.values(column, n), pattern=pattern), n))
        if name in FUNCTIONS:
            return self.numbered(name, first)
        if name != "missing":
            there = ", ".join([*FUNCTIONS, "missing", "inside", *_TEXT_MATCHES])
            self.refuse(f"there is no function {name}; there are {there}", began)
        self.expect(")")
        if first.kind == "text":
            return _Node("truth", lambda column, n: _truth(pc.is_null(first.values(column, n)), n))
        self.must_be(first, "number", "missing asks of a number or a text")
        return _Node("truth", lambda column, n: np.isnan(first.values(column, n)))

    def numbered(self, name: str, first: _Node) -> _Node:
        """A function of numbers, after the first of them."""
        act, expected = FUNCTIONS[name]
        given = [first]
        while self.take(","):
            self.deeper()
            given.append(self.either())
            self.depth -= 1
        self.expect(")")
        if len(given) != expected:
            self.refuse(f"{name} takes {expected} number{'s' * (expected > 1)}, got {len(given)}")
        for each in given:
            self.must_be(each, "number", f"{name} takes numbers")
        return _Node("number", lambda column, n: act(*(each.values(column, n) for each in given)))

    def inside(self, x: _Node) -> _Node:
        """A polygon's corners, after the first of the two coordinates."""
        self.expect(",")
        y, corners = self.summed(), []
        for each in (x, y):
            self.must_be(each, "number", "inside takes two numbers and the corners of a polygon")
        while self.take(","):
            sign = -1 if self.take("-") else 1
            if self.kind != "number":
                self.refuse(f"a corner is two numbers, not {self.token or 'the end'!r}")
            corners.append(sign * float(self.token))
            self.advance()
        self.expect(")")
        if len(corners) < 6 or len(corners) % 2:
            self.refuse(f"a polygon has three corners or more, of two numbers each, got {len(corners)} numbers")
        polygon = np.array(corners).reshape(-1, 2)
        return _Node("truth", lambda column, n: in_polygon(x.values(column, n), y.values(column, n), polygon))

    def named(self, name: str, began: int) -> _Node:
        if self.is_any_name:
            self.kinds[name] = "number"
        if name not in self.kinds:
            meant = _nearest(name, list(self.kinds)) or f'; a text stands in quotes, "{name}"'
            self.refuse(f"there is no column {name!r}{meant}", began)
        self.read[name] = None
        return _Node(self.kinds[name], lambda column, n: column(name))


def in_polygon(x: np.ndarray, y: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Which places (n,) are inside a polygon (m, 2) by the even-odd rule, bool (n,); NaN is nowhere."""
    x, y = np.broadcast_arrays(np.atleast_1d(x), np.atleast_1d(y))
    (left, bottom), (right, top) = polygon.min(axis=0), polygon.max(axis=0)
    near = np.flatnonzero((x >= left) & (x <= right) & (y >= bottom) & (y <= top))
    px, py, inside = x[near], y[near], np.zeros(len(near), bool)
    for (ax, ay), (bx, by) in zip(polygon, np.roll(polygon, 1, axis=0), strict=True):
        if ay != by:
            inside ^= ((ay > py) != (by > py)) & (px < (bx - ax) * (py - ay) / (by - ay) + ax)
    found = np.zeros(x.shape, bool)
    found[near] = inside
    return found


def _number(token: str) -> np.float64 | np.int64:
    """A constant; a whole one that float64 would round, as an id of 17 digits is, stays whole."""
    is_long = token.isdigit() and 2**53 < int(token) < 2**63
    return np.int64(token) if is_long else np.float64(token)


def _text(token: str) -> str:
    """What stands between the quotes; a quote of the same kind is there twice."""
    return token[1:-1].replace(token[0] * 2, token[0])


def _is_in(values: np.ndarray, items: list[Any]) -> np.ndarray:
    """Any of some constants, each compared by itself, so that ids stay whole."""
    found = np.zeros(np.shape(values), bool)
    for each in items:
        found |= values == each
    return found


def _as_number(node: _Node) -> _Node:
    """True and false as 1 and 0, which columns of truths hold: is_masked = true."""
    return _Node("number", lambda column, n: np.asarray(node.values(column, n), np.float64))


def _both(left: _Node, right: _Node, act: Callable[[Any, Any], Any], kind: Kind) -> _Node:
    return _Node(kind, lambda column, n: act(left.values(column, n), right.values(column, n)))


def _none_of(left: _Node, found: _Node) -> _Values:
    """Not in the list, and there."""

    def values(column: Columns, n: int) -> Any:
        mine = left.values(column, n)
        is_there = ~np.isnan(mine) if left.kind == "number" else _truth(pc.is_valid(mine), n)
        return is_there & ~found.values(column, n)

    return values


def _truth(found: Any, n: int) -> np.ndarray:
    """What pyarrow says, as numpy; null is false."""
    if isinstance(found, pa.Scalar):
        return np.full(n, bool(found.as_py()))
    return pc.fill_null(found, False).to_numpy(zero_copy_only=False)


def _nearest(name: str, there: Sequence[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, there, n=3)
    return f"; there are {', '.join(near)}" if near else ""
