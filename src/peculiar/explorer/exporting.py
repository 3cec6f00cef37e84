"""What is selected, as a file for other tools: tables, regions, images, and the Python that selects the same."""

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from peculiar.explorer.opened import Opened, Order
from peculiar.explorer.sheets import Look, lossless

if TYPE_CHECKING:
    import pyarrow as pa

Form = Literal["csv", "parquet", "vot", "fits", "reg", "zip", "py"]
FORMS: tuple[Form, ...] = get_args(Form)
MEDIA: dict[Form, str] = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "vot": "application/x-votable+xml",
    "fits": "application/fits",
    "reg": "text/plain; charset=utf-8",
    "zip": "application/zip",
    "py": "text/x-python; charset=utf-8",
}
MAX_IMAGES = 5_000  # of one zip
REGION_ARCSEC = 5.0
ROWS_AT_ONCE = 16_384
IMAGES_AT_ONCE = 256


def export(
    opened: Opened, order: Order, form: Form, path: Path, is_told: Callable[[str], bool] = lambda name: True
) -> int:
    """Write the objects of an order to a file, and return how many.

    "csv", "parquet", "vot" and "fits" are the whole catalog row; "reg" a circle of 5 arcsec each, and those without a
    position left out; "zip" the images as PNG, every pixel as it is stored; "py" the Python that selects the same.
    Columns that are not told are left out.

    Raises
    ------
    ValueError
        There are none, or too many for this form.
    """
    object_ids = opened.object_ids[opened.rows(order)]
    if not len(object_ids):
        raise ValueError("nothing is selected; a file would be empty")
    if form == "py":
        path.write_text(_python(opened, order), encoding="utf-8")
    elif form == "reg":
        _write_regions(opened, object_ids, path)
    elif form == "zip":
        _write_images(opened, object_ids, path)
    else:
        _write_table(opened, object_ids, form, path, is_told)
    return len(object_ids)


def _write_table(
    opened: Opened, object_ids: np.ndarray, form: Form, path: Path, is_told: Callable[[str], bool]
) -> None:
    import pyarrow as pa

    from peculiar.catalog.columns import describe_schema
    from peculiar.io.exports import write_csv, write_fits, write_parquet, write_votable

    described = describe_schema(opened.ranking.schema, **opened.ranking.weights)
    schema = pa.schema([each for each in described if is_told(each.name)], metadata=described.metadata)

    def batches() -> "Iterator[pa.RecordBatch]":
        for start in range(0, len(object_ids), ROWS_AT_ONCE):
            rows = opened.ranking.rows(object_ids[start : start + ROWS_AT_ONCE])
            yield from rows.select(schema.names).cast(schema).combine_chunks().to_batches()

    writers = {"csv": write_csv, "parquet": write_parquet, "vot": write_votable, "fits": write_fits}
    writers[form](path, schema, batches())


def _write_regions(opened: Opened, object_ids: np.ndarray, path: Path) -> None:
    place = np.searchsorted(opened.object_ids, object_ids, sorter=(order := np.argsort(opened.object_ids)))
    rows = order[place]
    ra, dec = opened.number("ra")[rows], opened.number("dec")[rows]
    is_placed = np.isfinite(ra) & np.isfinite(dec)
    if not is_placed.any():
        raise ValueError("none of these objects has a position, which regions need")
    lines = ["# Region file format: DS9 version 4.1", "fk5"]
    lines += [
        f'circle({east:.7f},{north:+.7f},{REGION_ARCSEC:g}") # text={{{each}}}'
        for each, east, north in zip(object_ids[is_placed], ra[is_placed], dec[is_placed], strict=True)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_images(opened: Opened, object_ids: np.ndarray, path: Path) -> None:
    if len(object_ids) > MAX_IMAGES:
        raise ValueError(f"a zip may have {MAX_IMAGES} images, got {len(object_ids)}; select fewer")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # a PNG is packed already
        for each in object_ids.tolist():
            archive.writestr(f"{each}.png", lossless(opened.ranking, each, Look()))


def _python(opened: Opened, order: Order) -> str:
    told = {
        "by": order.by or opened.ranking.first_shown,
        **({} if order.descending else {"descending": False}),
        **({} if opened.ranking.home.name == "main" else {"ranking": opened.ranking.home.name}),
    }
    given = "".join(f", {name}={value!r}" for name, value in told.items())
    where = order.where.strip() or "true"
    if order.sample:
        where = f"object_id in ({', '.join(map(str, opened.object_ids[opened.rows(order)].tolist()))})"
    lines = [
        "import peculiar",
        "",
        f"atlas = peculiar.Atlas({opened.folder.resolve().name!r})  # the atlas's folder",
        f"object_ids = atlas.select({where!r}{given})",
        "table = atlas.scores(object_ids)",
        "images = atlas.images(object_ids[:100])",
    ]
    return "\n".join(lines) + "\n"


def cutout(opened: Opened, object_id: int) -> bytes:
    """One object as FITS: its flux in survey units where that is kept, else its image, (bands, height, width).

    The header has OBJECT, RA, DEC (ICRS, degrees), the bands, and the pixel scale where they are known.
    """
    from astropy.io import fits

    survey = opened.ranking.survey
    form = survey.form
    row = survey.take([object_id], ["source", "ra", "dec"]).to_pylist()[0]
    pixels = survey.flux([object_id])[0] if form.flux_bands else np.moveaxis(survey.images([object_id])[0], -1, 0)
    made = fits.PrimaryHDU(np.ascontiguousarray(pixels))
    header = made.header
    header["OBJECT"] = (str(object_id), "object_id")
    header["EXTNAME"] = "FLUX" if form.flux_bands else "IMAGE"
    for name in ("ra", "dec"):
        if row[name] is not None and np.isfinite(row[name]):
            header[name.upper()] = (row[name], "ICRS, degrees")
    for place, band in enumerate(form.bands):
        header[f"BAND{place + 1}"] = band
    if form.pixel_scale is not None:
        header["PIXSCALE"] = (form.pixel_scale, "arcsec a pixel")
    stream = io.BytesIO()
    made.writeto(stream)
    return stream.getvalue()
