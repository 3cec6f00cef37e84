"""Read what the originals released: pickled and other catalogs, HDF5 products, arrays of Python objects."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa

from peculiar.catalog.columns import INDEX_COLUMN, RELEASED_NAMES, describe
from peculiar.io.entries import READ_ERRORS
from peculiar.io.inert import MAX_BYTES, plain
from peculiar.io.pickles import unpickle
from peculiar.io.plain import placed
from peculiar.io.released import RELEASED_SCORES
from peculiar.io.released_columns import flat, ids_of, values_of, whole_numbers
from peculiar.io.tables import read_table

PICKLE_SUFFIXES = (".p", ".pkl", ".pickle")
HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")
ID, IMAGES = "object_id", ("images", "reals")
ROWS_AT_ONCE = 256
HOUSE_NAMES = {  # released name, in small letters: ours
    **{theirs.lower(): ours for theirs, ours in RELEASED_NAMES.items()},
    **RELEASED_SCORES,
    **{ID: ID, "object_ids": ID, "idxs": INDEX_COLUMN, INDEX_COLUMN: INDEX_COLUMN},
}
_PIXELS = (*IMAGES, "reconstructed", "residuals")
# An array of results, a row an object: as the original's scripts saved it before HDF5; later ones append the id.
RESULT_COLUMNS = ("reals", "reconstructed", "gen_scores", "disc_scores", "anomaly_scores", "idxs", "object_ids")


@dataclass(frozen=True)
class Released:
    """A released product: its columns under the house's names, and how many images it has."""

    table: pa.Table
    n_images: int = 0


def read_released(path: Path) -> Released:
    """Read the catalog of a released product.

    Parameters
    ----------
    path
        A pickled pandas frame (.p, .pkl, .pickle), .npy, HDF5 in the released layout, or any table that is read as a
        catalog. Pickles are read by `peculiar.io.pickles`, which runs nothing.

    Returns
    -------
    Columns by the house's names: `object_id` (int64, exact) first, `release_index` for idx, the scores; others keep
    theirs. Images, reconstructions and residuals are not read. NaN is null.

    Raises
    ------
    ValueError
        It has no ids, they are floats (which have lost digits) or come twice; its columns differ in length; or it is of
        no kind that is read, or asks to run something.
    """
    columns, n_images = _columns(path)
    table = pa.table(_in_house(columns, path))
    if ID not in table.column_names:
        raise ValueError(f"{path} has no object_id or HSC_object_id; it has: {', '.join(columns)}")
    ids = table[ID].to_numpy()
    if n_again := len(ids) - len(np.unique(ids)):
        raise ValueError(
            f"{path} has {n_again} rows whose object_id stands in an earlier row; one row an object, please"
        )
    first = [ID, *(each for each in (INDEX_COLUMN, "ra", "dec") if each in table.column_names)]
    others = [each for each in table.column_names if each not in first]
    return Released(describe(table.select([*first, *others])), n_images)


def write_images(source: Path, catalog: pa.Table, path: Path) -> int:
    """Write the images of a product whose ids cannot be read by themselves, with those of a catalog; return how many.

    `source` is HDF5 or .npy with images and idxs; each is resolved to the object_id that the catalog has for that
    release_index. Images of no row of the catalog are left out.

    Raises
    ------
    ValueError
        It has no idxs, the catalog no release_index, or pixels are none that a survey takes.
    """
    with _opened_images(source) as (images, index):
        if INDEX_COLUMN not in catalog.column_names:
            raise ValueError(f"{source} names objects by idx, and the catalog has no idx to find their object_id by")
        known = catalog[INDEX_COLUMN].to_numpy()
        order = np.argsort(known, kind="stable")
        if (known[order][1:] == known[order][:-1]).any():
            raise ValueError("the catalog has an idx twice, so that images cannot be told by it")
        place = order[np.minimum(np.searchsorted(known, index, sorter=order), len(known) - 1)]
        rows = np.flatnonzero(known[place] == index)
        if not len(rows):
            raise ValueError(f"no idx of {source} is in the catalog; are they of the same release?")
        ids = catalog[ID].to_numpy()[place[rows]]
        with placed(path) as part, h5py.File(part, "w") as file:
            file["object_ids"] = ids
            scale = 0.0
            for start in range(0, len(rows), ROWS_AT_ONCE):
                stack = _stacked([images[row] for row in rows[start : start + ROWS_AT_ONCE].tolist()], source)
                scale = scale or _scale(stack)  # of the first: all images of a file are from 0 to the same
                some = _pixels(stack, scale, source)
                if not start:
                    shape = (len(rows), *some.shape[1:])
                    file.create_dataset("images", shape, np.uint8, chunks=(1, *some.shape[1:]), compression="gzip")
                file["images"][start : start + len(some)] = some
    return len(rows)


def has_own_ids(path: Path) -> bool:
    """Whether a product's images have an exact id each, so that they can be read as they are."""
    if not path.name.lower().endswith(HDF5_SUFFIXES):
        return False
    with h5py.File(path, "r") as file:
        ids = next((file[each] for each in ("object_ids", ID) if each in file), None)
        images = next((file[each] for each in IMAGES if each in file), None)
        return ids is not None and images is not None and ids.dtype.kind in "iuSO" and len(ids) == len(images)


def _columns(path: Path) -> tuple[dict[str, Any], int]:
    """Columns by the file's names, and the number of images beside them."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; say where the released catalog is with --catalog")
    name = path.name.lower()
    if name.endswith(PICKLE_SUFFIXES):
        return _named(unpickle(_read(path), str(path)), path), 0
    if name.endswith(".npy"):
        found = _named(_read_npy(path), path)
        images = found.get("reals", found.get("images", ()))
        return {each: values for each, values in found.items() if each not in _PIXELS}, len(images)
    if name.endswith(HDF5_SUFFIXES):
        with h5py.File(path, "r") as file:
            columns = {key: file[key][:] for key in file if isinstance(file[key], h5py.Dataset) and file[key].ndim == 1}
            return columns, next((len(file[each]) for each in IMAGES if each in file), 0)
    table = read_table(path)
    return {each: table[each] for each in table.column_names}, 0


def _read(path: Path) -> bytes:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, and pickles of at most {MAX_BYTES} are read")
    return path.read_bytes()


def _read_npy(path: Path) -> np.ndarray:
    """An array; of objects through the unpickler, after a header that NumPy reads without one."""
    with path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
        except READ_ERRORS as error:
            raise ValueError(f"{path} is no .npy file: {error}") from error
        if not dtype.hasobject:
            return np.load(path, allow_pickle=False)
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{path} has {path.stat().st_size} bytes, and pickles of at most {MAX_BYTES} are read")
        array = unpickle(file.read(), str(path))
    if not isinstance(array, np.ndarray) or array.shape != shape:
        raise ValueError(f"{path} says that it holds an array of shape {shape}, and does not")
    return array


def _named(found: Any, path: Path) -> dict[str, Any]:
    """Columns of what was read: a frame's, a dictionary's, an array of results', one of records'."""
    if isinstance(found, np.ndarray) and found.shape == () and found.dtype == object:
        found = found.item()
    if isinstance(found, dict):
        return {str(name): plain(values) for name, values in found.items()}
    if isinstance(found, np.ndarray) and found.dtype.names:
        return {name: found[name] for name in found.dtype.names}
    n = len(RESULT_COLUMNS)
    if isinstance(found, np.ndarray) and found.ndim == 2 and found.shape[1] in (n - 1, n):
        return dict(zip(RESULT_COLUMNS, found.T, strict=False))
    said = f"an array of shape {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
    raise ValueError(
        f"{path} holds {said}; what is read is a table, columns by name, or rows of {', '.join(RESULT_COLUMNS)}"
    )


def _in_house(columns: Mapping[str, Any], path: Path) -> dict[str, pa.Array]:
    """Columns by the house's names, ids exact, all of one length."""
    found: dict[str, pa.Array] = {}
    for name, values in columns.items():
        house = HOUSE_NAMES.get(name.lower(), name.replace(".", "_").replace("`", "_"))
        if house in found:
            raise ValueError(f"{path} has two columns for {house}; leave out one of them")
        column = flat(values, name, path)
        column = whole_numbers(column) if house == INDEX_COLUMN else column
        found[house] = ids_of(column, name, path) if house in (ID, INDEX_COLUMN) else values_of(column, name, path)
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {n}" for name, n in lengths.items())
        raise ValueError(f"{path} has columns of different lengths, so that it is unknown which id is whose: {said}")
    return found


@contextmanager
def _opened_images(path: Path) -> "Iterator[tuple[Any, np.ndarray]]":
    """Images, by row, and the idx of each, of a product."""
    if path.name.lower().endswith(HDF5_SUFFIXES):
        with h5py.File(path, "r") as file:
            key = next((each for each in IMAGES if each in file), None)
            if key is None:
                raise ValueError(f"{path} holds no dataset of images or reals; it holds: {', '.join(file)}")
            yield file[key], _index_of(file.get("idxs"), len(file[key]), path)
    else:
        found = _named(_read_npy(path), path)
        images = found.get("reals", found.get("images"))
        if images is None:
            raise ValueError(f"{path} holds no images or reals; it holds: {', '.join(found)}")
        yield images, _index_of(found.get("idxs"), len(images), path)


def _index_of(values: Any, n_images: int, path: Path) -> np.ndarray:
    if values is None:
        raise ValueError(f"{path} has neither an int64 object_id for each image nor idxs; which are whose is unknown")
    listed = flat(values[:] if isinstance(values, h5py.Dataset) else values, "idxs", path)
    index = ids_of(whole_numbers(listed), "idxs", path).to_numpy()
    if len(index) != n_images:
        raise ValueError(f"{path} has {n_images} images and {len(index)} idxs; which are whose is unknown")
    return index


def _stacked(images: list[Any], path: Path) -> np.ndarray:
    """Images as (n, height, width, channels); flattened ones are square, of three channels or one."""
    if len({(each.shape, each.dtype.hasobject) if isinstance(each, np.ndarray) else () for each in images}) > 1:
        raise ValueError(f"{path} holds images of different shapes; those of a survey have one")
    if not isinstance(images[0], np.ndarray) or images[0].dtype.hasobject:
        raise ValueError(f"{path} holds images that are no arrays of numbers")
    stack = np.stack(images)
    if stack.ndim == 2:
        side = round((stack.shape[1] / 3) ** 0.5)
        is_color = side * side * 3 == stack.shape[1]
        side = side if is_color else round(stack.shape[1] ** 0.5)
        stack = stack.reshape(len(stack), side, side, 3 if is_color else 1)
    return stack[..., None] if stack.ndim == 3 else stack


def _scale(stack: np.ndarray) -> float:
    return 255.0 if stack.dtype.kind == "f" and stack.max() <= 1 else 1.0


def _pixels(stack: np.ndarray, scale: float, path: Path) -> np.ndarray:
    """Images as a survey keeps them, uint8."""
    if stack.dtype == np.uint8:
        return stack
    if stack.dtype.kind not in "iuf" or not (stack.min() >= 0 and stack.max() * scale <= 255):
        raise ValueError(
            f"{path} holds pixels that are neither all 0 to 255 nor all 0 to 1: {stack.min()} to {stack.max()}"
        )
    return np.round(stack * scale).astype(np.uint8)
