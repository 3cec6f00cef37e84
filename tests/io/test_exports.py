import gc
import tracemalloc

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from astropy.io import fits
from astropy.io.votable import parse, validate
from astropy.table import Table

from peculiar.catalog.columns import describe
from peculiar.io import exports

IDS = [43158859342174406, 43158859342174407, -5, 2**63 - 1]
SOURCES = ["a.png", "żółw/β.fits", None, "d'quote\",comma"]


def catalog():
    table = pa.table(
        {
            "object_id": pa.array(IDS, pa.int64()),
            "source": SOURCES,
            "ra": pa.array([150.1, None, 0.25, 1 / 3]),
            "n_visits": pa.array([3, None, -32768, 7], pa.int16()),
            "is_masked": [True, False, None, True],
            "flux": pa.array([1.5, 2.5, None, 4.5], pa.float32()),
            "survey": pa.array(["hsc", "sdss", "hsc", None]).dictionary_encode(),
            "count": pa.array([0, 255, 1, None], pa.uint8()),
        }
    )
    own = pa.field(
        "flux", pa.float32(), metadata={b"unit": b"nanomaggies", b"description": "flux in r, naïve".encode()}
    )
    table = table.cast(table.schema.set(5, own))
    return describe(table, reconstruction_weight=0.3, combination_weight=0.5)


def batches_of(table, n=2):
    return table.to_batches(max_chunksize=n) or table.schema.empty_table().to_batches()


def write(writer, path, table):
    return writer(path, table.schema, batches_of(table))


WRITERS = [
    (exports.write_parquet, "t.parquet"),
    (exports.write_csv, "t.csv"),
    (exports.write_fits, "t.fits"),
    (exports.write_votable, "t.vot"),
]


def test_parquet_round_trip_keeps_values_and_metadata(tmp_path):
    table = catalog()
    assert write(exports.write_parquet, tmp_path / "t.parquet", table) == 4
    back = pa.parquet.read_table(tmp_path / "t.parquet")
    assert back.equals(table)
    assert back.schema.field("ra").metadata[b"unit"] == b"deg"
    assert back.schema.metadata[b"combination_weight"] == b"0.5"


def test_csv_round_trip_keeps_ids_nulls_and_text(tmp_path):
    table = catalog()
    assert write(exports.write_csv, tmp_path / "t.csv", table) == 4
    options = pa.csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
    back = pa.csv.read_csv(tmp_path / "t.csv", convert_options=options)
    assert back["object_id"].type == pa.int64()
    for name in ("object_id", "source", "ra", "n_visits", "is_masked", "flux", "survey", "count"):
        assert back[name].to_pylist() == table[name].to_pylist(), name


@pytest.mark.filterwarnings("ignore:Column .is_masked. contains NULL")
def test_fits_round_trip_keeps_ids_nulls_text_units_and_descriptions(tmp_path):
    assert write(exports.write_fits, tmp_path / "t.fits", catalog()) == 4
    with fits.open(tmp_path / "t.fits", checksum=True) as file:
        file.verify("exception")
        header = file[1].header
        assert header["TFORM1"] == "K"
        assert header["TUNIT3"] == "deg"
        assert header["TUCD1"] == "meta.id;meta.main"
        assert "ICRS" in header["TCOMM3"]
        assert header["TUNIT6"] == "nanomaggies"
        assert "na\\xefve" in header["TCOMM6"]
        assert header["TNULL4"] == 32767  # the lower end is taken by a value
        assert "TNULL1" not in header
        assert "combination_weight = 0.5" in list(header["COMMENT"])
        assert any("UTF-8" in line for line in header["COMMENT"])
        assert list(file[1].data.field("is_masked")) == [True, False, False, True]
        ra = file[1].data["ra"]
        assert np.isnan(ra[1])
        assert ra[3] == 1 / 3
    back = Table.read(tmp_path / "t.fits", unit_parse_strict="silent")
    assert list(back["object_id"]) == IDS
    assert list(back["source"].filled("")) == ["a.png", "żółw/β.fits", "", "d'quote\",comma"]
    assert list(back["n_visits"].mask) == [False, True, False, False]
    assert list(back["n_visits"].data.data[[0, 2, 3]]) == [3, -32768, 7]
    assert list(back["survey"].filled("")) == ["hsc", "sdss", "hsc", ""]
    assert list(back["count"].filled(-1)) == [0, 255, 1, -1]


@pytest.mark.filterwarnings("ignore:Column .is_masked. contains NULL")
def test_the_null_byte_of_a_logical_is_written(tmp_path):
    table = pa.table({"is_masked": pa.array([True, None, False])})
    write(exports.write_fits, tmp_path / "t.fits", table)
    with fits.open(tmp_path / "t.fits") as file:
        assert file[1].data.view(np.uint8).tobytes() == b"T\0F"


@pytest.mark.filterwarnings("ignore:.*nanomaggies.*")
def test_votable_round_trip_keeps_ids_nulls_text_units_and_descriptions(tmp_path):
    assert write(exports.write_votable, tmp_path / "t.vot", catalog()) == 4
    document = parse(tmp_path / "t.vot").get_first_table()
    fields = {field.name: field for field in document.fields}
    assert fields["object_id"].datatype == "long"
    assert str(fields["ra"].unit) == "deg"
    assert fields["ra"].ucd == "pos.eq.ra;meta.main"
    assert "ICRS" in fields["ra"].description
    assert str(fields["flux"].unit) == "nanomaggies"
    assert fields["flux"].description == "flux in r, naïve"
    assert {info.name: info.value for info in document.infos}["reconstruction_weight"] == "0.3"
    back = document.to_table()
    assert list(back["object_id"]) == IDS
    assert back["source"][1] == SOURCES[1]
    assert back["source"][3] == SOURCES[3]
    assert list(back["n_visits"].mask) == [False, True, False, False]
    assert back["ra"].mask[1]
    assert back["ra"][3] == 1 / 3
    assert list(back["is_masked"].mask) == [False, False, True, False]


@pytest.mark.filterwarnings("ignore:.*nanomaggies.*")
@pytest.mark.parametrize(("writer", "name"), WRITERS)
@pytest.mark.parametrize("n_batches", [0, 1])
def test_empty_tables_keep_their_columns(tmp_path, writer, name, n_batches):
    schema = catalog().schema
    empty = [pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)] * n_batches
    assert writer(tmp_path / name, schema, empty) == 0
    if name.endswith("csv"):
        back = pa.csv.read_csv(tmp_path / name).column_names
    elif name.endswith("parquet"):
        back = pa.parquet.read_schema(tmp_path / name).names
    elif name.endswith("vot"):
        back = Table.read(tmp_path / name).colnames
    else:
        back = Table.read(tmp_path / name, unit_parse_strict="silent").colnames
    assert back == schema.names


@pytest.mark.parametrize(("writer", "name"), WRITERS)
def test_a_failure_midway_leaves_the_older_file_and_no_other(tmp_path, writer, name):
    (tmp_path / name).write_text("older")

    def failing():
        yield catalog().to_batches()[0]
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        writer(tmp_path / name, catalog().schema, failing())
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "older"


@pytest.mark.parametrize(("writer", "name"), WRITERS)
def test_a_batch_of_another_schema_is_refused(tmp_path, writer, name):
    with pytest.raises(ValueError, match="every batch must have the given schema"):
        writer(tmp_path / name, catalog().schema, pa.table({"object_id": [1]}).to_batches())


@pytest.mark.parametrize(("writer", "name"), WRITERS[1:])
def test_a_list_column_is_refused_by_name(tmp_path, writer, name):
    table = pa.table({"latent": [[1.0, 2.0]]})
    with pytest.raises(ValueError, match="column latent is list"):
        write(writer, tmp_path / name, table)


def test_an_unsigned_value_beyond_int64_is_refused_by_name(tmp_path):
    table = pa.table({"big": pa.array([2**63], pa.uint64())})
    with pytest.raises(ValueError, match="column big does not fit int64"):
        write(exports.write_fits, tmp_path / "t.fits", table)


def test_a_votable_beyond_its_bound_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(exports, "MAX_VOTABLE_ROWS", 3)
    with pytest.raises(ValueError, match="select fewer"):
        write(exports.write_votable, tmp_path / "t.vot", catalog())


def test_a_votable_is_valid_by_its_schema_version(tmp_path):
    write(exports.write_votable, tmp_path / "t.vot", catalog().drop_columns(["flux"]))
    report = tmp_path / "report.txt"
    with report.open("w") as stream:
        assert validate(tmp_path / "t.vot", output=stream), report.read_text()


def test_fits_memory_is_that_of_one_batch(tmp_path):
    def batches(n):
        for k in range(n):
            yield pa.record_batch({"object_id": np.arange(20_000) + k, "score": np.full(20_000, float(k))})

    def peak(n):
        gc.collect()
        tracemalloc.start()
        rows = exports.write_fits(tmp_path / "t.fits", next(batches(1)).schema, batches(n))
        assert rows == n * 20_000
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(1)  # imports
    assert peak(30) < 1.5 * peak(3)
    with fits.open(tmp_path / "t.fits") as file:
        assert len(file[1].data) == 60_000


def images(n, seed):
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), np.uint8)


def release_batch(ids, seed=0):
    n = len(ids)
    scores = {ours: np.arange(n) + k for k, ours in enumerate(exports.RELEASED_SCORES.values())}
    return exports.ReleaseBatch(
        object_ids=np.array(ids, np.int64),
        scores={name: values.astype(float) for name, values in scores.items()},
        reals=images(n, seed),
        reconstructed=images(n, seed + 1),
    )


def write_release(path, batches):
    return exports.write_hdf5(
        path, batches, image_shape=(8, 8, 3), reconstruction_weight=0.3, combination_weight=0.5, attributes={"n": 3}
    )


def test_hdf5_has_the_released_layout(tmp_path):
    first, second = release_batch(IDS[:3]), release_batch(IDS[3:], seed=5)
    assert write_release(tmp_path / "r.h5", [first, second]) == 4
    with h5py.File(tmp_path / "r.h5") as file:
        assert set(file) == {
            *("anomaly_scores", "anomaly_scores_sigma", "disc_scores", "disc_scores_sigma"),
            *("gen_scores", "gen_scores_sigma", "idxs", "object_ids", "reals", "reconstructed", "residuals"),
        }
        assert file["object_ids"].dtype == np.int64
        assert file["object_ids"][:].tolist() == IDS
        assert file["idxs"][:].tolist() == [0, 1, 2, 3]
        reals, reconstructed = file["reals"][:].astype(int), file["reconstructed"][:].astype(int)
        np.testing.assert_array_equal(reals[:3], first.reals)
        np.testing.assert_array_equal(reals[3:], second.reals)
        np.testing.assert_array_equal(file["residuals"][:], np.abs(reals - reconstructed))
        assert file["residuals"].dtype == np.uint8
        np.testing.assert_array_equal(file["disc_scores_sigma"][:3], first.scores["score_disc_sigma"])
        assert file.attrs["reconstruction_weight"] == 0.3
        assert file.attrs["combination_weight"] == 0.5
        assert file.attrs["n"] == 3
        assert "int64" in file.attrs["differences"]
        assert {len(dataset) for dataset in file.values()} == {4}


def test_an_empty_hdf5_keeps_the_layout(tmp_path):
    assert write_release(tmp_path / "r.h5", []) == 0
    with h5py.File(tmp_path / "r.h5") as file:
        assert file["reals"].shape == (0, 8, 8, 3)
        assert len(file) == 11


def test_images_of_another_length_or_size_are_refused_and_nothing_is_left(tmp_path):
    batch = release_batch(IDS)
    wrong = exports.ReleaseBatch(batch.object_ids[:3], batch.scores, batch.reals, batch.reconstructed)
    with pytest.raises(ValueError, match=r"reals must be uint8 \(3, 8, 8, 3\), got uint8 \(4, 8, 8, 3\)"):
        write_release(tmp_path / "r.h5", [wrong])
    assert not list(tmp_path.iterdir())


def test_a_votable_holds_no_character_that_xml_cannot(tmp_path):
    table = pa.table({"source": pa.array(["\x1b[31mred.png", None, "a\x00b\ufffe", "née"])})
    write(exports.write_votable, tmp_path / "t.vot", table)
    back = parse(tmp_path / "t.vot").get_first_table().to_table()
    assert [str(each) for each in back["source"]] == ["?[31mred.png", "", "a?b?", "née"]
