"""The data-release page: what each file of a product is, its columns, how to read, check and cite it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa

from peculiar.io.croissant import (
    CHECKSUMS,
    Credit,
    File,
    Parts,
    Records,
    digest_files,
    write_checksums,
    write_croissant,
)
from peculiar.io.pages import Cell, Facts, Section, Table, Text, write_page
from peculiar.io.plain import note
from peculiar.run import FINISHED, LOCK, STARTED, Track, quiet

PAGE, CROISSANT = "index.html", "croissant.json"
DIGITS = 16  # of a digest that the page shows; all 64 stand in SHA256SUMS
METHOD = "Storey-Fisher et al. 2021, MNRAS 508, 2946, https://doi.org/10.1093/mnras/stab2589"
MEANINGS = {
    "parquet": "Parquet, with units and descriptions",
    "fits": "FITS binary table, with units, UCDs and comments",
    "votable": "VOTable, with units, UCDs and descriptions",
    "csv": "CSV, without units and descriptions",
    "hats": "HATS, Parquet parted by place on the sky",
}


@dataclass(frozen=True, kw_only=True)
class Written:
    """A table of a product, as it was written: `files` by format, and why formats were left out."""

    stem: str
    description: str
    schema: pa.Schema
    n_rows: int
    files: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    n_not_in_hats: int = 0  # rows without a position


def describe_product(
    home: Path,
    tables: Sequence[Written],
    *,
    name: str,
    description: str,
    credit: Credit,
    facts: Mapping[str, Cell],
    provenance: Mapping[str, Cell],
    links: Mapping[str, str] | None = None,
    track: Track = quiet,
) -> None:
    """Write `croissant.json`, the data-release page `index.html` and `SHA256SUMS` of all files in `home`.

    Parameters
    ----------
    tables
        That were written to `home`.
    name, description
        Of the product, where the credit has no title.
    facts
        Numbers for the page's head.
    provenance
        For its end.
    links
        Other pages of the product, by what they are called.
    """
    own = (FINISHED, STARTED, LOCK, CHECKSUMS, PAGE, CROISSANT)
    paths = sorted(
        path for path in home.rglob("*") if path.is_file() and not path.is_symlink() and path.name not in own
    )
    paths = [path for path in paths if not any(part.startswith(".") for part in path.relative_to(home).parts)]
    with track("digests", len(paths)) as advance:
        files = digest_files(home, paths, advance)
    parts = [each.files["hats"] for each in tables if "hats" in each.files]
    readable = [(each, each.files.get("parquet") or each.files.get("csv")) for each in tables]
    records = [
        Records(name=each.stem, description=each.description, schema=each.schema, path=path)
        for each, path in readable
        if path is not None
    ]
    write_croissant(
        home / CROISSANT,
        [each for each in files if each.path.partition("/")[0] not in parts],
        records,
        name=name,
        description=description,
        credit=credit,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        parts=[
            Parts(name=each, description=MEANINGS["hats"], pattern=f"{each}/dataset/*/*/*.parquet") for each in parts
        ],
    )
    _write_page(
        home / PAGE,
        tables,
        files,
        name=name,
        description=description,
        credit=credit,
        facts=facts,
        provenance=provenance,
        links=links,
    )
    write_checksums(home / CHECKSUMS, [*files, *digest_files(home, [home / CROISSANT, home / PAGE])])


def _write_page(
    path: Path,
    tables: Sequence[Written],
    files: Sequence[File],
    *,
    name: str,
    description: str,
    credit: Credit,
    facts: Mapping[str, Cell],
    provenance: Mapping[str, Cell],
    links: Mapping[str, str] | None,
) -> None:
    size = sum(each.n_bytes for each in files)
    sections: list[Section] = [
        Facts(items={**facts, "files": len(files), "together": _size(size)}, heading="In short"),
        _files_section(tables, files),
    ]
    if why := [f"{each.stem} as {form}: {text}" for each in tables for form, text in each.left_out.items()]:
        sections.append(Text(body="Not written: " + "; ".join(why) + "."))
    if n_nowhere := max((each.n_not_in_hats for each in tables), default=0):
        sections.append(Text(body=f"HATS leaves out {n_nowhere:,} objects, which have no position."))
    sections += [
        _reading_section(tables),
        *_column_sections(tables),
        Text(heading="How to cite", body=_cited(tables, credit)),
    ]
    write_page(
        path,
        credit.title or name,
        sections,
        subtitle=description,
        provenance=provenance,
        links=links,
        links_label="With it",
    )


def _files_section(tables: Sequence[Written], files: Sequence[File]) -> Section:
    """Single files with their digests, and folders as one row each."""
    meanings = {file: (each, form) for each in tables for form, file in each.files.items()}
    rows: list[list[Cell]] = []
    below: dict[str, list[File]] = {}
    for each in files:
        below.setdefault(each.path.partition("/")[0], []).append(each)
    for top, inside in below.items():
        table, form = meanings.get(top, (None, ""))
        what = f"{table.stem}: {MEANINGS[form]}" if table else _what(top)
        size = _size(sum(each.n_bytes for each in inside))
        is_folder = inside[0].path != top
        digest = f"of {len(inside)} files, in {CHECKSUMS}" if is_folder else f"{inside[0].sha256[:DIGITS]}…"
        rows.append([f"{top}/" if is_folder else top, what, size, digest])
    rows.append([CROISSANT, "what stands here, for machines: Croissant 1.0", "", f"in {CHECKSUMS}"])
    rows.append([CHECKSUMS, f"digests of all files; check them by: sha256sum -c {CHECKSUMS}", "", ""])
    return Table(heading="Files", columns=["file", "what it is", "size", "SHA-256"], rows=rows)


def _what(file: str) -> str:
    if "_released_names" in file:
        return "in the columns of Storey-Fisher et al. 2021"
    suffixes = {".hdf5": "images, reconstructions and residuals", ".html": "the report", "": "figures of the report"}
    return suffixes.get(Path(file).suffix, "")


def _reading_section(tables: Sequence[Written]) -> Section:
    """A line of code for each reader, of the first table that its format was written of."""
    lines = {
        "parquet": [("Python, pandas", 'pandas.read_parquet("{}", dtype_backend="pyarrow")')],
        "fits": [("Python, astropy", 'astropy.table.Table.read("{}")'), ("TOPCAT", "topcat {}")],
        "votable": [("Python, pyvo or astropy", 'astropy.table.Table.read("{}", format="votable")')],
        "csv": [("Python, pandas", 'pandas.read_csv("{}", dtype={{"object_id": "int64"}})')],
        "hats": [("Python, LSDB", 'lsdb.open_catalog("{}").compute()')],
    }
    rows = []
    for form, readers in lines.items():
        file = next((each.files[form] for each in tables if form in each.files), "")
        rows += [[reader, line.format(file)] for reader, line in readers if file]
    if any(form in each.files for each in tables for form in ("parquet", "csv")):
        line = f'mlcroissant.Dataset("{CROISSANT}").records("{tables[0].stem}")'
        rows.append(["Python, mlcroissant", line])
    caption = (
        "Ids are 64-bit integers: what makes floats of them loses their last digits, as pandas and mlcroissant do with "
        'integers that have gaps, such as group_id; pandas does not where told dtype_backend="pyarrow".'
    )
    return Table(heading="How to read them", columns=["with", "code"], rows=rows, caption=caption)


def _column_sections(tables: Sequence[Written]) -> Iterator[Section]:
    """The columns of the first table, and of others where they differ."""
    shown: list[list[str]] = []
    for each in tables:
        if each.schema.names in shown:
            continue
        shown.append(each.schema.names)
        rows = [
            [field.name, str(field.type), *(note(field, key) for key in ("unit", "ucd", "description"))]
            for field in each.schema
        ]
        yield Table(
            heading="Columns" if len(shown) == 1 else f"Columns of {each.stem}",
            columns=["name", "type", "unit", "UCD", "meaning"],
            rows=rows,
        )


def _cited(tables: Sequence[Written], credit: Credit) -> str:
    said = [credit.citation or "Its makers gave no citation."]
    said += [f"License: {credit.license}."] if credit.license else []
    if any(name.startswith("score_") for each in tables for name in each.schema.names):
        said.append(f"The scores are those of {METHOD}.")
    said.append(f"Made with peculiar {version('peculiar')}.")
    return "\n\n".join(said)


def _size(n_bytes: int) -> str:
    """A size to read: 1.2 MB."""
    size = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
