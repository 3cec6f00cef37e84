"""What a pickled table is read into: inert stand-ins for the few names of pandas and NumPy that it needs.

None of them runs, imports, or changes anything; each checks what it is given. Real arrays are made last, from bytes
whose number is that of their shape.
"""

import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np

MAX_BYTES = 2**30  # of a pickle: ten times the catalog of all 942,781 objects
MAX_DIMENSIONS = 4
ENCODING = "latin1"  # of the bytes that Python 2 wrote as texts
FAULTS = (
    *(pickle.UnpicklingError, ValueError, TypeError, AttributeError, KeyError, IndexError, EOFError),
    *(OverflowError, MemoryError, RecursionError, BufferError),
)
_DTYPE = re.compile(r"([<>|=]?)(?:([biufSU])([1-9]\d{0,4})|(O)8?|(\?))")


class Refused(ValueError):
    """A pickle asks for what a table does not need. Caught by `unpickle`, which adds the file's name."""


def plain(value: Any) -> Any:
    """A stand-in as what it stands for: a frame as a dict of arrays, an array as an array; anything else as it is."""
    if isinstance(value, _Frame):
        return _columns(value)
    return _values(value) if isinstance(value, _Array) else value


class Builder:
    """A function that a pickle may call, and can do nothing else with: attributes cannot be set."""

    __slots__ = ("_build", "_name")

    def __init__(self, name: str, build: Callable[..., Any]) -> None:
        self._name, self._build = name, build

    def __call__(self, *arguments: Any) -> Any:
        """What is built; arguments that do not fit are refused."""
        try:
            return self._build(*arguments)
        except Refused:
            raise
        except FAULTS as error:
            raise Refused(f"it calls {self._name} with what is none of a table's ({type(error).__name__})") from None

    def __setstate__(self, state: Any) -> None:
        raise Refused(f"it tries to change {self._name}")


class _Fixed(type):
    """The kind of our classes: a pickle names them, and must not change them."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise Refused("it tries to change a class")


class _Class(metaclass=_Fixed):
    """A class that is only named, or made and then given its state, once."""

    __slots__ = ("state",)

    def __setstate__(self, state: Any) -> None:
        if hasattr(self, "state"):
            raise Refused("it gives an object its state twice")
        self.state = state


class _Frame(_Class):
    __slots__ = ()


class _Manager(_Class):
    """The blocks of a frame: as state (to pandas 1.2), or as arguments, whose state then is no news."""

    __slots__ = ("axes", "blocks")
    axes: Any
    blocks: Any

    def __new__(cls, blocks: Any = None, axes: Any = None, *_: Any) -> "_Manager":
        self = super().__new__(cls)
        self.blocks, self.axes = blocks, axes
        return self


class _Index(_Class):
    __slots__ = ()


class _Type(metaclass=_Fixed):
    """What is named as a kind of array, and neither made nor changed."""

    __slots__ = ()

    def __new__(cls, *_: Any) -> "_Type":
        raise Refused("it makes an object of a kind that is only named in a table")


class _DType(metaclass=_Fixed):
    """A dtype of numbers, texts or objects; its state is the byte order."""

    __slots__ = ("text",)

    def __init__(self, text: Any, *_: Any) -> None:
        text = text.decode(ENCODING) if isinstance(text, bytes) else text
        if not isinstance(text, str) or not _DTYPE.fullmatch(text):
            said = repr(text)[:40] if isinstance(text, str) else type(text).__name__
            raise Refused(f"it holds an array of dtype {said}, and only numbers, texts and objects are read")
        self.text = text

    def __setstate__(self, state: Any) -> None:
        if not (isinstance(state, tuple) and len(state) >= 7 and state[2:5] == (None, None, None)):
            raise Refused("it holds an array of records, and only plain ones are read")
        order = state[1].decode(ENCODING) if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "|", "="):
            raise Refused("it holds an array of no known byte order")
        self.text = order + self.text.lstrip("<>|=")

    @property
    def dtype(self) -> np.dtype:
        bare = self.text.lstrip("<>|=")
        return np.dtype(object) if bare in ("O", "O8") else np.dtype(self.text)


class _Array(metaclass=_Fixed):
    """An array that is empty until it gets its state; never one of NumPy's, which a pickle could change."""

    __slots__ = ("value",)

    def __init__(self, value: np.ndarray | None = None) -> None:
        self.value = value

    def __setstate__(self, state: Any) -> None:
        if self.value is not None:
            raise Refused("it gives an array its content twice")
        if isinstance(state, tuple) and len(state) in (2, 3) and isinstance(state[1], _Array):
            self.value = state[1].value  # pandas 3: texts as dtype, array, perhaps attributes
            return
        if not (isinstance(state, tuple) and len(state) == 5 and isinstance(state[2], _DType)):
            raise Refused("it holds an array whose state is none")
        _, shape, kind, is_fortran, content = state
        self.value = _filled(content, kind, shape, "F" if is_fortran is True else "C")


def _filled(content: Any, kind: _DType, shape: Any, order: str) -> np.ndarray:
    """An array from its bytes, or from its list of objects; the size must be exact."""
    if isinstance(shape, int):
        shape = (shape,)
    is_shape = isinstance(shape, tuple) and len(shape) <= MAX_DIMENSIONS
    if not is_shape or not all(type(each) is int and each >= 0 for each in shape) or order not in ("C", "F"):
        raise Refused("it holds an array of no possible shape")
    size, dtype = math.prod(shape), kind.dtype
    if dtype.hasobject:
        if type(content) is not list or len(content) != size:
            raise Refused("it holds an array of objects whose number is not that of its shape")
        flat = np.empty(size, object)
        for place, each in enumerate(content):
            flat[place] = each
    else:
        content = content.encode(ENCODING) if isinstance(content, str) else content
        if not isinstance(content, bytes | bytearray) or len(content) != size * dtype.itemsize:
            raise Refused("it holds an array whose bytes are not as many as its shape says")
        flat = np.frombuffer(content, dtype)
    if size == 0 and any(each > MAX_BYTES for each in shape):
        raise Refused("it holds an array of no possible shape")
    return flat.reshape(shape, order=order)  # type: ignore[call-overload]


def _from_buffer(content: Any, kind: _DType, shape: Any, order: Any, *_: Any) -> _Array:
    return _Array(_filled(content, kind, shape, order))


def _scalar(kind: _DType, content: Any) -> Any:
    """A number or text of NumPy's as Python's, exactly."""
    return _filled(content, kind, (), "C").item()


def _new_array(*_: Any) -> _Array:
    return _Array()


def _encoded(text: str, encoding: str = ENCODING) -> bytes:
    """How bytes are written at protocol 2."""
    if encoding != ENCODING:
        raise Refused("it encodes a text in another way than bytes are written")
    return text.encode(ENCODING)


def _no_bytes() -> bytes:
    return b""


def _slice(start: int | None, stop: int | None, step: int | None) -> slice:
    if not all(each is None or type(each) is int for each in (start, stop, step)):
        raise Refused("it holds a slice of something else than integers")
    return slice(start, stop, step)


def _new_index(_: Any, content: dict[str, Any]) -> _Index:
    if type(content) is not dict:
        raise Refused("it holds an index without content")
    index = _Index()
    index.state = content
    return index


def _block(values: Any, places: Any, *_: Any) -> tuple[Any, Any]:
    return values, places


def _marker(*_: Any) -> None:
    """What stands for a text's dtype."""


_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_INDEXES = ("pandas", "pandas.core.index", "pandas.indexes.base", "pandas.core.indexes.base")
_NUMERIC_INDEXES = ("pandas", "pandas.indexes.numeric", "pandas.core.indexes.numeric", "pandas.core.index")
_BUILTINS = ("builtins", "__builtin__")
STAND_INS: dict[str, tuple[tuple[str, ...], Any]] = {
    "DataFrame": (("pandas", "pandas.core.frame"), _Frame),
    "BlockManager": (("pandas.core.internals", "pandas.core.internals.managers"), _Manager),
    "_unpickle_block": (("pandas._libs.internals",), _block),
    "_new_Index": (_INDEXES, _new_index),
    "Index": (_INDEXES, _Type),
    **dict.fromkeys(("Int64Index", "UInt64Index", "Float64Index"), (_NUMERIC_INDEXES, _Type)),
    "RangeIndex": (("pandas", "pandas.indexes.range", "pandas.core.indexes.range"), _Type),
    "__pyx_unpickle_NDArrayBacked": (("pandas._libs.arrays",), _new_array),
    "StringArray": (("pandas.arrays", "pandas.core.arrays.string_"), _Type),
    "StringDtype": (("pandas", "pandas.core.arrays.string_"), _marker),
    "_reconstruct": (_MULTIARRAY, _new_array),
    "scalar": (_MULTIARRAY, _scalar),
    "_frombuffer": (_NUMERIC, _from_buffer),
    "ndarray": (("numpy",), _Type),
    "dtype": (("numpy",), _DType),
    "encode": (("_codecs",), _encoded),
    "bytes": (_BUILTINS, _no_bytes),
    "slice": (_BUILTINS, _slice),
}


def _values(array: _Array) -> np.ndarray:
    """The array, of native byte order; objects that are arrays themselves as such."""
    if array.value is None:
        raise Refused("it holds an array without content")
    value = array.value
    if value.dtype.hasobject:
        opened = np.empty(value.size, object)
        for place, each in enumerate(value.reshape(-1)):
            opened[place] = each.value if isinstance(each, _Array) else each
        return opened.reshape(value.shape)
    return value.astype(value.dtype.newbyteorder("="), copy=False)


def _columns(frame: _Frame) -> dict[str, np.ndarray]:
    """Columns of a frame by name, its index among them."""
    state = frame.state
    manager = state.get("_mgr", state.get("_data")) if isinstance(state, dict) else None
    if not isinstance(manager, _Manager):
        raise Refused("it holds a frame without the blocks of its columns")
    axes, blocks = manager.axes, manager.blocks
    if axes is None:  # to pandas 1.2: axes, values, items, and what all versions since 0.14.1 read
        newest = manager.state[3]["0.14.1"]
        axes, blocks = newest["axes"], [(each["values"], each["mgr_locs"]) for each in newest["blocks"]]
    names, index = (_labels(axis) for axis in axes)
    columns: dict[str, np.ndarray] = {}
    for values, places in blocks:
        rows = np.atleast_2d(_values(values))
        where = range(len(names))[places] if isinstance(places, slice) else _values(places).tolist()
        if len(where) != len(rows):
            raise Refused("it holds a block of other columns than it says")
        columns |= {_text(names[place]): row for place, row in zip(where, rows, strict=True)}
    label = _text(axes[1].state.get("name") or "index")
    if index is not None and label not in columns:
        columns[label] = index
    lengths = {len(each) for each in columns.values()}
    if len(lengths) > 1:
        raise Refused("it holds columns of different lengths")
    return columns


def _text(label: Any) -> str:
    """The name of a column; nothing that would have to be spelled out."""
    if not isinstance(label, str | int | float):
        raise Refused("it holds a column whose name is no text")
    return str(label)


def _labels(axis: Any) -> Any:
    """What an axis is labeled with; None where it only counts."""
    if not isinstance(axis, _Index):
        raise Refused("it holds a frame whose axes are of a kind that is not read")
    return _values(axis.state["data"]) if "data" in axis.state else None
