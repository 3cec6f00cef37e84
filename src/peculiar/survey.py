"""Images and catalog of one survey, and the Lance tables that everything else is kept in, matched by `object_id`."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import lance
    import pyarrow as pa

TAKE_AT_ONCE = 1_000  # ids a look-up: the filter is parsed, and a longer one parses slowly
MAX_MISSING_SHOWN = 5
# Lance reads ahead, and caches, by default what is gigabytes of images (benchmarks/memory.py).
BUFFER_BYTES = 2**25
CACHE_BYTES = 2**24
SMALLEST = -(2**63)
DELETE_AT_ONCE = 20_000  # ids that a deletion spares
COPIED_AT_ONCE = 2_000  # rows a commit, where files cannot be shared: tens of MB of images
# A file can have no second name: on another disk, as it is somebody else's, has too many, or the disk knows none.
NO_LINK = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)
PERMUTATION_ROUNDS = 6  # four suffice for a pseudo-random permutation (Luby & Rackoff 1988); two more for short ones


class Table:
    """A Lance table with a row an object.

    Rows are appended in commits, so that a reader or a kill sees whole commits only, and looked up by `object_id`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Whether anything was committed."""
        return (self.path / "_versions").is_dir()

    def open(self) -> "lance.LanceDataset":
        """The newest version, for what this class does not do.

        Raises
        ------
        FileNotFoundError
            Nothing was committed yet.
        """
        import lance

        if not self.exists():
            raise FileNotFoundError(f"there is no table {self.path} yet; `peculiar status` says which stage makes it")
        return lance.dataset(str(self.path), metadata_cache_size_bytes=CACHE_BYTES, index_cache_size_bytes=CACHE_BYTES)

    @property
    def version(self) -> int:
        """Lance's number of the newest version; 0 before the first."""
        return int(self.open().version) if self.exists() else 0

    def __len__(self) -> int:
        return int(self.open().count_rows()) if self.exists() else 0

    @property
    def schema(self) -> "pa.Schema":
        """Arrow schema."""
        return self.open().schema

    def append(self, batches: "Iterable[pa.RecordBatch]", schema: "pa.Schema") -> None:
        """Commit rows, all or none."""
        import lance
        import pyarrow as pa

        reader = pa.RecordBatchReader.from_batches(schema, batches)
        lance.write_dataset(reader, str(self.path), mode="append" if self.exists() else "create")

    def overwrite(self, batches: "Iterable[pa.RecordBatch]") -> None:
        """Put other rows in the place of all there are, in one commit: a reader sees the old ones or the new."""
        import lance
        import pyarrow as pa

        rows = iter(batches)
        first = next(rows)
        reader = pa.RecordBatchReader.from_batches(first.schema, chain([first], rows))
        written = lance.write_dataset(reader, str(self.path), mode="overwrite" if self.exists() else "create")
        written.cleanup_old_versions(timedelta(0), delete_unverified=False)
        self.build_index()

    def append_in_commits(self, batches: "Iterable[pa.RecordBatch]", schema: "pa.Schema", *, n_rows: int) -> None:
        """Commit every `n_rows` or so, which is what a kill loses at most, and index what was written."""
        gathered: list[pa.RecordBatch] = []
        for batch in batches:
            gathered.append(batch)
            if sum(each.num_rows for each in gathered) >= n_rows:
                self.append(gathered, schema)
                gathered = []
        if gathered or not self.exists():
            self.append(gathered, schema)
        self.build_index()

    def scan(
        self, columns: Sequence[str] | None = None, *, batch_size: int = 1024, but_not: "Table | None" = None
    ) -> "Iterator[pa.RecordBatch]":
        """All rows in their order, a batch at a time; with `but_not`, of objects that the other table does not have."""
        if not self.exists():
            return
        present = np.sort(but_not.object_ids()) if but_not is not None else np.empty(0, np.int64)
        names = None if columns is None else list(columns)
        for batch in self.open().to_batches(
            columns=names, batch_size=batch_size, batch_readahead=1, fragment_readahead=1, io_buffer_size=BUFFER_BYTES
        ):
            if len(present):
                batch = _without(batch, present)
            if batch.num_rows:
                yield batch

    def column(self, name: str) -> np.ndarray:
        """One numeric column as an array; null is NaN, true and false are 1 and 0. 8 bytes an object."""
        parts = [_numbers(batch.column(0)) for batch in self.scan([name], batch_size=65_536)]
        return np.concatenate(parts) if parts else np.empty(0)

    def object_ids(self) -> np.ndarray:
        """All ids in the table's order, int64."""
        return self.column("object_id").astype(np.int64)

    def sample(self, n_objects: int, *, seed: int) -> np.ndarray:
        """The ids of smallest hash: a random sample that does not depend on the order of rows."""
        object_id = self.object_ids()
        return object_id[np.argsort(hashed(object_id, seed), kind="stable")[:n_objects]]

    def take(
        self, object_ids: Sequence[int] | np.ndarray, columns: Sequence[str] | None = None, *, is_complete: bool = True
    ) -> "pa.Table":
        """The rows of these objects, in the order asked for; without `is_complete`, null where there is none.

        Raises
        ------
        KeyError
            An id is not in the table; the first few are named.
        """
        import pyarrow as pa

        wanted = np.asarray(object_ids, np.int64)
        names = None if columns is None else list(dict.fromkeys(["object_id", *columns]))
        dataset = self.open()
        parts = []
        for first in range(0, len(wanted), TAKE_AT_ONCE):
            part = np.unique(wanted[first : first + TAKE_AT_ONCE]).tolist()
            parts.append(dataset.to_table(columns=names, filter=_one_of(part)))
        found = pa.concat_tables(parts) if parts else dataset.to_table(columns=names, limit=0)
        present = found["object_id"].to_numpy()
        order = np.argsort(present, kind="stable")
        place = np.searchsorted(present, wanted, sorter=order)
        place = order[np.minimum(place, len(order) - 1)] if len(order) else np.zeros(len(wanted), np.int64)
        is_missing = present[place] != wanted if len(order) else np.ones(len(wanted), bool)
        if is_complete and is_missing.any():
            raise missing_objects(wanted[is_missing], self.path)
        rows = found.take(pa.array(place, mask=is_missing))
        return rows if columns is None else rows.select(list(columns))

    def share(self, path: Path, object_ids: np.ndarray) -> bool:
        """Make a table of some of the objects, at least one, at `path`; whether it shares this one's files.

        Lance never writes into a file that it has written. So the files of the newest version are given a second name
        (a hard link), and the rows that are not wanted are marked as deleted: no pixel is copied, and each of the two
        tables can be appended to, made anew, moved or removed without the other. Where files can have no second name,
        on another disk or as they are somebody else's, the rows are copied. Their order stays.

        Raises
        ------
        KeyError
            An id is not in the table; the first few are named.
        """
        import lance

        present = self.object_ids()
        wanted = np.unique(np.asarray(object_ids, np.int64))
        if (is_missing := ~np.isin(wanted, present)).any():
            raise missing_objects(wanted[is_missing], self.path)
        if not self._link(path):
            self._copy(path, present[np.isin(present, wanted)])
            return False
        shared = lance.dataset(str(path))
        for unwanted in _all_but(wanted):
            shared.delete(unwanted)
        shared.cleanup_old_versions(timedelta(0), delete_unverified=False)
        return True

    def _link(self, path: Path) -> bool:
        """Give all files of the newest version a second name, and nothing where one of them can have none."""
        dataset = self.open()
        if dataset.base_paths():  # Lance's own shallow clone: files elsewhere, named by where they were
            return False
        files = dataset.tracked_files(min_version=dataset.version).read_all().to_pylist()
        try:
            for each in files:
                mine, theirs = self.path / each["path"], path / each["path"]
                theirs.parent.mkdir(parents=True, exist_ok=True)
                os.link(mine, theirs)
        except OSError as error:
            if error.errno not in NO_LINK:
                raise
            shutil.rmtree(path, ignore_errors=True)
            return False
        return True

    def _copy(self, path: Path, object_ids: np.ndarray) -> None:
        """Write the rows of these objects to another table."""
        schema = self.schema

        def batches() -> "Iterator[pa.RecordBatch]":
            for first in range(0, len(object_ids), TAKE_AT_ONCE):
                yield from self.take(object_ids[first : first + TAKE_AT_ONCE], schema.names).to_batches()

        Table(path).append_in_commits(batches(), schema, n_rows=COPIED_AT_ONCE)

    def build_index(self) -> None:
        """Make or refresh the scalar index that look-ups by `object_id` use."""
        dataset = self.open()
        mine = [index.name for index in dataset.describe_indices() if index.field_names == ["object_id"]]
        if mine:
            dataset.optimize.optimize_indices(index_names=mine)  # not others: a vector index would merge its partitions
        else:
            dataset.create_scalar_index("object_id", "BTREE")


def _numbers(array: "pa.Array") -> np.ndarray:
    """An Arrow array as numpy; true and false become numbers first, so that a null among them can be NaN."""
    import pyarrow as pa

    whole = array.cast(pa.uint8()) if pa.types.is_boolean(array.type) else array
    return whole.to_numpy(zero_copy_only=False)


def _one_of(object_ids: list[int]) -> str:
    """Lance's filter for ids; the smallest of all is no number to its parser, which reads the sign by itself."""
    listed = ",".join(str(each) for each in object_ids if each != SMALLEST)
    parts = [f"object_id IN ({listed})"] if listed else []
    return " OR ".join([*parts, f"object_id < {SMALLEST + 1}"] if SMALLEST in object_ids else parts)


def _all_but(object_ids: np.ndarray) -> Iterator[str]:
    """Lance's filters that together are all ids but these, which ascend; each is short, as the table keeps its text."""
    kept = object_ids[object_ids != SMALLEST]
    least = SMALLEST + 1 if len(kept) < len(object_ids) else None
    for first in range(0, max(1, len(kept)), DELETE_AT_ONCE):
        part, beyond = kept[first : first + DELETE_AT_ONCE], kept[first + DELETE_AT_ONCE :]
        bounds = [f"object_id >= {part[0] if first else least}"] if first or least is not None else []
        bounds += [f"object_id < {beyond[0]}"] if len(beyond) else []
        listed = [f"object_id NOT IN ({','.join(map(str, part.tolist()))})"] if len(part) else []
        yield " AND ".join([*bounds, *listed])


def located(known: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where ids stand among ascending ones, at least one, and whether they do; a place is of no meaning if not."""
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return place, known[place] == wanted


def placed(known: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `located`, among ids in any order; the first of equal ones."""
    order = np.argsort(known, kind="stable")
    place, is_there = located(known[order], wanted)
    return order[place], is_there


def _without(batch: "pa.RecordBatch", present: np.ndarray) -> "pa.RecordBatch":
    """The rows whose ids are not in `present`, which is sorted."""
    import pyarrow as pa

    _, is_present = located(present, batch["object_id"].to_numpy())
    return batch.filter(pa.array(~is_present))


def first_few(object_ids: np.ndarray) -> str:
    """The first few ids, and how many more there are, for an error's sentence."""
    shown = ", ".join(map(str, object_ids[:MAX_MISSING_SHOWN]))
    more = f" and {len(object_ids) - MAX_MISSING_SHOWN} more" if len(object_ids) > MAX_MISSING_SHOWN else ""
    return shown + more


def missing_objects(missing: np.ndarray, where: Path | str) -> KeyError:
    """The error for ids that are not there, naming the first few."""
    return KeyError(f'no object {first_few(missing)} in {where}; "peculiar status" says which stage is behind')


@dataclass(frozen=True, kw_only=True)
class ImageForm:
    """What all images of a survey have in common; kept in the table's schema metadata."""

    size: int
    channels: int
    bands: tuple[str, ...] = ()
    flux_bands: int = 0
    pixel_scale: float | None = None  # arcsec a pixel
    stretch: str = "none"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a stored image."""
        return self.size, self.size, self.channels

    def to_metadata(self) -> dict[bytes, bytes]:
        """Arrow schema metadata."""
        return {
            b"peculiar.image": json.dumps(asdict(self) | {"image_dtype": "uint8", "flux_dtype": "float32"}).encode()
        }

    @classmethod
    def from_metadata(cls, metadata: dict[bytes, bytes]) -> "ImageForm":
        """Undo `to_metadata`."""
        fields: dict[str, Any] = json.loads(metadata[b"peculiar.image"])
        fields = {name: fields[name] for name in cls.__dataclass_fields__}
        return cls(**{**fields, "bands": tuple(fields["bands"])})


class Survey(Table):
    """The survey's table: `object_id`, `source`, `ra`, `dec`, `image`, perhaps `flux`, and the catalog's columns.

    Images are bytes of fixed length, uint8 (height, width, channels) in C order; flux likewise, float32 (bands, height,
    width). `ImageForm` in the schema metadata says the shapes.
    """

    @cached_property
    def form(self) -> ImageForm:
        """Size, channels, bands and stretch of the images."""
        return ImageForm.from_metadata(self.schema.metadata)

    def images_of(self, batch: "pa.RecordBatch | pa.Table") -> np.ndarray:
        """The images of rows that were read with the column "image", uint8 (n, height, width, channels)."""
        return pixels(batch.column("image"), np.uint8, self.form.shape)

    def flux_of(self, batch: "pa.RecordBatch | pa.Table") -> np.ndarray:
        """The fluxes of rows that were read with the column "flux", float32 (n, bands, height, width)."""
        form = self.form
        return pixels(batch.column("flux"), np.float32, (form.flux_bands, form.size, form.size))

    def images(self, object_ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Images by id, uint8 (n, height, width, channels), in the order asked for."""
        return self.images_of(self.take(object_ids, ["image"]))

    def flux(self, object_ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """Fluxes by id, float32 (n, bands, height, width), in the order asked for."""
        if not self.form.flux_bands:
            raise ValueError(f"{self.path} keeps no flux; ingest with --keep-flux")
        return self.flux_of(self.take(object_ids, ["flux"]))

    def find(self, name: str | int) -> int:
        """The id of an object given by its id or its source.

        Raises
        ------
        KeyError
            Neither an id nor a source of the survey.
        """
        text = str(name)
        if re.fullmatch("-?[0-9]+", text) and -(2**63) <= int(text) < 2**63:
            is_there = self.open().count_rows(filter=_one_of([int(text)]))
            if is_there:
                return int(text)
        quoted = text.replace("'", "''")
        found = self.open().to_table(columns=["object_id"], filter=f"source = '{quoted}'")
        if not found.num_rows:
            raise KeyError(f"no object with id or source {text!r} in {self.path}")
        return int(found["object_id"][0].as_py())


def pixels(column: Any, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    """Rows of fixed-size binary as one array, without a copy where Arrow has them in one piece."""
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        if isinstance(column, pa.ChunkedArray):  # combine_chunks of no rows
            return np.empty((0, *shape), dtype)
    width = column.type.byte_width
    whole = np.frombuffer(column.buffers()[1], np.uint8) if len(column) else np.empty(0, np.uint8)
    rows = whole[column.offset * width : (column.offset + len(column)) * width]
    return rows.view(dtype).reshape(len(column), *shape)


class ShuffledImages:
    """Numbered batches of images: batch k is the same whenever it is asked for, and each epoch shows every image once.

    The order is a keyed permutation, computed and not stored, so that a hundred million rows need no memory and a run
    that goes on at batch k costs nothing to wind forward. With `strata` (a group number a row), every batch draws its
    places from the groups in turn, so that all groups are shown equally often.
    """

    def __init__(self, survey: Survey, batch_size: int, seed: int, strata: np.ndarray | None = None) -> None:
        self.survey, self.batch_size, self.seed = survey, batch_size, seed
        self.dataset = survey.open()
        n_rows = self.dataset.count_rows()
        if strata is None:
            self.groups: list[np.ndarray | None] = [None]
            self.sizes = [n_rows]
        else:
            self.groups = [np.flatnonzero(strata == group) for group in np.unique(strata)]
            self.sizes = [len(group) for group in self.groups if group is not None]
        if not n_rows:
            raise ValueError(f"{survey.path} holds no image; ingest some first")

    def rows(self, number: int) -> np.ndarray:
        """Row numbers of batch `number`, valid for the version that was opened."""
        places = np.arange(number * self.batch_size, (number + 1) * self.batch_size)
        chosen = np.empty(self.batch_size, np.int64)
        for which, (group, size) in enumerate(zip(self.groups, self.sizes, strict=True)):
            mine = places % len(self.groups) == which
            epoch, place = np.divmod(places[mine] // len(self.groups), size)
            shuffled = np.empty(len(place), np.int64)
            for each in np.unique(epoch):
                is_now = epoch == each
                shuffled[is_now] = permuted(place[is_now], size, key=(self.seed, int(each), which))
            chosen[mine] = shuffled if group is None else group[shuffled]
        return chosen

    def batch(self, number: int) -> np.ndarray:
        """Images of batch `number`, uint8 (batch_size, height, width, channels)."""
        # Lance wants ascending rows; the order within a batch carries nothing.
        rows = np.sort(self.rows(number))
        unique, inverse = np.unique(rows, return_inverse=True)
        images = self.survey.images_of(self.dataset.take(unique.tolist(), columns=["image"]))
        return images[inverse]


def permuted(places: np.ndarray, size: int, *, key: tuple[int, ...]) -> np.ndarray:
    """Where a keyed pseudo-random permutation of 0 .. size - 1 sends `places`.

    A Feistel network on the next even power of two, walked until it lands inside (Black & Rogaway 2002).
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = np.uint64(2**half - 1)
    seeds = np.random.SeedSequence([part % 2**64 for part in key]).generate_state(PERMUTATION_ROUNDS, np.uint64)
    moved = _feistel(places.astype(np.uint64), half, mask, seeds)
    while (outside := moved >= size).any():
        moved[outside] = _feistel(moved[outside], half, mask, seeds)
    return moved.astype(np.int64)


def _feistel(values: np.ndarray, half: int, mask: np.uint64, seeds: np.ndarray) -> np.ndarray:
    left, right = values >> np.uint64(half), values & mask
    for seed in seeds:
        left, right = right, left ^ (_scrambled(right ^ seed) & mask)
    return (left << np.uint64(half)) | right


def _scrambled(values: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele et al. 2014): every input bit moves every output bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def hashed(values: np.ndarray, seed: int) -> np.ndarray:
    """A pseudo-random uint64 of every integer: what samples are drawn by, whatever the order of rows."""
    offset = np.random.SeedSequence(seed % 2**64).generate_state(1, np.uint64)[0]
    return _scrambled(np.asarray(values).astype(np.int64).view(np.uint64) ^ offset)


def hash_id(source: str) -> int:
    """The id of an object that has none: the first 63 bits of BLAKE2b of its source."""
    digest = hashlib.blake2b(source.encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
