import json
import subprocess

import numpy as np
import pyarrow as pa
import pytest

from peculiar.catalog.columns import describe
from peculiar.io.croissant import (
    Credit,
    Parts,
    Records,
    digest_files,
    write_checksums,
    write_croissant,
)
from peculiar.io.exports import write_csv, write_parquet

# mlcroissant's own: rdflib and pandas deprecate what it calls.
pytestmark = [
    pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index"),
]
IDS = [43158859342174406, 43158859342174407, -5, 2**63 - 1]
CREDIT = Credit(
    title="A sky: żółw",
    creators=("K. First", "Second, A."),
    license="CC-BY-4.0",
    doi="10.5281/zenodo.1234",
    version="1.2.0",
)


@pytest.fixture
def product(tmp_path):
    """A folder with a table as Parquet and as CSV, all its columns but one numbers."""
    table = describe(
        pa.table(
            {
                "object_id": IDS,
                "ra": [1.0, 2.0, 3.0, 4.0],
                "score_gen": pa.array([1, 2, None, 4], pa.float32()),
                "my own é": pa.array([1, 2, 3, 4], pa.int16()),
                "is_masked": [True, False, True, False],
                "source": ["a", "b", "ç", "d"],
            }
        )
    )
    paths = [tmp_path / "catalog.csv", tmp_path / "catalog.parquet"]
    for path, write in zip(paths, (write_csv, write_parquet), strict=True):
        write(path, table.schema, table.to_batches())
    return tmp_path, table, digest_files(tmp_path, paths)


def write(product, file="catalog.parquet", credit=CREDIT, parts=()):
    home, table, files = product
    records = [Records(name="catalog", description="All objects", schema=table.schema, path=file)]
    path = home / "croissant.json"
    options = {"name": "sky", "description": "A test", "made": "2026-01-02T03:04:05+00:00", "parts": parts}
    write_croissant(path, files, records, credit=credit, **options)
    return path


@pytest.mark.parametrize("file", ["catalog.parquet", "catalog.csv"])
def test_mlcroissant_reads_every_record_with_exact_ids(product, file):
    import mlcroissant

    dataset = mlcroissant.Dataset(write(product, file))
    rows = list(dataset.records("catalog"))
    assert [int(each["catalog/object_id"]) for each in rows] == IDS
    assert [each["catalog/ra"] for each in rows] == [1, 2, 3, 4]
    assert [each["catalog/source"].decode() for each in rows] == ["a", "b", "ç", "d"]
    assert [bool(each["catalog/is_masked"]) for each in rows] == [True, False, True, False]
    assert rows[2]["catalog/score_gen"] is None
    assert isinstance(rows[0]["catalog/my%20own%20%C3%A9"], np.int16)


def test_mlcroissant_finds_no_error_and_knows_what_was_said(product):
    import mlcroissant

    metadata = mlcroissant.Dataset(write(product, parts=[HATS])).metadata
    assert not metadata.ctx.issues.errors
    assert (metadata.name, metadata.version, metadata.license) == ("A sky: żółw", "1.2.0", ["CC-BY-4.0"])
    assert [each.name for each in metadata.creators] == ["K. First", "Second, A."]
    expected = "K. First; Second, A.. A sky: żółw. version 1.2.0. https://doi.org/10.5281/zenodo.1234"
    assert metadata.cite_as == expected
    fields = {each.name: each for each in metadata.record_sets[0].fields}
    assert "Right ascension, ICRS (unit deg, UCD pos.eq.ra;meta.main)" in str(fields["ra"].description)
    assert [each.name for each in metadata.file_sets] == ["catalog_hats"]


HATS = Parts(name="catalog_hats", description="HATS", pattern="catalog_hats/dataset/*/*/*.parquet")


def test_what_nobody_said_is_left_out(product):
    content = json.loads(write(product, credit=Credit()).read_text())
    assert content["name"] == "sky"
    assert not {"license", "creator", "version", "url", "citeAs", "datePublished"} & set(content)
    assert content["dateCreated"] == "2026-01-02T03:04:05+00:00"


def test_units_stand_by_their_fields(product):
    content = json.loads(write(product).read_text())
    fields = {each["name"]: each for each in content["recordSet"][0]["field"]}
    assert fields["ra"]["unitText"] == "deg"
    assert "unitText" not in fields["source"]
    assert fields["object_id"]["dataType"] == "cr:Int64"
    assert fields["score_gen"]["dataType"] == "cr:Float32"


def test_sha256sum_accepts_the_digests_and_tells_a_changed_file(product):
    home, _, files = product
    write_checksums(home / "SHA256SUMS", files)
    check = ["sha256sum", "--strict", "--check", "SHA256SUMS"]
    said = subprocess.run(check, cwd=home, capture_output=True, text=True)
    assert (said.returncode, said.stdout.count(": OK")) == (0, 2)
    with (home / "catalog.csv").open("a") as file:
        file.write("one more\n")
    assert subprocess.run(check, cwd=home, capture_output=True).returncode == 1


def test_sizes_and_digests_are_those_of_the_files(product):
    home, _, files = product
    content = json.loads(write(product).read_text())
    said = {each["contentUrl"]: (each["sha256"], each["contentSize"]) for each in content["distribution"]}
    for each in files:
        out = subprocess.run(["sha256sum", home / each.path], capture_output=True, text=True, check=True).stdout
        assert said[each.path] == (out.split()[0], f"{(home / each.path).stat().st_size} B")


def test_a_table_must_be_read_from_a_file_that_is_described(product):
    with pytest.raises(ValueError, match=r"records must be read from a file that is described, got other\.csv"):
        write(product, "other.csv")


def test_a_name_that_the_digests_cannot_spell_is_refused(tmp_path):
    path = tmp_path / "two\nlines"
    path.write_text("x")
    with pytest.raises(ValueError, match="no line break"):
        write_checksums(tmp_path / "SHA256SUMS", digest_files(tmp_path, [path]))
