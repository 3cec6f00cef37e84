"""Bring a released catalog, and its images, into an atlas."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from peculiar.run import Run, begin, finish, home_of
from peculiar.survey import Table

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ImportReleaseConfig:
    """What `import-release` can be told."""

    catalog: Annotated[
        Path, "the released catalog: a pickled pandas table, .npy, HDF5, CSV, FITS, VOTable or Parquet"
    ] = field(default=Path(), compare=False)
    images: Annotated[
        Path, "its images, HDF5 or .npy; they become the survey, matched by object_id, or by idx where that is lost"
    ] = field(default=Path(), compare=False)


def import_release(folder: Path, config: ImportReleaseConfig, *, name: str = "released", replace: bool = False) -> Run:
    """Fill `catalogs/<name>` of the atlas in `folder`.

    `table.lance` and `catalog.parquet` hold the released columns under the house's names: object_id, release_index (the
    original's idx), ra, dec and the scores. Where images are given whose ids are lost, `images.hdf5` holds them with
    the ids that the catalog has for their idx. `Run.outputs["images"]` is the file to ingest, with the catalog.

    Raises
    ------
    FileNotFoundError
        A file is not there.
    ValueError
        The ids are floats, or come twice; a pickle asks for more than a table needs; or it is another catalog than that
        of this name.
    """
    from peculiar.checkpoint import file_digest
    from peculiar.io.exports import write_parquet
    from peculiar.io.imports import has_own_ids, read_released, write_images

    if config.catalog == Path():
        raise FileNotFoundError(f"no catalog for {folder}; say where the released one is with --catalog")
    if config.images != Path() and not config.images.is_file():
        raise FileNotFoundError(f"there is no file {config.images}; say where the images are with --images")
    released = read_released(config.catalog)  # before a folder is made or emptied
    home = home_of(folder, "catalogs", name)
    digest = file_digest(config.catalog)
    _refuse_another(home, digest, replace=replace)
    run = begin(home, "import-release", config, inputs={"catalog": digest}, replace=replace)
    table = Table(home / "table.lance")
    table.overwrite(released.table.combine_chunks().to_batches())
    write_parquet(home / "catalog.parquet", released.table.schema, released.table.combine_chunks().to_batches())
    images = ""
    if config.images != Path():
        images = str(config.images)
        if not has_own_ids(config.images):
            images = str(home / "images.hdf5")
            n_images = write_images(config.images, released.table, Path(images))
            log.info("%d images have the ids that the catalog has for their idx", n_images)
    return finish(home, run, n_objects=len(table), columns=released.table.column_names, images=images)


def _refuse_another(home: Path, digest: str, *, replace: bool) -> None:
    from peculiar.run import read_run, read_started

    before = read_run(home) or read_started(home)
    if before is not None and not replace and before.inputs.get("catalog") != digest:
        raise ValueError(
            f"{home} holds another catalog, or another version of it; give another --name to keep both, or --replace"
        )
