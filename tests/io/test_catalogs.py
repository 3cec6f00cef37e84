from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from astropy.table import Column, MaskedColumn, Table
from hypothesis import given
from hypothesis import strategies as st

from peculiar.io.catalogs import index_catalog, match, read_catalog, unmatched
from peculiar.io.readers import Entry

IDS = [43158859342174407, -43158859342174409, 2**63 - 1, 4]


def catalog() -> Table:
    table = Table()
    table["object_id"] = np.array(IDS, np.int64)
    table["RA"] = Column([10.0, 20.0, np.nan, 40.0], unit="deg", description="right ascension")
    table["Dec"] = Column([-10.0, 0.0, 1 / 3, 90.0], unit="deg")
    table["i_mag"] = Column(np.array([20.1, 20.2, np.nan, 20.4], np.float32), unit="mag", description="CModel")
    table["name"] = ["M 31", "żółw", "c", "d"]
    table["n"] = MaskedColumn([1, 2, 3, 4], mask=[False, True, False, False], dtype=np.int16)
    return table


def write(path: Path, table: Table) -> Path:
    if path.suffix == ".parquet":
        arrow = {name: pa.array(np.asarray(table[name]).tolist()) for name in table.colnames}
        arrow["n"] = pa.array([1, None, 3, 4], pa.int16())
        pq.write_table(pa.table(arrow), path)
    elif path.suffix == ".csv":
        table.write(path, format="ascii.csv")
    elif path.suffix == ".vot":
        table.write(path, format="votable")
    elif path.suffix == ".fits":
        plain = table.copy()
        plain["name"] = ["M 31", "zolw", "c", "d"]
        plain.write(path)
    else:
        table.write(path)
    return path


@pytest.mark.parametrize("suffix", ["csv", "fits", "vot", "ecsv", "parquet"])
def test_every_kind_gives_the_same_table(tmp_path, suffix):
    table = read_catalog(write(tmp_path / f"a.{suffix}", catalog())).table
    assert table.column_names == ["object_id", "ra", "dec", "i_mag", "name", "n"]
    assert table.schema.field("object_id").type == pa.int64()
    assert table["object_id"].to_pylist() == IDS
    assert table["ra"].to_pylist() == [10.0, 20.0, None, 40.0]
    assert table["dec"].to_pylist() == [-10.0, 0.0, 1 / 3, 90.0]
    assert table["i_mag"].null_count == 1
    assert table["n"].to_pylist() == [1, None, 3, 4]
    assert table["name"][0].as_py() == "M 31"
    if suffix in ("fits", "vot", "ecsv"):
        assert table.schema.field("i_mag").metadata[b"unit"] == b"mag"
    if suffix in ("vot", "ecsv"):
        assert table.schema.field("i_mag").metadata[b"description"] == b"CModel"
        assert table["name"][1].as_py() == "żółw"


@pytest.mark.parametrize("suffix", ["csv", "fits", "vot", "ecsv", "parquet"])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_float_ids_are_refused_by_name_and_type(tmp_path, suffix, kind):
    table = catalog()
    table["object_id"] = np.array([1.5e16, 2e16, 3e16, 4e16], kind)
    with pytest.raises(ValueError, match=r"'object_id' holds ids as (float|double), which cannot hold 17 digits"):
        read_catalog(write(tmp_path / f"a.{suffix}", table))


def test_types_of_a_csv_come_from_all_its_rows(tmp_path):
    n = 200_000
    rows = [f"{i},1," for i in range(n)] + [f"{n},1.5,late"]
    (tmp_path / "a.csv").write_text("object_id,mag,note\n" + "\n".join(rows) + "\n")
    table = read_catalog(tmp_path / "a.csv").table
    assert table["mag"][n].as_py() == 1.5
    assert table["note"][n].as_py() == "late"


def test_ids_as_text_are_exact(tmp_path):
    pq.write_table(pa.table({"HSC_object_id": [str(i) for i in IDS]}), tmp_path / "a.parquet")
    assert read_catalog(tmp_path / "a.parquet").table["object_id"].to_pylist() == IDS


def test_repeated_and_missing_ids_are_reported(tmp_path):
    (tmp_path / "a.csv").write_text("object_id,ra\n5,1.0\n6,2.0\n5,3.0\n,4.0\n5,5.0\n")
    catalog = read_catalog(tmp_path / "a.csv")
    assert catalog.table.to_pydict() == {"object_id": [5, 6], "ra": [1.0, 2.0]}
    found = [(r.source, r.object_id, r.rule) for r in catalog.rejected]
    assert found == [
        ("catalog#row2", 5, "duplicate object_id"),
        ("catalog#row3", None, "bad id"),
        ("catalog#row4", 5, "duplicate object_id"),
    ]


def test_the_key_columns_are_chosen_or_asked_for(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("# number, filename ,source\n1,a.png,b\n2,b.png,c\n")
    table = read_catalog(path).table
    assert table.to_pydict() == {"file": ["a.png", "b.png"], "number": [1, 2], "source_catalog": ["b", "c"]}
    table = read_catalog(path, id_column="number", columns=[]).table
    assert table.to_pydict() == {"object_id": [1, 2], "file": ["a.png", "b.png"]}
    assert read_catalog(path, file_column="source").table["file"].to_pylist() == ["b", "c"]
    with pytest.raises(ValueError, match=r"no column 'id'; it has: number, filename, source"):
        read_catalog(path, id_column="id")
    path.write_text("number,mag\n1,2\n")
    with pytest.raises(ValueError, match=r"--id-column or --file-column; it has: number, mag"):
        read_catalog(path)


def test_file_names_of_digits_keep_their_zeros(tmp_path):
    (tmp_path / "a.csv").write_text("Filename,stamp,mag\n0001,007,1\n0002,,2\n")
    assert read_catalog(tmp_path / "a.csv").table["file"].to_pylist() == ["0001", "0002"]
    catalog = read_catalog(tmp_path / "a.csv", file_column="stamp")
    assert catalog.table["file"].to_pylist() == ["007"]
    assert [r.rule for r in catalog.rejected] == ["bad file"]


def test_names_of_the_house_get_a_suffix(tmp_path):
    names = ["object_id", "image", "image_catalog", "flux", "a.b", "_rowid"]
    pq.write_table(pa.table({name: [1] for name in names}), tmp_path / "a.parquet")
    assert read_catalog(tmp_path / "a.parquet").table.column_names == [
        "object_id",
        "image_catalog_catalog",
        "image_catalog",
        "flux_catalog",
        "a_b",
        "_rowid_catalog",
    ]


def test_positions_are_in_degrees(tmp_path):
    table = Table({"object_id": [1], "RAJ2000": Column([np.pi], unit="rad"), "DEJ2000": Column([45.0], unit="deg")})
    table.write(tmp_path / "a.fits")
    read = read_catalog(tmp_path / "a.fits").table
    assert read["ra"].to_pylist() == pytest.approx([180.0])
    assert read.schema.field("ra").metadata[b"unit"] == b"deg"
    Table({"object_id": [1], "ra": ["00:42:44"], "dec": ["+41:16"]}).write(tmp_path / "b.ecsv")
    assert read_catalog(tmp_path / "b.ecsv").table.column_names == ["object_id", "ra_catalog", "dec_catalog"]


def test_columns_of_several_values_are_left_out(tmp_path, caplog):
    Table({"object_id": [1, 2], "aperture": np.ones((2, 3))}).write(tmp_path / "a.fits")
    assert read_catalog(tmp_path / "a.fits").table.column_names == ["object_id"]
    assert "aperture is left out" in caplog.text


def test_what_is_no_catalog_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_catalog(tmp_path / "a.csv")
    for name in ("a.pickle", "a.fits", "a.parquet", "a.vot", "a.ecsv", "a.csv"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(ValueError, match=name):
            read_catalog(tmp_path / name)


def entries(*sources: str, ids: list[int | None] | None = None) -> list[Entry]:
    return [Entry(s, f"/x/{s}", None, i) for s, i in zip(sources, ids or [None] * len(sources), strict=True)]


def table_of(ids: list[int], **columns: list) -> pa.Table:
    return pa.table({"object_id": pa.array(ids, pa.int64()), **columns})


def test_entries_are_matched_by_id_and_take_position(tmp_path):
    table = table_of(IDS, ra=[1.0, 2.0, None, 4.0], dec=[5.0, 6.0, None, 8.0])
    index = index_catalog(table)
    found = match(index, entries("a", "b", "c", ids=[IDS[2], 99, IDS[1]]))
    assert found.rows.tolist() == [2, -1, 1]
    assert [(e.object_id, e.ra, e.dec) for e in found.entries] == [
        (IDS[2], None, None),
        (99, None, None),
        (IDS[1], 2.0, 6.0),
    ]
    missing = list(unmatched(index, table))
    assert [(r.object_id, r.rule) for r in missing] == [(IDS[0], "no image"), (IDS[3], "no image")]
    match(index, entries("x", ids=[IDS[0]]))
    assert [r.object_id for r in unmatched(index, table)] == [IDS[3]]


def test_names_give_the_id_where_there_is_none():
    found = match(index_catalog(table_of(IDS)), entries(f"cut_{IDS[0]}.png", f"a/{IDS[1]}.fits.gz", "5.png", "no.png"))
    assert found.rows.tolist() == [0, 1, -1, -1]
    assert [entry.object_id for entry in found.entries] == [IDS[0], IDS[1], None, None]


def test_files_match_by_path_then_name_then_stem():
    table = table_of([1, 2, 3], file=["a/x.png", "y.png", "z"])
    found = match(index_catalog(table), entries("a/x.png", "b/y.png", "b/c/z.fits.gz", "b/x.png"))
    assert found.rows.tolist() == [0, 1, 2, -1]
    assert [entry.object_id for entry in found.entries] == [1, 2, 3, None]
    assert not found.rejected


def test_an_id_goes_before_a_file():
    table = table_of([1, 2, 3], file=["x.png", "y.png", "z.png"])
    found = match(index_catalog(table), entries("x.png", "y.png", "4.png", "3.png", ids=[2, 9, None, None]))
    assert found.rows.tolist() == [1, -1, -1, 2]
    assert [entry.object_id for entry in found.entries] == [2, 9, None, 3]


def test_a_row_that_fits_two_files_is_ambiguous():
    table = pa.table({"file": ["x.png", "y.png"]})
    index = index_catalog(table)
    found = match(index, entries("a/x.png", "b/x.png"))
    assert found.rows.tolist() == [0, -1]
    assert [(r.source, r.rule, r.value) for r in found.rejected] == [("b/x.png", "ambiguous match", "x.png")]
    assert [r.source for r in match(index, entries("c/x.png")).rejected] == ["c/x.png"]
    assert [(r.source, r.object_id) for r in unmatched(index, table)] == [("catalog#y.png", None)]


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, max_size=30),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=10),
)
def test_matching_by_id_equals_a_dictionary(ids, others):
    wanted = [*ids[::2], *others]
    found = match(index_catalog(table_of(ids)), entries(*map(str, range(len(wanted))), ids=wanted))
    places = {object_id: row for row, object_id in enumerate(ids)}
    assert found.rows.tolist() == [places.get(object_id, -1) for object_id in wanted]
