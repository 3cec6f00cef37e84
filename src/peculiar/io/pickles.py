"""Pickles of tables read without running what they say: pandas frames and NumPy arrays to plain arrays.

A pickle is a program. This one runs on stand-ins: the few names that frames and arrays need are mapped to our own inert
builders, every other name is refused, and the opcodes are counted and checked before the first is run. Neither pandas
nor NumPy's own constructors are called. What comes out are arrays of numbers, texts and plain objects.
"""

import io
import pickle
import pickletools
import warnings
from dataclasses import dataclass
from typing import Any, NoReturn

from peculiar.io.inert import ENCODING, FAULTS, MAX_BYTES, STAND_INS, Builder, Refused, plain

MAX_OPCODES = 20_000_000  # an array of a million Python objects needs some ten each
PROTOCOLS = range(2, 6)
POINTER = 8  # bytes that an object takes in a list, at least
FETCHED_A_BYTE = 64  # what is fetched from the memo for each byte of a file: eight in an array of NumPy's scalars
MOST_FETCHED = 2**24  # and for all that is small
# No persistent ids, no extension registry, no sets (whose members are hashed), no instances of protocol 0.
_OPCODES = {
    *(
        "PROTO",
        "FRAME",
        "STOP",
        "MARK",
        "POP",
        "POP_MARK",
        "DUP",
        "PUT",
        "BINPUT",
        "LONG_BINPUT",
        "MEMOIZE",
        "GET",
        "BINGET",
        "LONG_BINGET",
    ),
    *(
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "NONE",
        "NEWTRUE",
        "NEWFALSE",
    ),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *(
        "EMPTY_LIST",
        "APPEND",
        "APPENDS",
        "LIST",
        "EMPTY_TUPLE",
        "TUPLE",
        "TUPLE1",
        "TUPLE2",
        "TUPLE3",
        "EMPTY_DICT",
        "DICT",
        "SETITEM",
        "SETITEMS",
    ),
    *("GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "BUILD"),
}
_KEYS = {
    *("INT", "BININT", "BININT1", "BININT2", "STRING", "BINSTRING", "SHORT_BINSTRING"),
    *(each for each in _OPCODES if "UNICODE" in each or "BYTES" in each),
}


_FETCHES = ("GET", "BINGET", "LONG_BINGET", "DUP")
_FILLS = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "BUILD")


def unpickle(data: bytes, name: str) -> Any:
    """Read a pickled frame, array, or plain objects that hold them.

    Returns
    -------
    A frame as a dict of arrays by column, its index among them under its own name; an array as an array. Nothing
    else is converted: lists, dicts and tuples stay.

    Raises
    ------
    ValueError
        It asks for a name that no table needs, is too large, is broken, or is no such table; `name`, of the file, is
        in the message.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"{name} is a pickle of {len(data)} bytes, and at most {MAX_BYTES} are read; write it as CSV")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # an escape that Python does not know: broken
            _check_opcodes(data)
            return plain(_Unpickler(io.BytesIO(data), encoding=ENCODING).load())
    except DeprecationWarning as error:
        raise ValueError(f"{name} is no sound pickle of a table: {error}; fetch it again") from error
    except Refused as refused:
        raise ValueError(f"{name} is not read: {refused}; ask its makers for a CSV or HDF5 file") from None
    except FAULTS as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{name} is no sound pickle of a table: {said}; fetch it again") from error


class _Unpickler(pickle.Unpickler):
    """An unpickler that finds nothing but the stand-ins of `STAND_INS`."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a name; no module is ever imported."""
        found = STAND_INS.get(name) if isinstance(name, str) else None
        if found is None or module not in found[0]:
            raise Refused(f"it asks for {module}.{name}, which no table needs and which may run code")
        return found[1] if isinstance(found[1], type) else Builder(f"{module}.{name}", found[1])

    def persistent_load(self, pid: Any) -> NoReturn:
        """Refuse: nothing lies outside the file."""
        raise Refused("it refers to an object outside the file")


@dataclass(slots=True)
class _Thing:
    """What stands on the machine's stack, and may be kept: what made it, and how much it holds, with what is in it."""

    kind: str
    size: int


def _check_opcodes(data: bytes) -> None:
    """Go through the program without running it: known opcodes, sound stack and memo, plain keys, little said twice.

    That keys are texts, bytes or integers keeps the machine from hashing nested tuples, which can take for ever or
    overrun its own stack; lengths and places in the memo are checked so that none is believed and made room for. What
    is fetched from the memo is counted with all that it holds, so that no small file unfolds to a large object.
    """
    stack: list[_Thing] = []
    memo: dict[int, _Thing] = {}
    protocol, n_fetched = 0, 0
    most_fetched = MOST_FETCHED + min(FETCHED_A_BYTE * len(data), 2**32)
    argument: Any  # of the type that the opcode has
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        name = opcode.name
        if name not in _OPCODES:
            raise Refused(f"it uses the opcode {name}, which no table needs")
        if count > MAX_OPCODES:
            raise Refused(f"it has more than {MAX_OPCODES} opcodes")
        if name == "PROTO":
            protocol = argument
        if protocol not in PROTOCOLS:
            raise Refused(f"it is of protocol {protocol}, and {PROTOCOLS[0]} to {PROTOCOLS[-1]} are read")
        if name in ("PUT", "BINPUT", "LONG_BINPUT"):
            if not 0 <= int(argument) <= count:
                raise Refused(f"it keeps an object in place {argument} of its memory")
            memo[int(argument)] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in _FETCHES:
            stack.append(stack[-1] if name == "DUP" else memo[int(argument)])
            n_fetched += stack[-1].size
            if n_fetched > most_fetched:
                raise Refused("it unfolds to far more than it holds")
        else:
            _step(opcode, name, len(argument) if isinstance(argument, str | bytes | bytearray) else 0, stack)


def _step(opcode: Any, name: str, length: int, stack: list[_Thing]) -> None:
    """What one opcode does to the stack; lists, dictionaries and objects that are filled stay what they are."""
    takes = opcode.stack_before
    taken: list[_Thing] = []
    if pickletools.markobject in takes:
        while (top := stack.pop()).kind != "MARK":
            taken.append(top)
        takes = takes[: takes.index(pickletools.markobject)]
    for _ in takes:
        taken.append(stack.pop())
        if taken[-1].kind == "MARK":
            raise Refused("its stack is broken")
    if name in ("SETITEM", "SETITEMS", "DICT") and any(each.kind not in _KEYS for each in taken[1:None:2]):
        raise Refused("it holds a dictionary whose keys are neither texts nor integers")
    size = length + POINTER + sum(each.size for each in taken)
    if name in _FILLS:
        taken[-1].size = size
        stack.append(taken[-1])
    else:
        stack.extend(_Thing(name, size) for _ in opcode.stack_after)
