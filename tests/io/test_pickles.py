import contextlib
import io
import os
import pickle
import pickletools
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from peculiar.io import inert
from peculiar.io.pickles import MAX_OPCODES, unpickle

PICKLES = Path(__file__).parent / "pickles"  # made by pickles/make.py
NAMES = ["pandas-0.20-p2.p", "pandas-1.1-mixed.p", "pandas-2.3-p5.p", "pandas-3.1-mixed.p"]
IDS = [43158859342174406, 43158859342174407, -5]
PROTOCOL = b"\x80\x04"


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def text(value):
    return b"\x8c" + bytes([len(value)]) + value.encode()


def named(module, name):
    return text(module) + text(name) + b"\x93"


def called(module, name, *arguments):
    """A call of a name with pickled arguments."""
    return PROTOCOL + named(module, name) + b"(" + b"".join(arguments) + b"tR."


@pytest.mark.parametrize("path", sorted(PICKLES.glob("*.p")), ids=lambda path: path.stem)
def test_frames_of_every_pandas_and_protocol_are_read_exactly(path):
    is_mixed = path.stem.endswith(("mixed", "range"))
    columns = unpickle(path.read_bytes(), path.name)
    assert columns["HSC_object_id"].dtype == np.int64
    assert columns["HSC_object_id"].tolist() == IDS
    assert columns["idx"].tolist() == [51, 245, 285]
    assert columns["ra"].tolist() == [150.1, 150.2, 359.999]
    assert columns["generator_score_normalized"].tolist() == [1, 2, 3]
    assert np.isnan(columns["combined_score_normalized"][2])
    if is_mixed:
        assert columns["name"].tolist() == ["a", "b", "c"]
        assert columns["flag"].tolist() == [True, False, True]
        assert columns["f32"].dtype == np.float32
    assert len(columns) == (10 if is_mixed else 7)


ARRAYS = [
    np.arange(12, dtype=np.int64).reshape(3, 4) + 2**60,
    np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    np.arange(4, dtype=">i8"),
    np.array(["a", "bcd"]),
    np.array([b"a", b"bcd"]),
    np.array([True, False]),
    np.empty((0, 3)),
    np.array([1, "a", None, 2.5], object),
]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype.str}{array.shape}")
def test_arrays_come_back(array, protocol):
    found = unpickle(pickle.dumps(array, protocol), "a.p")
    assert_array_equal(found, array)
    assert found.dtype == array.dtype.newbyteorder("=")


def test_objects_that_are_arrays_and_scalars_come_back():
    array = np.empty((2, 3), object)
    array[0] = [np.arange(3), np.int64(IDS[0]), np.float32(0.5)]
    array[1] = [np.arange(4.0), np.str_("x"), [1, (2, "a")]]
    found = unpickle(pickle.dumps(array, 4), "a.p")
    assert_array_equal(found[0, 0], [0, 1, 2])
    assert found[0, 1:].tolist() == [IDS[0], 0.5]
    assert found[1, 1:].tolist() == ["x", [1, (2, "a")]]
    assert isinstance(found[0, 1], int)


def test_an_array_that_python_2_wrote_is_read():
    def short(value):
        return b"U" + bytes([len(value)]) + value

    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + short(b"b") + b"\x87R"
    kind = b"cnumpy\ndtype\n" + short(b"i8") + b"K\x00K\x01\x87R(K\x03" + short(b"<") + b"NNNJ\xff\xff\xff\xff"
    kind += b"J\xff\xff\xff\xffK\x00tb"
    content = short(np.array(IDS, "<i8").tobytes())
    found = unpickle(b"\x80\x02" + array + b"(K\x01K\x03\x85" + kind + b"\x89" + content + b"tb.", "a.p")
    assert found.tolist() == IDS


def test_the_released_catalog_is_read(shared_data):
    path = shared_data / "catalogue" / "anomaly_catalog_hsc_disc3sigma.p"
    columns = unpickle(path.read_bytes(), path.name)
    assert {len(each) for each in columns.values()} == {13_477}
    assert columns["HSC_object_id"].dtype == columns["idx"].dtype == np.int64
    assert columns["HSC_object_id"].min() > 2**53
    assert len(np.unique(columns["HSC_object_id"])) == 13_477
    assert columns["discriminator_score_normalized"].min() > 3


# --- what a pickle could be made to do

MARK = Path("was-here")
FORBIDDEN = {
    "a shell": pickle.dumps(Calls(os.system, "touch was-here")),
    "a shell, protocol 2": pickle.dumps(Calls(os.system, "touch was-here"), 2),
    "posix by name": called("posix", "system", text("touch was-here")),
    "eval": pickle.dumps(Calls(eval, "open('was-here', 'w')")),
    "exec, as Python 2 names it": called("__builtin__", "exec", text("open('was-here', 'w')")),
    "open": pickle.dumps(Calls(open, "was-here", "w")),
    "getattr": pickle.dumps(Calls(getattr, Calls(__import__, "os"), "system")),
    "a chain of attributes": called("numpy", "ndarray.__class__.__subclasses__"),
    "a chain behind an allowed name": called("builtins", "slice.__init_subclass__"),
    "attributes of a module": called("numpy", "lib.npyio.open", text("was-here"), text("w")),
    "an import": called("importlib", "import_module", text("antigravity")),
    "numpy's own loader": called("numpy", "load", text("was-here")),
    "pandas' own reader": called("pandas", "read_pickle", text("was-here")),
    "pandas' evaluation": called("pandas", "eval", text("1")),
    "an allowed name of another module": called("os", "slice", text("a")),
    "codecs that are not ours": called("_codecs", "decode", text("a"), text("rot13")),
    "a partial": called("functools", "partial", text("a")),
    "a reconstructor": called("copyreg", "_reconstructor", text("a"), text("b"), text("c")),
    "code": called("types", "CodeType", text("a")),
    "the unpickler itself": called("peculiar.io.pickles", "unpickle", text("a"), text("b")),
    "Arrow": called("pyarrow.lib", "_restore_array", text("a")),
    "our stand-ins": called("peculiar.io.inert", "Builder", text("a"), text("b")),
    "ndarray as a function": called("numpy", "ndarray", b"K\x05"),
    "memory of any size": called("builtins", "bytes", b"J\xff\xff\xff\x7f"),
    "bytearray of any size": called("builtins", "bytearray", b"J\xff\xff\xff\x7f"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_name_that_no_table_needs_is_refused_by_name(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^it.p is not read: it (asks for \S+, which no table needs|calls|makes)"):
        unpickle(FORBIDDEN[what], "it.p")
    assert list(tmp_path.iterdir()) == []


DTYPE = named("numpy", "dtype") + text("i8") + b"\x89\x88\x87R"
OBJECTS = named("numpy", "dtype") + text("O8") + b"\x89\x88\x87R"
EMPTY = named("numpy.core.multiarray", "_reconstruct") + named("numpy", "ndarray") + b"K\x00\x85C\x01b\x87R"
HUGE = b"\x8a\x08" + struct.pack("<q", 2**62)


def state(shape, kind, content):
    return EMPTY + b"(K\x01" + shape + kind + b"\x89" + content + b"tb."


HOSTILE = {
    "a shape beyond the bytes": PROTOCOL + state(HUGE + b"\x85", DTYPE, b"C\x08" + b"a" * 8),
    "a shape beyond the list": PROTOCOL + state(HUGE + b"\x85", OBJECTS, b"]"),
    "a negative shape": PROTOCOL + state(b"J\xff\xff\xff\xff\x85", DTYPE, b"C\x08" + b"a" * 8),
    "an empty shape that is huge": PROTOCOL + state(b"K\x00" + HUGE + b"\x86", DTYPE, b"C\x00"),
    "a shape of texts": PROTOCOL + state(text("a") + b"\x85", DTYPE, b"C\x08" + b"a" * 8),
    "a shape of truths": PROTOCOL + state(b"\x88\x85", DTYPE, b"C\x08" + b"a" * 8),
    "bytes as objects": PROTOCOL + state(b"K\x01\x85", OBJECTS, b"C\x08" + b"a" * 8),
    "a state that is none": PROTOCOL + EMPTY + b"K\x01b.",
    "an array without content": PROTOCOL + EMPTY + b".",
    "an array filled twice": PROTOCOL + state(b"K\x01\x85", DTYPE, b"C\x08" + b"a" * 8)[:-1] + b"Nb.",
    "a dtype of records": called("numpy", "dtype", b"]" + text("a") + b"a", b"\x89", b"\x88"),
    "a dtype of dates": called("numpy", "dtype", text("M8[ns]")),
    "a dtype of a gigabyte": called("numpy", "dtype", text("S999999999")),
    "a dtype by a comma": called("numpy", "dtype", text("i8,i8")),
    "a dtype with fields as state": PROTOCOL + DTYPE + b"(K\x03" + text("<") + b"N" + text("a") + b"}J\xff\xff\xff\xff"
    b"J\xff\xff\xff\xffK\x00tb.",
    "a scalar of too many bytes": called("numpy.core.multiarray", "scalar", DTYPE, b"C\x09" + b"a" * 9),
    "a scalar of objects": called("numpy.core.multiarray", "scalar", OBJECTS, b"C\x01a"),
    "a buffer that is none": called("numpy.core.numeric", "_frombuffer", text("a"), DTYPE, b"K\x01\x85", text("C")),
    "a buffer in no order": called("numpy.core.numeric", "_frombuffer", b"C\x00", DTYPE, b"K\x00\x85", text("Z")),
    "another encoding": called("_codecs", "encode", text("a"), text("rot13")),
    "a slice of texts": called("builtins", "slice", text("a"), text("b"), text("c")),
    "a change of a function": PROTOCOL + named("_codecs", "encode") + b"}" + text("__name__") + text("x") + b"sb.",
    "slots of a function": PROTOCOL + named("_codecs", "encode") + b"N}" + text("_build") + text("x") + b"s\x86b.",
    "a change of a class": PROTOCOL + named("pandas", "DataFrame") + b"}" + text("__init__") + text("x") + b"sb.",
    "slots of a named class": PROTOCOL + named("numpy", "ndarray") + b"N}" + text("x") + text("y") + b"s\x86b.",
    "slots of a frame's class": PROTOCOL + named("pandas", "DataFrame") + b"N}" + text("x") + text("y") + b"s\x86b.",
    "state of a named class": PROTOCOL + named("numpy", "ndarray") + b"}" + text("x") + text("y") + b"sb.",
    "an index of pairs": PROTOCOL
    + named("pandas.core.indexes.base", "_new_Index")
    + named("pandas", "Index")
    + b"])"
    + b"\x85" * 300_000
    + b"K\x01\x86a\x86R.",
    "bytes that unfold": PROTOCOL
    + b"]\x94(B"
    + struct.pack("<I", 2**20)
    + b"a" * 2**20
    + b"\x94"
    + b"h\x01" * 2**9
    + b"e.",
    "a list that unfolds": PROTOCOL + b"]" + b"".join(b"\x94](h%ch%ce" % (each, each) for each in range(60)) + b".",
    "a buffer that is lengthened": b"\x80\x05"
    + named("numpy.core.numeric", "_frombuffer")
    + b"(\x96"
    + struct.pack("<Q", 8)
    + b"a" * 8
    + b"\x94"
    + DTYPE
    + b"K\x01\x85"
    + text("C")
    + b"tRh\x00K\x01a.",
    "a frame with no columns": PROTOCOL + named("pandas", "DataFrame") + b")\x81}b.",
    "a frame without state": PROTOCOL + named("pandas", "DataFrame") + b")\x81.",
    "a frame given state twice": PROTOCOL + named("pandas", "DataFrame") + b")\x81}b}b.",
    "a frame that is its own": PROTOCOL + named("pandas", "DataFrame") + b")\x81\x94}" + text("_mgr") + b"h\x00sb.",
    "a key that is a tuple": PROTOCOL + b"}K\x01\x85K\x01s.",
    "a key that was kept": PROTOCOL + b"K\x01\x85\x940}(h\x00K\x01u.",
    "tuples in tuples as a key": PROTOCOL + b"}" + b")" + b"\x85" * 300_000 + b"K\x01s.",
    "laughs in laughs as a key": PROTOCOL + b"})" + b"".join(b"\x94h%c\x86" % each for each in range(60)) + b"K\x01s.",
    "a memo beyond the file": PROTOCOL + b"K\x01r\xff\xff\xff\x7f.",
    "what was never kept": PROTOCOL + b"h\x05.",
    "bytes beyond the file": PROTOCOL + b"\x8e" + struct.pack("<Q", 2**40) + b"a.",
    "a bytearray beyond the file": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"a.",
    "a text beyond the file": PROTOCOL + b"\x8d" + struct.pack("<Q", 2**62) + b"a.",
    "an integer of a million digits": PROTOCOL + b"I" + b"9" * 1_000_000 + b"\n.",
    "an empty stack": PROTOCOL + b"0.",
    "a tuple of nothing": PROTOCOL + b"\x85.",
    "a mark that is missing": PROTOCOL + b"t.",
    "a set": PROTOCOL + b"\x8f.",
    "a frozen set": PROTOCOL + b"(\x91.",
    "an object outside": PROTOCOL + text("a") + b"Q.",
    "an extension": PROTOCOL + b"\x82\x01.",
    "an instance of protocol 0": PROTOCOL + b"(ios\nsystem\n.",
    "a buffer outside": b"\x80\x05\x97.",
    "protocol 0": b"cos\nsystem\n(S'true'\ntR.",
    "protocol 1": pickle.dumps([1, "a"], 1),
    "protocol 6": b"\x80\x06N.",
    "nothing": b"",
    "a text": b"HSC_object_id,ra,dec\n1,2,3\n",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_arguments_of_allowed_names_are_refused(what):
    with pytest.raises(ValueError, match=r"^it.p is (not read: it|no sound pickle of a table)"):
        unpickle(HOSTILE[what], "it.p")


def test_nothing_is_kept_from_one_file_to_the_next():
    before = dict(inert.STAND_INS)
    for each in (*HOSTILE.values(), *FORBIDDEN.values()):
        with contextlib.suppress(ValueError):
            unpickle(each, "it.p")
    assert before == inert.STAND_INS
    classes = [made for _, made in inert.STAND_INS.values() if isinstance(made, type)]
    assert not any(hasattr(each, "x") for each in classes)
    for path in sorted(PICKLES.glob("*.p")):
        assert unpickle(path.read_bytes(), "a")["HSC_object_id"].tolist() == IDS


def test_a_list_within_itself_and_lists_within_lists_do_no_harm():
    within = unpickle(PROTOCOL + b"]\x94h\x00a.", "a.p")
    assert within[0] is within
    deep = unpickle(PROTOCOL + b"]" * 200_000 + b"a" * 199_999 + b".", "a.p")
    assert len(deep) == 1


def test_programs_that_are_too_long_are_refused(monkeypatch):
    monkeypatch.setattr("peculiar.io.pickles.MAX_OPCODES", 1_000)
    with pytest.raises(ValueError, match="more than 1000 opcodes"):
        unpickle(PROTOCOL + b"N0" * 1_000 + b"N.", "a.p")
    assert MAX_OPCODES > 1_000_000
    monkeypatch.setattr("peculiar.io.pickles.MAX_BYTES", 10)
    with pytest.raises(ValueError, match="of 11 bytes, and at most 10"):
        unpickle(b"a" * 11, "a.p")


def refusal_of(program):
    """What is said of a program; of one that is read, what is said of all."""
    try:
        unpickle(program, "it.p")
    except ValueError as error:
        return str(error)
    return "it.p is read"


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_altered_files_are_read_or_refused_and_nothing_else(data):
    whole = (PICKLES / data.draw(st.sampled_from(NAMES))).read_bytes()
    altered = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
    assert refusal_of(bytes(altered)).startswith("it.p is")


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.sampled_from([each.code.encode("latin1") for each in pickletools.opcodes]), max_size=30), st.binary()
)
def test_programs_of_any_opcodes_are_refused_or_plain(opcodes, rest):
    stream = io.BytesIO(PROTOCOL + b"".join(opcodes) + rest + b".")
    assert refusal_of(stream.getvalue()).startswith("it.p is")


def test_an_escape_that_python_does_not_know_is_a_broken_file():
    with pytest.raises(ValueError, match=r"no sound pickle.*invalid escape sequence"):
        unpickle(b"\x80\x02c\\dobuiltins\nlist\n.", "x.p")
