"""Read images, and a catalog, into the survey; what is unfit goes to quarantine and the rest goes on."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from datetime import UTC, datetime
from functools import partial
from itertools import compress, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from peculiar.run import Run, Track, at_least, begin, finish, quiet, read_run
from peculiar.survey import ImageForm, Survey, Table, hash_id

if TYPE_CHECKING:
    import pyarrow as pa

    from peculiar.io.catalogs import Catalog, CatalogIndex
    from peculiar.io.entries import Entry, Loaded, ReadOptions, Rejected

log = logging.getLogger(__name__)
CHUNK = 64  # inputs a worker reads at once
N_LOGGED = 20  # refused inputs that are named while reading; a survey can have thousands
COMMIT_BYTES = 2**26  # of images a commit: some 2,400 of the paper's


@dataclass(frozen=True, kw_only=True)
class IngestConfig:
    """What `ingest` can be told."""

    images: Annotated[
        Path, "a folder of JPEG, PNG, TIFF, WebP or FITS, searched to its depths; or one HDF5, npy, npz or Parquet file"
    ] = field(default=Path(), compare=False)
    catalog: Annotated[Path, "CSV, FITS, VOTable, ECSV or Parquet, joined by object_id or by file name"] = field(
        default=Path(), compare=False
    )
    bands: Annotated[tuple[str, ...], "names of the bands in color order, red first: HSC-I,HSC-R,HSC-G"] = ()
    size: Annotated[int, "side of the images, pixels; 0: the most common one found"] = 0
    fit: Annotated[Literal["exact", "crop", "pad", "resample"], "what to do with images of another size"] = "exact"
    stretch: Annotated[Literal["auto", "lupton", "asinh"], "flux to color; auto: lupton for three bands"] = "auto"
    curve: Annotated[tuple[float, ...], "the stretch's minimum, linear range and Q, in survey units"] = (0.0, 0.5, 15.0)
    band_pattern: Annotated[str, "file names where each band has its own file: {name}_{band}.fits"] = ""
    keep_flux: Annotated[bool, "keep the flux beside the image"] = False
    ids: Annotated[Literal["source", "name"], "take object_id from a hash of the path, or the integer in the name"] = (
        "source"
    )
    is_field: Annotated[bool, "the files are large fields, one a band; cut out the catalog's objects"] = False
    id_column: Annotated[str, "the catalog's column of ids; empty: object_id"] = ""
    file_column: Annotated[str, "the catalog's column of file names; empty: file"] = ""
    pixel_scale: Annotated[float, "arcsec a pixel; 0: not known"] = 0.0

    def __post_init__(self) -> None:
        """Check the ranges; names of bands and the like are checked by the readers."""
        if self.size and self.size < 32:
            raise ValueError(f"size must be at least 32 pixels, or 0 for the size found, got {self.size}")
        if len(self.curve) != 3:
            raise ValueError(f"curve must be minimum, linear range and Q, got {self.curve}")
        at_least(self, 0, "pixel_scale")


def ingest(folder: Path, config: IngestConfig, *, replace: bool = False, track: Track = quiet) -> Run:
    """Fill `survey/` of the atlas in `folder`, or append to it what is not there yet.

    `table.lance` holds the objects, `quarantine.lance` what could not be read: source, object_id, rule, value, reason.
    `Run.outputs` counts both.

    Raises
    ------
    FileNotFoundError
        No images given, or nothing there.
    ValueError
        Nothing readable, or an option that does not fit what is found.
    """
    from peculiar.io.catalogs import read_catalog

    if config.images == Path():
        raise FileNotFoundError(f"no images for {folder}; say where they are with --images")
    if not config.images.exists():
        raise FileNotFoundError(f"there is no {config.images}; say where the images are with --images")
    catalog = None
    if config.catalog != Path():
        names = {"id_column": config.id_column or None, "file_column": config.file_column or None}
        catalog = read_catalog(config.catalog, **names)
    home = folder / "survey"
    survey = Survey(home / "table.lance")
    # Before a folder is made, or an old one thrown away: options that fit nothing are refused here.
    options = _read_options(None if replace or not survey.exists() else survey.form, config, catalog)
    run = begin(home, "ingest", config, inputs={}, replace=replace)
    ingestion = _Ingestion(survey, Table(home / "quarantine.lance"), config, options, catalog, run)
    ingestion.read_all(track)
    survey.build_index()
    roots = sorted({*run.outputs.get("roots", []), str(config.images.resolve())})
    return finish(home, run, roots=roots, version=survey.version, **ingestion.counts)


def _read_options(form: ImageForm | None, config: IngestConfig, catalog: "Catalog | None") -> "ReadOptions":
    """Reading options, with the survey's size and channels, or those of the first inputs."""
    from peculiar.io.entries import ReadOptions
    from peculiar.io.readers import list_entries, survey_shape

    minimum, width, q = config.curve
    options = ReadOptions(
        bands=config.bands or None,
        size=config.size or None,
        fit=config.fit,
        stretch=None if config.stretch == "auto" else config.stretch,
        stretch_width=width,
        q=q,
        minimum=minimum,
        band_pattern=config.band_pattern or None,
        keep_flux=config.keep_flux,
        ids=config.ids,
        is_field=config.is_field,
    )
    if form is not None:
        return replaced(options, size=form.size, channels=form.channels)
    entries = list_entries(config.images, options, None if catalog is None else catalog.table)
    size, channels = survey_shape(islice(entries, 1_000), options)
    log.info("images are %d x %d pixels, %d channels; fit: %s", size, size, channels, options.fit)
    return replaced(options, size=size, channels=channels)


def read_like(folder: Path, path: Path, *, fit: str = "") -> "np.ndarray":
    """Images of a file or folder in the form of the atlas's survey, uint8 (n, height, width, channels); none is kept.

    Those of another size are refused, cropped, padded or resampled as the survey's own were, or as `fit` says.

    Raises
    ------
    ValueError
        An image cannot be read, or is none of this survey's kind; the reason of the first is given.
    """
    from peculiar.io.entries import Rejected
    from peculiar.io.readers import list_entries, read_many

    survey, run = Survey(folder / "survey" / "table.lance"), read_run(folder / "survey")
    if run is None:
        raise FileNotFoundError(f'the survey in {folder} is not complete; run "peculiar ingest" first')
    recorded: dict[str, Any] = {
        name: tuple(each) if isinstance(each, list) else each for name, each in run.config.items()
    }
    recorded |= {"images": path, "catalog": Path(), "is_field": False} | ({"fit": fit} if fit else {})
    config = IngestConfig(**recorded)
    options = _read_options(survey.form, config, None)
    images = []
    for entry in list_entries(path, options):
        (result,) = read_many([entry], options)
        if isinstance(result, Rejected):
            raise ValueError(f"{path} is not like the survey's images: {result.reason}")
        images.append(result.image)
    if not images:
        raise ValueError(f"{path} holds no image; give a file of one that is like the survey's")
    return np.stack(images)


class _Ingestion:
    """One pass over the inputs: what is known, what is waiting to be committed, what was refused."""

    def __init__(
        self,
        survey: Survey,
        quarantine: Table,
        config: IngestConfig,
        options: "ReadOptions",
        catalog: "Catalog | None",
        run: Run,
    ) -> None:
        from peculiar.io.catalogs import index_catalog

        self.survey, self.quarantine, self.config, self.options = survey, quarantine, config, options
        self.catalog = catalog
        self.index: CatalogIndex | None = None if catalog is None else index_catalog(catalog.table)
        self.is_known_root = str(config.images.resolve()) in run.outputs.get("roots", []) or not run.outputs
        self.known = np.sort(survey.object_ids())
        self.waiting: dict[int, str] = {}
        self.loaded: list[Loaded] = []
        self.catalog_rows: list[int] = []
        self.rejected: dict[str, Rejected] = {}
        self.counts = {"n_ingested": 0, "n_known": 0, "n_quarantined": 0, "n_without_catalog_row": 0}
        self.schema = self._schema()

    def _schema(self) -> "pa.Schema":
        """The survey's schema; of a new one, the house's columns and the catalog's."""
        import pyarrow as pa

        extra = []
        if self.catalog is not None:
            house = ("object_id", "file", "ra", "dec")
            extra = [each for each in self.catalog.table.schema if each.name not in house]
        if self.survey.exists():
            absent = [each.name for each in extra if each.name not in self.survey.schema.names]
            if absent:
                raise ValueError(
                    f"the survey has no columns {', '.join(absent)}; join them with "
                    f'"peculiar add-columns ATLAS {self.config.catalog}", and append the images after that'
                )
            return self.survey.schema
        size, channels = self.options.size or 0, self.options.channels or 0
        is_flux_kept = self.options.keep_flux
        form = ImageForm(
            size=size,
            channels=channels,
            bands=self.config.bands,
            flux_bands=channels if is_flux_kept else 0,
            pixel_scale=self.config.pixel_scale or None,
            stretch=f"{self.config.stretch} {self.config.curve}",
        )
        fields = [
            pa.field("object_id", pa.int64(), nullable=False),
            pa.field("source", pa.string(), nullable=False),
            pa.field("ra", pa.float64()),
            pa.field("dec", pa.float64()),
            pa.field("image", pa.binary(size * size * channels), nullable=False),
        ]
        if is_flux_kept:
            fields.append(pa.field("flux", pa.binary(4 * size * size * channels)))
        return pa.schema([*fields, *extra], metadata=form.to_metadata())

    def read_all(self, track: Track) -> None:
        """Read every input that is not known, in order, on all cores."""
        from peculiar import engine
        from peculiar.io.readers import list_entries, read_many

        table = None if self.catalog is None else self.catalog.table
        listing = partial(list_entries, self.config.images, self.options, table)
        with track("listing", None) as advance:
            total = 0
            for _ in listing():
                total += 1
                advance(1)
        if self.catalog is not None:
            self._refuse(self.catalog.rejected)
        with track("reading images", total) as advance:
            places: list[list[int]] = []

            def tasks() -> "Iterator[list[Entry]]":
                for entries in _chunks(listing(), CHUNK):
                    unknown, rows = self._unknown(entries)
                    advance(len(entries) - len(unknown))
                    if unknown:
                        places.append(rows)
                        yield unknown

            for results in engine.map_ordered(partial(read_many, options=self.options), tasks()):
                self._take_up(results, places.pop(0))
                advance(len(results))
        if self.index is not None and table is not None:
            from peculiar.io.catalogs import unmatched

            self._refuse(each for each in unmatched(self.index, table) if not self._is_there(each.object_id))
        self._commit()

    def _unknown(self, entries: "list[Entry]") -> "tuple[list[Entry], list[int]]":
        """The entries that must be read, with their catalog rows; those already ingested are counted."""
        rows = [-1] * len(entries)
        if self.index is not None:
            from peculiar.io.catalogs import match

            matches = match(self.index, entries)
            self._refuse(matches.rejected)
            refused = {each.source for each in matches.rejected}
            is_clear = [each.source not in refused for each in matches.entries]
            entries, rows = list(compress(matches.entries, is_clear)), list(compress(matches.rows.tolist(), is_clear))
        if not self.is_known_root or not len(self.known):
            return entries, rows
        ids = [_id_of(each) for each in entries]
        sources = self._sources(ids)
        is_new = [sources.get(each) != entry.source for each, entry in zip(ids, entries, strict=True)]
        self.counts["n_known"] += len(entries) - sum(is_new)
        return list(compress(entries, is_new)), list(compress(rows, is_new))

    def _is_there(self, object_id: int | None) -> bool:
        if object_id is None:
            return False
        place = np.searchsorted(self.known, object_id)
        return object_id in self.waiting or bool(place < len(self.known) and self.known[place] == object_id)

    def _sources(self, object_ids: list[int]) -> dict[int, str]:
        """Sources of those ids that were committed before."""
        ids = np.array(object_ids, np.int64)
        ids = np.unique(ids[np.isin(ids, self.known)])
        if not len(ids):
            return {}
        return dict(zip(ids.tolist(), self.survey.take(ids, ["source"])["source"].to_pylist(), strict=True))

    def _take_up(self, results: "list[Loaded | Rejected]", rows: list[int]) -> None:
        """Sort a worker's results into what is committed and what is refused."""
        from peculiar.io.entries import Loaded

        for result, row in zip(results, rows, strict=True):
            if not isinstance(result, Loaded):
                self._refuse([result])
                continue
            entry = result.entry
            object_id = _id_of(entry)
            if self._is_there(object_id):
                self._refuse_or_know(result, object_id)
                continue
            self.waiting[object_id] = entry.source
            self.loaded.append(result)
            self.catalog_rows.append(row)
            self.counts["n_without_catalog_row"] += self.index is not None and row < 0
        if sum(each.image.nbytes for each in self.loaded) >= COMMIT_BYTES:
            self._commit()

    def _refuse_or_know(self, result: "Loaded", object_id: int) -> None:
        """An id that is there already: the same image again, which is known, or another, which is refused."""
        from peculiar.io.entries import Rejected

        source = result.entry.source
        other = self.waiting.get(object_id) or self._sources([object_id])[object_id]
        if other == source and object_id not in self.waiting:
            if np.array_equal(self.survey.images([object_id])[0], result.image):
                self.counts["n_known"] += 1
                return
            rule, text = "duplicate source", f"{source}: the survey has another image from a source of this name"
            text += "; rename the file, or give the folder above both"
        elif other == source:
            rule, text = "duplicate source", f"{source}: this source is given twice; the first is kept"
        else:
            rule = "duplicate object_id"
            text = f"{source}: object_id {object_id} is that of {other} already, which is kept; give each its own"
        key = source if other != source else f"{source} (again)"
        self._refuse([Rejected(key, object_id, rule, str(object_id), text)])

    def _refuse(self, rejected: "Iterable[Rejected]") -> None:
        for each in rejected:
            self.rejected[each.source] = each
            self.counts["n_quarantined"] += 1
            if self.counts["n_quarantined"] <= N_LOGGED:
                log.warning("quarantined: %s", each.reason)
            elif self.counts["n_quarantined"] == N_LOGGED + 1:
                log.warning("more is quarantined; the table has all of it")

    def _commit(self) -> None:
        """Write what waits: objects, then what was refused; the next run makes good a kill between them."""
        if self.loaded or not self.survey.exists():
            self.survey.append([self._rows()] if self.loaded else [], self.schema)
        self._update_quarantine()
        self.counts["n_ingested"] += len(self.loaded)
        self.known = np.sort(np.concatenate([self.known, np.array(list(self.waiting), np.int64)]))
        self.waiting, self.loaded, self.catalog_rows, self.rejected = {}, [], [], {}

    def _rows(self) -> "pa.RecordBatch":
        import pyarrow as pa

        entries = [each.entry for each in self.loaded]
        columns: dict[str, Any] = {
            "object_id": pa.array(list(self.waiting), pa.int64()),
            "source": [entry.source for entry in entries],
            "ra": pa.array([entry.ra for entry in entries], pa.float64()),
            "dec": pa.array([entry.dec for entry in entries], pa.float64()),
            "image": pa.array([each.image.tobytes() for each in self.loaded], self.schema.field("image").type),
        }
        if "flux" in self.schema.names:
            fluxes = [None if each.flux is None else each.flux.tobytes() for each in self.loaded]
            columns["flux"] = pa.array(fluxes, self.schema.field("flux").type)
        if self.catalog is not None:
            rows = np.array(self.catalog_rows)
            chosen = self.catalog.table.take(pa.array(np.maximum(rows, 0), mask=rows < 0))
            columns = {**{name: chosen[name].combine_chunks() for name in chosen.column_names}, **columns}
        arrays = [
            pa.array(columns[each.name], each.type)
            if isinstance(columns.get(each.name), list)
            else columns[each.name].cast(each.type)
            if each.name in columns
            else pa.nulls(len(entries), each.type)
            for each in self.schema
        ]
        return pa.record_batch(arrays, schema=self.schema)

    def _update_quarantine(self) -> None:
        """One row a source; what was read after all leaves."""
        import pyarrow as pa

        text = ("source", "rule", "value", "reason", "time")
        schema = pa.schema(
            [(text[0], pa.string()), ("object_id", pa.int64()), *((each, pa.string()) for each in text[1:])]
        )
        if not self.quarantine.exists():
            self.quarantine.append([], schema)
        dataset = self.quarantine.open()
        healed = [*self.waiting.values(), *(f"catalog#{each}" for each in self.waiting)]
        if healed and dataset.count_rows():
            quoted = ",".join("'" + each.replace("'", "''") + "'" for each in healed)
            dataset.delete(f"source IN ({quoted})")
        if self.rejected:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            rows = [
                {name: getattr(each, name) for name in schema.names if name != "time"} | {"time": now}
                for each in self.rejected.values()
            ]
            upsert = dataset.merge_insert("source").when_matched_update_all().when_not_matched_insert_all()
            upsert.execute(pa.Table.from_pylist(rows, schema=schema))


def _id_of(entry: "Entry") -> int:
    return hash_id(entry.source) if entry.object_id is None else entry.object_id


def _chunks(entries: "Iterable[Entry]", n: int) -> "Iterator[list[Entry]]":
    iterator = iter(entries)
    while some := list(islice(iterator, n)):
        yield some
