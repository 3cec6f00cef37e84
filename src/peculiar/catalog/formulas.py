"""Formulas over columns, written as text: what a derived column is, ours or the user's."""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

MAX_LENGTH = 2_000
LARGEST = 1e300  # a number beyond it is none of float64's
Function = Callable[..., np.ndarray]


def angle(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the direction of (x, y) in radians, as arctan2 does; NaN where both are 0, which is no direction."""
    return np.where((np.asarray(x) == 0) & (np.asarray(y) == 0), np.nan, np.arctan2(y, x))


FUNCTIONS: dict[str, tuple[Function, int]] = {  # and how many arguments they take
    "abs": (np.abs, 1),
    "sqrt": (np.sqrt, 1),
    "exp": (np.exp, 1),
    "ln": (np.log, 1),
    "log10": (np.log10, 1),
    "sin": (np.sin, 1),
    "cos": (np.cos, 1),
    "degrees": (np.degrees, 1),
    "radians": (np.radians, 1),
    "hypot": (np.hypot, 2),
    "min": (np.minimum, 2),
    "max": (np.maximum, 2),
    "angle": (angle, 2),
}
_BINARY: dict[type[ast.operator], Function] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Mod: np.mod,
    ast.Pow: np.power,
}
_UNARY: dict[type[ast.unaryop], Callable[[np.ndarray], np.ndarray]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}


@dataclass(frozen=True)
class Formula:
    """A formula that was understood; see `parse_formula`."""

    text: str
    names: tuple[str, ...]
    _body: ast.expr

    def __call__(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return its values, float64, for columns of one length; NaN where it has none (log10(-1), 1/0)."""
        with np.errstate(all="ignore"):
            values = np.asarray(_value(self._body, columns), np.float64)
        return np.where(np.isfinite(values), values, np.nan)


def parse_formula(text: str) -> Formula:
    """Understand a formula: columns by name, numbers, + - * / % **, brackets, and the functions in `FUNCTIONS`.

    It is read by Python's parser and evaluated by us, on arrays: nothing else of Python can be said in it.

    Raises
    ------
    ValueError
        It is none, saying what in it is not known.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a formula may have {MAX_LENGTH} characters, got {len(text)}")
    try:
        body = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{text!r} is no formula: {error}; write it as -2.5 * log10(g_flux / r_flux)") from error
    names: dict[str, None] = {}
    try:
        _check(body, text, names)
    except RecursionError as error:
        raise ValueError(f"the formula {text[:60]!r}... is nested too deeply") from error
    if not names:
        raise ValueError(f"the formula {text!r} names no column")
    return Formula(text.strip(), tuple(names), body)


def _check(node: ast.expr, text: str, names: dict[str, None]) -> None:
    """Refuse what a formula cannot hold, and gather the columns that it names."""
    match node:
        case ast.Name(id=name):
            names[name] = None
        case ast.Constant(value=int() | float() as number) if type(number) is not bool and abs(number) < LARGEST:
            pass
        case ast.UnaryOp(op=op, operand=inner) if type(op) in _UNARY:
            _check(inner, text, names)
        case ast.BinOp(left=left, op=binary, right=right) if type(binary) in _BINARY:
            _check(left, text, names)
            _check(right, text, names)
        case ast.Call(func=ast.Name(id=name), args=given, keywords=[]) if name in FUNCTIONS:
            expected = FUNCTIONS[name][1]
            if len(given) != expected:
                raise ValueError(f"{name} takes {expected} arguments, got {len(given)} in {text!r}")
            for each in given:
                _check(each, text, names)
        case ast.Call(func=ast.Name(id=name)):
            raise ValueError(f"no function {name} in a formula; there are {', '.join(FUNCTIONS)}")
        case _:
            raise ValueError(f"{ast.unparse(node)!r} has no place in a formula, got {text!r}")


def _value(node: ast.expr, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """What a checked part of a formula is."""
    match node:
        case ast.Name(id=name):
            return columns[name]
        case ast.Constant(value=float() | int() as number):
            return np.float64(number)  # type: ignore[return-value]  # a number is an array of no dimension
        case ast.UnaryOp(op=op, operand=inner):
            return _UNARY[type(op)](_value(inner, columns))
        case ast.BinOp(left=left, op=binary, right=right):
            return _BINARY[type(binary)](_value(left, columns), _value(right, columns))
        case ast.Call(func=ast.Name(id=name), args=given):
            return FUNCTIONS[name][0](*(_value(each, columns) for each in given))
    raise TypeError(f"{ast.dump(node)} was not checked")
