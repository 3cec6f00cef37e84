"""Describe a folder of products for machines: SHA256SUMS, and Croissant, the JSON-LD of data sets.

Croissant 1.0 (https://docs.mlcommons.org/croissant/docs/croissant-spec.html) is schema.org's Dataset with files,
digests and columns; search engines and machine-learning libraries read it.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from peculiar.io.plain import note, placed

CHECKSUMS = "SHA256SUMS"
ENCODINGS = {  # media types; Parquet's is the one that mlcroissant reads by
    ".parquet": "application/x-parquet",
    ".fits": "application/fits",
    ".vot": "application/x-votable+xml",
    ".csv": "text/csv",
    ".hdf5": "application/x-hdf5",
    ".html": "text/html",
    ".json": "application/json",
    ".png": "image/png",
    ".properties": "text/x-java-properties",
}
_CONTEXT = {  # sect. "Namespaces" of the specification, whole: readers compare it
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{name: f"cr:{name}" for name in ("citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty")},
    **{name: f"cr:{name}" for name in ("fileObject", "fileSet", "format", "includes", "isLiveDataset", "jsonPath")},
    **{name: f"cr:{name}" for name in ("key", "md5", "parentField", "path", "recordSet", "references", "regex")},
    **{name: f"cr:{name}" for name in ("repeated", "replace", "samplingRate", "separator", "source", "subField")},
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "transform": "cr:transform",
}


@dataclass(frozen=True)
class File:
    """A file of a product: its path below the product's folder, with slashes, its size and digest."""

    path: str
    n_bytes: int
    sha256: str

    @property
    def encoding(self) -> str:
        """Its media type."""
        return ENCODINGS.get(Path(self.path).suffix, "application/octet-stream")


@dataclass(frozen=True, kw_only=True)
class Records:
    """A table of a product: what its rows are, its columns, and the file that they can be read from."""

    name: str
    description: str
    schema: pa.Schema
    path: str


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Files that are one table together, by a pattern: HATS."""

    name: str
    description: str
    pattern: str


@dataclass(frozen=True, kw_only=True)
class Credit:
    """What its makers say of a product; what is empty is left out of all that is written."""

    title: str = ""
    creators: tuple[str, ...] = ()
    license: str = ""
    doi: str = ""
    version: str = ""

    @property
    def address(self) -> str:
        """The DOI as an address."""
        return f"https://doi.org/{self.doi}" if self.doi else ""

    @property
    def citation(self) -> str:
        """How to cite it: creators, title, version, DOI; empty where neither creators nor DOI are said."""
        if not (self.creators or self.doi):
            return ""
        parts = ["; ".join(self.creators), self.title, f"version {self.version}" if self.version else "", self.address]
        return ". ".join(part for part in parts if part)


def digest_files(folder: Path, paths: Sequence[Path], advance: Callable[[int], None] = lambda n: None) -> list[File]:
    """Size and SHA-256 of files below a folder, in the order given; `advance` is told of each one that is done."""
    found = []
    for path in paths:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        found.append(File(path.relative_to(folder).as_posix(), path.stat().st_size, digest))
        advance(1)
    return found


def write_checksums(path: Path, files: Sequence[File]) -> None:
    """Write digests as ``sha256sum -c`` reads them, run in the folder of `path`.

    Raises
    ------
    ValueError
        A file's name has a line break or a backslash, which the format has another spelling for.
    """
    for each in files:
        if set(each.path) & set("\n\r\\"):
            raise ValueError(f"a file in {path.name} must have no line break and no backslash, got {each.path!r}")
    with placed(path) as part:
        part.write_text("".join(f"{each.sha256}  {each.path}\n" for each in files), encoding="utf-8")


def write_croissant(
    path: Path,
    files: Sequence[File],
    records: Sequence[Records],
    *,
    name: str,
    description: str,
    credit: Credit,
    made: str,
    parts: Sequence[Parts] = (),
) -> None:
    """Write the Croissant description of the folder that `path` is in.

    Parameters
    ----------
    files
        Described one by one, with size and digest.
    records
        Tables with their columns; each is read from the file of its path, which is among `files`.
    name, description
        Of the data set, where the credit has no title.
    credit
        Title, creators, license, DOI and version.
    made
        When it was made, ISO 8601.
    parts
        Tables that are many files.

    Notes
    -----
    A column's unit is its ``unitText`` (schema.org), and unit and UCD stand in its description too, as readers drop
    what they do not know. Readers that go by pandas (mlcroissant) make floats of integers with gaps.
    """
    known = {each.path for each in files}
    if unknown := [each.path for each in records if each.path not in known]:
        raise ValueError(f"records must be read from a file that is described, got {unknown[0]}")
    content: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": credit.title or name,
        "description": description,
        "license": credit.license,
        "creator": [{"@type": "sc:Person", "name": each} for each in credit.creators],
        "version": credit.version,
        "url": credit.address,
        "citeAs": credit.citation,
        "dateCreated": made,
        "distribution": [*(_file(each) for each in files), *(_file_set(each) for each in parts)],
        "recordSet": [_record_set(each) for each in records],
    }
    with placed(path) as part:
        text = json.dumps({key: value for key, value in content.items() if value}, indent=2, ensure_ascii=False)
        part.write_text(text + "\n", encoding="utf-8")


def _file(file: File) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": quote(file.path),
        "name": file.path,
        "contentUrl": quote(file.path),
        "contentSize": f"{file.n_bytes} B",
        "encodingFormat": file.encoding,
        "sha256": file.sha256,
    }


def _file_set(parts: Parts) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": quote(parts.name),
        "name": parts.name,
        "description": parts.description,
        "encodingFormat": ENCODINGS[".parquet"],
        "includes": parts.pattern,
    }


def _record_set(records: Records) -> dict[str, Any]:
    own = quote(records.name)
    is_keyed = "object_id" in records.schema.names
    return {
        "@type": "cr:RecordSet",
        "@id": own,
        "name": records.name,
        "description": records.description,
        **({"key": {"@id": f"{own}/object_id"}} if is_keyed else {}),
        "field": [_field(own, records.path, each) for each in records.schema],
    }


def _field(own: str, path: str, field: pa.Field) -> dict[str, Any]:
    unit, ucd = note(field, "unit"), note(field, "ucd")
    marks = ", ".join([f"unit {unit}"] * bool(unit) + [f"UCD {ucd}"] * bool(ucd))
    text = " ".join(part for part in (note(field, "description"), f"({marks})" if marks else "") if part)
    return {
        "@type": "cr:Field",
        "@id": f"{own}/{quote(field.name)}",
        "name": field.name,
        **({"description": text} if text else {}),
        **({"unitText": unit} if unit else {}),
        "dataType": _data_type(field.type),
        "source": {"fileObject": {"@id": quote(path)}, "extract": {"column": field.name}},
    }


def _data_type(dtype: pa.DataType) -> str:
    kinds = pa.types
    if kinds.is_dictionary(dtype):
        return _data_type(dtype.value_type)
    if kinds.is_boolean(dtype):
        return "sc:Boolean"
    if kinds.is_integer(dtype):
        return f"cr:{'U' if kinds.is_unsigned_integer(dtype) else ''}Int{dtype.bit_width}"
    if kinds.is_floating(dtype):
        return f"cr:Float{dtype.bit_width}"
    if kinds.is_timestamp(dtype) or kinds.is_date(dtype):
        return "sc:DateTime" if kinds.is_timestamp(dtype) else "sc:Date"
    return "sc:Text"
