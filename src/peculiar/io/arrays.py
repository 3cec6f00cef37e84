"""HDF5, .npy and .npz: many objects in one file, read row by row."""

import contextlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import h5py
import numpy as np

from peculiar.io.bands import select_planes
from peculiar.io.entries import MAX_CHANNELS, READ_ERRORS, ReadOptions, Unfit, check_shape, unreadable
from peculiar.io.ids import exact_ids

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")
SUFFIXES = (*HDF5_SUFFIXES, ".npy", ".npz")
IMAGE_KEYS = ("images", "reals")  # ours; the released layout of Storey-Fisher 2021
FLUX_KEYS = ("flux", "cutouts")
ID_KEYS = ("object_ids", "object_id")
CACHE_BYTES = 2**26  # HDF5's chunk cache: chunks of many images are not unpacked again for each one
ROWS = 65536  # ids read at a time


@dataclass(frozen=True)
class Row:
    """One object of a container; `index` is None if the container is one object itself."""

    index: int | None
    object_id: int | None = None
    ra: float | None = None
    dec: float | None = None


@dataclass(frozen=True)
class _Stack:
    """Open arrays: anything with shape, dtype and indexing by row."""

    pixels: Any
    is_single: bool
    ids: Any = None
    ra: Any = None
    dec: Any = None


def list_rows(path: str, options: ReadOptions) -> Iterator[Row]:
    """Rows of a container with their ids and positions, in order.

    All ids are checked before the first row comes. Raises `Unfit`, or one of `READ_ERRORS`.
    """
    with _open(path, options) as stack:
        if stack.is_single:
            yield Row(None)
            return
        n = stack.pixels.shape[0]
        slices = [slice(start, min(start + ROWS, n)) for start in range(0, n, ROWS)]
        for part in slices:
            _ids(stack, part)
        for part in slices:
            columns = _ids(stack, part), _degrees(stack.ra, part), _degrees(stack.dec, part)
            yield from map(Row, range(part.start, part.stop), *columns)


def read_rows(path: str, indices: Sequence[int | None], options: ReadOptions) -> Iterator[np.ndarray | Unfit]:
    """Pixels of rows, as `peculiar.sky.cutouts.fit` takes them; ascending rows are read fastest.

    uint8 arrays are images; others are flux, cast to float32, its planes chosen by `options.bands`. Where a file holds
    images and flux, flux is read if it is to be kept. The axis of at most 8 is the channels', first or last.
    A compressed .npz can only be read from its beginning: each call unpacks, and drops, what stands before its first
    row. Save with np.savez, or as HDF5, beyond some thousand images.
    """
    with _open(path, options) as stack:
        for index in indices:
            try:
                if index is None and not stack.is_single:
                    raise Unfit("unreadable", path, "held no list of objects when it was listed; ingest it again")
                yield as_pixels(np.asarray(stack.pixels[... if index is None else index]), options)
            except Unfit as unfit:
                yield unfit
            except READ_ERRORS as error:
                yield unreadable(error)


def as_pixels(array: np.ndarray, options: ReadOptions) -> np.ndarray:
    """Turn one object's array to uint8 (height, width, channels) or float32 (bands, height, width)."""
    if array.dtype.kind not in "uif":
        raise Unfit(
            "unreadable", array.dtype, f"holds {array.dtype}, not numbers; save images as uint8 or flux as float32"
        )
    if array.ndim == 2:
        array = array[None]
    is_first = array.shape[0] <= MAX_CHANNELS
    if array.ndim != 3 or not (is_first or array.shape[-1] <= MAX_CHANNELS):
        text = f"has the shape {array.shape}; it must be (height, width, channels) or (bands, height, width)"
        raise Unfit("wrong channels", "x".join(map(str, array.shape)), text)
    planes = array if is_first else np.moveaxis(array, -1, 0)
    check_shape(planes.shape[1], planes.shape[2], options)
    if array.dtype == np.uint8:
        return np.ascontiguousarray(np.moveaxis(planes, 0, -1))
    return select_planes(np.ascontiguousarray(planes, np.float32), options.bands)


@contextlib.contextmanager
def _open(path: str, options: ReadOptions) -> Iterator[_Stack]:
    if path.lower().endswith(".npy"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        # two dimensions, or three of which one is the channels': one object, not a stack of them
        is_single = array.ndim == 2 or (array.ndim == 3 and min(array.shape[0], array.shape[-1]) <= MAX_CHANNELS)
        yield _checked(_Stack(array, is_single), options)
    elif path.lower().endswith(".npz"):
        with zipfile.ZipFile(path) as archive, contextlib.ExitStack() as opened:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}

            def get(key: str) -> Any:
                return _npz_member(path, archive, members[key], opened)

            yield _checked(_choose(list(members), get, options), options)
    else:
        with h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES) as file:
            names = [name for name in file if isinstance(file.get(name), h5py.Dataset)]
            yield _checked(_choose(names, file.__getitem__, options), options)


def _choose(names: Sequence[str], get: Callable[[str], Any], options: ReadOptions) -> _Stack:
    """Find the arrays in a file by their names."""
    keys = (*FLUX_KEYS, *IMAGE_KEYS) if options.keep_flux else (*IMAGE_KEYS, *FLUX_KEYS)
    key = next((key for key in keys if key in names), None)
    if key is None:
        value = ", ".join(names[:20]) or "nothing"
        text = f"holds no array named {', '.join((*IMAGE_KEYS, *FLUX_KEYS))} (it holds: {value}); rename its images"
        raise Unfit("no image", value, text)
    ids = next((get(key) for key in ID_KEYS if key in names), None)
    return _Stack(get(key), False, ids, *(get(name) if name in names else None for name in ("ra", "dec")))


def _checked(stack: _Stack, options: ReadOptions) -> _Stack:
    """Refuse shapes that cannot be a stack of images before any pixel is read."""
    shape = tuple(stack.pixels.shape) if stack.is_single else tuple(stack.pixels.shape[1:])
    if len(shape) not in (2, 3):
        text = f"holds an array of shape {stack.pixels.shape}; it must be (n, height, width, channels)"
        raise Unfit("wrong channels", "x".join(map(str, stack.pixels.shape)), text)
    height, width = sorted(shape)[-2:]  # the channels are the short axis
    if height * width > options.max_pixels:
        check_shape(height, width, options)
    for name in ("ids", "ra", "dec"):
        column = getattr(stack, name)
        if column is not None and column.shape != stack.pixels.shape[:1]:
            text = (
                f"holds {stack.pixels.shape[0]} images and {name} of shape {column.shape}; which are whose is unknown"
            )
            raise Unfit("bad id" if name == "ids" else "no position", f"{column.shape}", text)
    return stack


def _ids(stack: _Stack, part: slice) -> list[int | None]:
    if stack.ids is None:
        return [None] * (part.stop - part.start)
    try:
        ids: list[int | None] = exact_ids(stack.ids[part], "object_ids").to_pylist()
    except ValueError as error:
        raise Unfit("bad id", stack.ids.dtype, str(error)) from error
    return ids


def _degrees(column: Any, part: slice) -> list[float | None]:
    if column is None:
        return [None] * (part.stop - part.start)
    values = np.asarray(column[part], np.float64)
    return [value if np.isfinite(value) else None for value in values.tolist()]


def _npz_member(path: str, archive: zipfile.ZipFile, name: str, opened: contextlib.ExitStack) -> Any:
    """One array of an .npz: mapped from the file if it is stored as it is, else streamed."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        return _Streamed(archive, name, opened)
    with open(path, "rb") as file:
        # a local header of 30 bytes, then a name and an extra field of the lengths at 26 and 28 (APPNOTE.TXT 4.3.7)
        file.seek(info.header_offset + 26)
        lengths = int.from_bytes(file.read(2), "little") + int.from_bytes(file.read(2), "little")
        file.seek(info.header_offset + 30 + lengths)
        shape, is_fortran, dtype = _npy_header(file)
        return np.memmap(path, dtype, "r", file.tell(), shape, "F" if is_fortran else "C")


def _npy_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(file)
    if dtype.hasobject:
        raise Unfit("unreadable", dtype, "holds Python objects, which are pickles and can run code; save plain numbers")
    return shape, is_fortran, dtype


class _Streamed:
    """A compressed member of an .npz, unpacked row after row; going back begins anew."""

    def __init__(self, archive: zipfile.ZipFile, name: str, opened: contextlib.ExitStack) -> None:
        self._archive, self._name, self._opened = archive, name, opened
        self._rewind()

    def _rewind(self) -> None:
        self._file: BinaryIO = self._opened.enter_context(self._archive.open(self._name))  # type: ignore[assignment]
        self.shape, is_fortran, self.dtype = _npy_header(self._file)
        if is_fortran:
            raise Unfit("unreadable", self._name, "is stored column by column and compressed; save it in C order")
        self._row, self._n_bytes = 0, int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize

    def __getitem__(self, rows: int | slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[0]) if isinstance(rows, slice) else (rows, rows + 1, 1)
        if start < self._row:
            self._rewind()
        while self._row < start:
            self._read(1)
        array = np.frombuffer(self._read(stop - start), self.dtype).reshape(-1, *self.shape[1:])
        return array if isinstance(rows, slice) else array[0]

    def _read(self, n_rows: int) -> bytes:
        data = self._file.read(n_rows * self._n_bytes)
        self._row += n_rows
        if len(data) < n_rows * self._n_bytes:
            raise EOFError(f"{self._name} ends before row {self._row}")
        return data
