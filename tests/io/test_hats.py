import tracemalloc

import hats
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hats.io.skymap import read_skymap
from hats.io.validation import is_valid_catalog
from hats.pixel_math.spatial_index import compute_spatial_index
from numpy.testing import assert_array_equal

from peculiar.io.hats import healpix_index, write_hats

N = 6_000
OFFSET = 43_158_859_342_174_406


def sky(n, *, seed=0):
    """A crowded field, all of the sky around it, both poles and the meridian; the last two have no position."""
    random = np.random.default_rng(seed)
    ra, dec = random.uniform(0, 360, n), np.degrees(np.arcsin(random.uniform(-1, 1, n)))
    crowd = slice(0, n // 2)
    ra[crowd], dec[crowd] = random.normal(150, 0.1, n // 2), random.normal(2, 0.1, n // 2)
    ra[n // 2 : n // 2 + 5], dec[n // 2 : n // 2 + 5] = [0, 360, -30, 10, 10], [0, 0, 0, 90, -90]
    dec[-2], ra[-1] = np.nan, np.inf
    return ra, dec


@pytest.fixture(scope="module")
def table():
    ra, dec = sky(N)
    object_id = OFFSET + np.random.default_rng(1).permutation(N)
    names = pa.array([None if each % 7 == 0 else f"żółw {each}" for each in range(N)])
    notes = [pa.field("object_id", pa.int64()), pa.field("ra", pa.float64(), metadata={"unit": "deg"})]
    notes += [pa.field("dec", pa.float64()), pa.field("name", pa.string()), pa.field("score", pa.float32())]
    schema = pa.schema(notes, metadata={"reconstruction_weight": "0.3"})
    score = pa.array(np.arange(N, dtype=np.float32), mask=np.arange(N) % 5 == 0)
    return pa.table([object_id, ra, dec, names, score], schema=schema)


@pytest.fixture(scope="module")
def written(tmp_path_factory, table):
    """The table in partitions of at most 200 rows, read in batches of 700. Not to be changed."""
    folder = tmp_path_factory.mktemp("hats") / "sky_hats"
    facts = {"obs_title": "All: the = sky \\ with\nżółw!", "obs_copyright": ""}
    found = write_hats(
        folder, table.schema, lambda: table.to_batches(max_chunksize=700), name="sky", max_rows=200, facts=facts
    )
    return folder, found


def test_hats_finds_the_catalog_valid_and_knows_its_properties(written):
    folder, found = written
    assert is_valid_catalog(folder, strict=True)
    catalog = hats.read_hats(folder)
    assert (found.n_rows, found.n_without_position) == (N - 2, 2)
    assert len(catalog.get_healpix_pixels()) == found.n_partitions > 30
    properties = catalog.catalog_info
    assert (properties.catalog_name, properties.total_rows, properties.hats_max_rows) == ("sky", N - 2, 200)
    extra = properties.extra_dict()
    assert extra["obs_title"] == "All: the = sky \\ with żółw!"
    assert extra["reconstruction_weight"] == "0.3"
    assert "obs_copyright" not in extra
    assert read_skymap(catalog, None).sum() == N - 2
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name]


def test_every_row_is_there_once_to_the_last_digit(written, table):
    folder, _ = written
    rows = pq.read_table(folder / "dataset", partitioning=None)
    is_placed = np.isfinite(table["ra"].to_numpy()) & np.isfinite(table["dec"].to_numpy())
    expected = table.filter(pa.array(is_placed)).sort_by("object_id")
    assert rows.select(table.schema.names).sort_by("object_id").equals(expected)
    assert rows.schema.field("ra").metadata[b"unit"] == b"deg"


def test_rows_are_inside_their_pixel_sorted_and_few(written):
    folder, _ = written
    for pixel in hats.read_hats(folder).get_healpix_pixels():
        path = folder / f"dataset/Norder={pixel.order}/Dir={pixel.dir}/Npix={pixel.pixel}.parquet"
        rows = pq.read_table(path, partitioning=None)
        index = rows["_healpix_29"].to_numpy()
        assert_array_equal(index >> (2 * (29 - pixel.order)), pixel.pixel)
        assert (np.diff(index) >= 0).all()
        assert 0 < len(index) <= 200
        assert_array_equal(index, compute_spatial_index(rows["ra"].to_numpy(), rows["dec"].to_numpy()))


def test_partitions_are_as_large_as_they_can_be(written, table):
    folder, _ = written
    ra, dec = (table[name].to_numpy() for name in ("ra", "dec"))
    index = healpix_index(ra, dec)
    for pixel in hats.read_hats(folder).get_healpix_pixels():
        if pixel.order:
            parent = index[index >= 0] >> (2 * (30 - pixel.order))
            assert (parent == pixel.pixel >> 2).sum() > 200


def test_the_footers_together_give_the_same_rows_as_the_files(written):
    folder, found = written
    footers = pq.read_metadata(folder / "dataset" / "_metadata")
    assert footers.num_rows == found.n_rows
    assert pq.read_schema(folder / "dataset" / "_common_metadata").names[:2] == ["_healpix_29", "object_id"]


def nested(ra, dec, order):
    """HEALPix pixels by the formulae of Gorski et al. 2005, sect. 4 and 5, as they stand there."""
    n_side, z, quarter = 2**order, np.sin(np.radians(dec)), np.mod(ra, 360) / 90
    # The belt: ascending and descending edges.
    up = np.floor(n_side * (0.5 + quarter - 0.75 * z)).astype(np.int64)
    down = np.floor(n_side * (0.5 + quarter + 0.75 * z)).astype(np.int64)
    a, b = up // n_side, down // n_side
    face = np.where(a == b, a % 4 + 4, np.where(a < b, a, b + 8))
    x, y = down % n_side, n_side - up % n_side - 1
    # The caps.
    corner = np.minimum(quarter.astype(np.int64), 3)
    width = n_side * np.sqrt(3 * (1 - np.abs(z)))
    p = np.minimum(((quarter - corner) * width).astype(np.int64), n_side - 1)
    m = np.minimum(((1 - quarter + corner) * width).astype(np.int64), n_side - 1)
    is_cap = np.abs(z) > 2 / 3
    face = np.where(is_cap, np.where(z > 0, corner, corner + 8), face)
    x = np.where(is_cap, np.where(z > 0, n_side - m - 1, p), x)
    y = np.where(is_cap, np.where(z > 0, n_side - p - 1, m), y)
    bits = sum(((x >> k & 1) << 2 * k) + ((y >> k & 1) << 2 * k + 1) for k in range(order))
    return face * n_side**2 + bits


def test_the_index_is_that_of_the_papers_formulae():
    ra, dec = sky(4_000)
    is_edge = np.arange(4_000) // 5 == 400  # on edges of pixels, where rounding decides
    keep = ~is_edge & np.isfinite(ra) & np.isfinite(dec)
    assert_array_equal(healpix_index(ra, dec)[keep] >> 30, nested(ra[keep], dec[keep], 14))
    assert healpix_index(ra, dec)[-2:].tolist() == [-1, -1]


def test_more_at_one_place_than_a_partition_holds_stay_together(tmp_path):
    table = pa.table({"ra": np.zeros(50), "dec": np.zeros(50), "object_id": np.arange(50)})
    found = write_hats(tmp_path / "one", table.schema, table.to_batches, name="one", max_rows=10)
    assert (found.n_rows, found.n_partitions) == (50, 1)
    assert is_valid_catalog(tmp_path / "one", strict=True)
    rows = pq.read_table(next((tmp_path / "one").rglob("Npix=*.parquet")), partitioning=None)
    assert rows["object_id"].to_pylist() == list(range(50))  # equal places keep their order


def test_an_index_that_was_there_is_made_anew(tmp_path):
    table = pa.table({"_healpix_29": [7, 8], "ra": [10.0, 20.0], "dec": [0.0, 1.0]})
    write_hats(tmp_path / "two", table.schema, table.to_batches, name="two")
    rows = pq.read_table(tmp_path / "two" / "dataset", partitioning=None)
    assert sorted(rows["_healpix_29"].to_pylist()) == sorted(healpix_index(np.array([10.0, 20]), np.array([0.0, 1])))


def test_what_cannot_be_parted_is_refused_and_what_stood_there_stays(tmp_path, table):
    small = table.slice(0, 20)
    write_hats(tmp_path / "a", table.schema, small.to_batches, name="a")
    nowhere = pa.table({"ra": pa.nulls(3, pa.float64()), "dec": [1.0, 2.0, 3.0]})
    swapped = pa.table({"ra": [2.0], "dec": [150.0]})
    for bad, said in (
        (table.drop_columns(["dec"]), "needs the column dec"),
        (nowhere, "none of 3 rows has a position"),
        (swapped, "are ra and dec interchanged"),
    ):
        with pytest.raises(ValueError, match=said):
            write_hats(tmp_path / "a", bad.schema, bad.to_batches, name="a")
    with pytest.raises(ValueError, match="max_rows must be at least 1, got 0"):
        write_hats(tmp_path / "a", table.schema, small.to_batches, name="a", max_rows=0)
    assert is_valid_catalog(tmp_path / "a", strict=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_kill_left_is_taken_away(tmp_path, table):
    for left in (".a.partial", ".a.spill"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "0.arrows").write_text("half")
    write_hats(tmp_path / "a", table.schema, table.to_batches, name="a", max_rows=500)
    assert is_valid_catalog(tmp_path / "a", strict=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_memory_does_not_grow_with_the_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("peculiar.io.hats.SPILL_ROWS", 2_000)

    def peaks(n_batches):
        """Of Python's and of Arrow's memory, bytes."""
        held = []

        def batches():
            for seed in range(n_batches):
                ra, dec = sky(2_000, seed=seed)
                columns = {f"c{each}": np.random.default_rng(each).uniform(size=2_000) for each in range(10)}
                yield pa.record_batch({"ra": ra, "dec": dec, **columns})
                held.append(pa.default_memory_pool().bytes_allocated())

        schema = next(batches()).schema
        tracemalloc.start()
        write_hats(tmp_path / f"of-{n_batches}", schema, batches, name="x", max_rows=2_000)
        traced = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return traced, max(held)

    peaks(1)  # what is imported
    few, many = peaks(4), peaks(40)
    rows_bytes = 36 * 2_000 * 12 * 8  # what the further batches hold
    assert many[0] < few[0] + rows_bytes / 4
    assert many[1] < few[1] + rows_bytes / 4
