import logging
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table as AstropyTable
from numpy.testing import assert_allclose, assert_array_equal

from peculiar import Atlas
from peculiar.io.services import NED_URL, XMATCH_URL
from peculiar.joined import Joined
from peculiar.run import read_run
from peculiar.stages.crossmatch import ANSWERS, CrossmatchConfig, crossmatch, folder_name
from peculiar.survey import Table

local = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "services.py")))
QUICK = {"n_tries": 2, "pause_seconds": 0.0, "timeout_seconds": 5.0}
NOWHERE = 4  # the object of the made catalog without a position


@pytest.fixture
def folder(copy, ingested):
    """An atlas whose objects stand in a line on the sky, one of them nowhere."""
    return copy(ingested)


@pytest.fixture
def others(tmp_path):
    """Rows 0.5 arcsec south of every other object, one beside the second, some far off, and one without a position."""
    place = np.arange(0, 64, 2)
    ra, dec = 150 + place / 100, 2 - place / 100 - 0.5 / 3600
    table = pa.table(
        {
            "RAJ2000": pa.array([*ra, ra[1] + 1.0 / 3600, *(10.0,) * 5, None]),
            "DEJ2000": pa.array([*dec, dec[1], *np.arange(5.0), 2.0]),
            "name": pa.array([f"N{each}" for each in range(len(place) + 7)]),
            "big": pa.array(np.arange(len(place) + 7) + 2**53 + 1),
            "mag.r": pa.array([np.nan, *np.linspace(20, 25, len(place) + 6)]),
        }
    )
    return table


def written(table, path):
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        columns = {
            name: np.ma.masked_invalid(table[name].to_numpy())
            if table[name].null_count or name == "mag.r"
            else table[name].to_numpy()
            for name in table.column_names
        }
        columns["name"] = table["name"].to_pylist()
        kind = {"fits": "fits", "csv": "ascii.csv", "ecsv": "ascii.ecsv", "vot": "votable"}[path.suffix[1:]]
        AstropyTable(columns).write(path, format=kind)
    return path


def run_of(folder, table=Path(), name="", replace=False, **options):
    return crossmatch(folder, CrossmatchConfig(table=table, **options), name=name, replace=replace)


@pytest.mark.parametrize("suffix", ["parquet", "fits", "csv", "ecsv", "vot"])
def test_counterparts_of_a_table_are_columns_of_the_survey(folder, others, inputs, tmp_path, suffix):
    path = written(others, tmp_path / f"deep field.{suffix}")
    run = run_of(folder, path, columns=("name", "big", "mag.r"))
    assert (folder / "crossmatches" / "deep_field" / "separations.png").stat().st_size > 5_000
    assert run.outputs["n_objects"] == 64
    assert run.outputs["n_asked"] == 63
    assert (run.outputs["n_matched"], run.outputs["n_with_several"], run.outputs["n_mutual"]) == (31, 1, 31)
    assert (run.outputs["n_rows"], run.outputs["n_rows_without_position"]) == (39, 1)
    assert (run.outputs["chance_fraction"], run.outputs["n_false"]) == (0, 0)
    rows = Joined(folder).rows(inputs.object_id)
    assert rows["deep_field_n_within"].to_pylist() == [
        None if place == NOWHERE else 2 if place == 2 else 1 - place % 2 for place in range(64)
    ]
    matched = [place for place in range(0, 64, 2) if place != NOWHERE]
    separation = np.array(rows["deep_field_separation_arcsec"].to_pylist(), float)
    assert_allclose(separation[matched], 0.5, atol=1e-6)
    assert np.isnan(np.delete(separation, matched)).all()
    expected = [f"N{place // 2}" if place in matched else None for place in range(64)]
    assert rows["deep_field_name"].to_pylist() == expected
    # The third of the table is the counterpart of the object that is nowhere.
    big = [place // 2 + 2**53 + 1 if place in matched else None for place in range(64)]
    assert rows["deep_field_big"].to_pylist() == big
    assert rows["deep_field_mag_r"][0].as_py() is None
    assert rows["deep_field_mag_r"][2].as_py() == 20
    assert rows["deep_field_is_mutual"].to_pylist() == [True if place in matched else None for place in range(64)]
    field = rows.schema.field("deep_field_separation_arcsec")
    assert field.metadata[b"unit"] == b"arcsec"
    assert field.metadata[b"description"].decode().startswith(f"Counterpart in deep field.{suffix} within 2 arcsec")
    assert Joined(folder).select("deep_field_n_within > 1").sum() == 1


def test_a_header_in_a_comment_and_whole_degrees_are_read(folder, tmp_path):
    (tmp_path / "hsc.csv").write_text("# ra,dec,when\n150,2,2019-01-02\n150.01,1.99,\n,,2019-01-03\n")
    run = run_of(folder, tmp_path / "hsc.csv", columns=("when",))
    assert (run.outputs["n_matched"], run.outputs["n_rows_without_position"]) == (2, 1)
    assert set(Joined(folder).texts("hsc_when").to_pylist()) == {"2019-01-02", None}


def test_what_is_no_table_is_refused(folder, tmp_path):
    for name, content in (("a.fits", b"SIMPLE  = nonsense"), ("a.parquet", b"PAR1"), ("a.csv", b""), ("a.txt", b"x")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name} (cannot be read as a table|is of no kind)"):
            run_of(folder, tmp_path / name)
    assert not (folder / "crossmatches").exists()


def test_integers_that_stand_for_none_are_null(folder, inputs, tmp_path):
    hdu = fits.BinTableHDU.from_columns(
        [
            fits.Column("ra", "D", array=[150.0, 150.01]),
            fits.Column("dec", "D", array=[2.0, 1.99]),
            fits.Column("runs", "J", null=-99, array=[-99, 7]),
            fits.Column("name", "4A", array=["", "ab"]),
            fits.Column("fluxes", "2E", array=np.ones((2, 2))),
        ]
    )
    hdu.writeto(tmp_path / "t.fits")
    run_of(folder, tmp_path / "t.fits", columns=("runs", "name"))
    rows = Joined(folder).rows(inputs.object_id[:2])
    assert (rows["t_runs"].to_pylist(), rows["t_name"].to_pylist()) == ([None, 7], [None, "ab"])
    with pytest.raises(ValueError, match="column 'fluxes' holds"):
        run_of(folder, tmp_path / "t.fits", columns=("fluxes",), name="other")


def test_units_of_what_is_brought_in_are_kept(folder, tmp_path):
    table = AstropyTable({"ra": [150.0], "dec": [2.0], "flux": [1.0]}, units={"ra": "deg", "dec": "deg", "flux": "mJy"})
    table.write(tmp_path / "a.fits")
    run_of(folder, tmp_path / "a.fits", columns=("flux",))
    assert Joined(folder).schema.field("a_flux").metadata[b"unit"] == b"mJy"


def test_another_atlas_is_a_table_too(folder, ingested, inputs):
    run = run_of(folder, ingested, columns=("magnitude",), name="self")
    assert (run.outputs["n_matched"], run.outputs["median_separation_arcsec"]) == (63, 0)
    rows = Joined(folder).rows(inputs.object_id)
    assert_array_equal(rows["self_magnitude"], rows["magnitude"])
    with pytest.raises(FileNotFoundError, match="is no atlas with a finished survey"):
        run_of(folder, folder / "labels", name="x") if (folder / "labels").is_dir() else run_of(
            folder, folder.parent, name="x"
        )
    with pytest.raises(ValueError, match="holds fixed_size_binary"):
        run_of(folder, ingested, columns=("image",), name="x")


def test_the_same_again_is_the_same_and_others_need_a_word(folder, others, tmp_path):
    path = written(others, tmp_path / "deep.parquet")
    first = run_of(folder, path)
    table = Table(folder / "crossmatches" / "deep" / "table.lance")
    rows = table.open().to_table().to_pylist()
    assert run_of(folder, path).identity == first.identity
    assert table.open().to_table().to_pylist() == rows
    with pytest.raises(ValueError, match=r"radius_arcsec was 2.0, now 1.0"):
        run_of(folder, path, radius_arcsec=1.0)
    written(others.slice(3), path)
    with pytest.raises(ValueError, match="is of another table, or another version of it"):
        run_of(folder, path)
    assert run_of(folder, path, replace=True).outputs["n_matched"] == 30  # the second has another
    standing = next(each for each in Atlas(folder).status() if each.folder == "crossmatches/deep")
    assert (standing.stage, standing.state) == ("crossmatch", "complete")


def test_objects_that_came_since_are_to_come(folder, others, made, tmp_path):
    path = written(others, tmp_path / "deep.parquet")
    run_of(folder, path)
    made.write(tmp_path / "more", made.images(2, seed=9), ["new1.png", "new2.png"])
    Atlas(folder).ingest(tmp_path / "more")
    standing = next(each for each in Atlas(folder).status() if each.folder == "crossmatches/deep")
    assert (standing.state, standing.detail) == ("behind", "2 of 66 objects to come")
    assert run_of(folder, path).outputs["n_objects"] == 66


def test_names_that_are_taken_are_refused(folder, others, tmp_path):
    path = written(others, tmp_path / "deep.parquet")
    run_of(folder, path, name="a-b")
    with pytest.raises(ValueError, match="there is a column a_b_n_within"):
        run_of(folder, path, name="a_b")
    both = others.append_column("mag_r", others["mag.r"])
    with pytest.raises(ValueError, match="there is a column c_mag_r already"):
        run_of(folder, written(both, tmp_path / "c.parquet"), columns=("mag.r", "mag_r"))
    assert not (folder / "crossmatches" / "c").exists()


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"ra": ["09:51:22.3"], "dec": ["+01:02:03"]}, r"column 'ra' holds string, no numbers.*Sexagesimal"),
        ({"ra": [150.0], "declination": [2.0]}, r"has no dec that is known as such; name the column with --dec-column"),
        ({"glon": [150.0], "dec": [2.0]}, r"has no ra that is known as such"),
        ({"ra": [370.0], "dec": [2.0]}, r"ra must be from -180 to 360 degrees, got 370"),
        ({"ra": [2.0], "dec": [150.0]}, r"dec must be from -90 to 90 degrees, got 150; are ra and dec interchanged"),
        ({"ra": [2.618, 2.62], "dec": [0.03, 0.035]}, r"looks as if its positions were radians \(ra 2.618 to 2.62"),
    ],
)
def test_positions_that_are_no_degrees_are_refused(folder, tmp_path, columns, said):
    pq.write_table(pa.table(columns), tmp_path / "bad.parquet")
    with pytest.raises(ValueError, match=said):
        run_of(folder, tmp_path / "bad.parquet")
    assert read_run(folder / "crossmatches" / "bad") is None


@pytest.mark.parametrize("unit", ["rad", "hourangle"])
def test_units_that_are_no_degrees_are_refused(folder, tmp_path, unit):
    AstropyTable({"ra": [1.0], "dec": [1.0]}, units={"ra": unit}).write(tmp_path / "bad.ecsv")
    with pytest.raises(ValueError, match=rf"column 'ra' is in '{unit}'; positions must be degrees: convert"):
        run_of(folder, tmp_path / "bad.ecsv")
    assert not (folder / "crossmatches" / "bad").exists()


def test_other_frames_are_refused(folder, tmp_path):
    table = AstropyTable({"glon": [150.0], "RA1950": [1.0], "dec": [2.0]}, meta={"RADESYS": "FK4", "EQUINOX": 1950.0})
    table.write(tmp_path / "old.fits")
    with pytest.raises(ValueError, match=r"frame FK4, equinox 1950"):
        run_of(folder, tmp_path / "old.fits")
    table.meta.clear()
    table.write(tmp_path / "named.fits")
    for column in ("glon", "RA1950"):
        with pytest.raises(ValueError, match="of another frame than ICRS, as its name says"):
            run_of(folder, tmp_path / "named.fits", ra_column=column)


def test_where_nothing_matches_both_areas_are_said(folder, tmp_path, caplog):
    pq.write_table(pa.table({"ra": [40.0, 41.0], "dec": [-3.0, 60.0], "x": [1, 2]}), tmp_path / "far.parquet")
    with caplog.at_level(logging.WARNING):
        run = run_of(folder, tmp_path / "far.parquet", columns=("x",))
    assert (run.outputs["n_matched"], run.outputs["median_separation_arcsec"]) == (0, None)
    assert "no counterpart: the table covers ra 40 to 41, dec -3 to 60; the objects ra 150 to 150.6" in caplog.text
    assert Joined(folder).schema.field("far_x").type == pa.int64()
    caplog.clear()
    pq.write_table(
        pa.table({"ra": pa.array([], pa.float64()), "dec": pa.array([], pa.float64())}), tmp_path / "no.parquet"
    )
    assert run_of(folder, tmp_path / "no.parquet").outputs["n_rows"] == 0
    assert "the table has no row with a position" in caplog.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"radius_arcsec": 0.0}, "radius_arcsec must be above 0"),
        ({"table": Path("a.csv"), "service": "ned"}, "either a table or a service"),
        ({"service": "ned", "ra_column": "x"}, "ra_column and dec_column are a table's"),
        ({"n_tries": 0}, "n_tries must be 1 to 20"),
        ({"pause_seconds": -1.0}, "pause_seconds not below"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        CrossmatchConfig(**options)


def test_what_is_not_there_is_named(folder, others, tmp_path):
    path = written(others, tmp_path / "deep.parquet")
    with pytest.raises(FileNotFoundError, match=r"give --table FILE, or --service simbad"):
        run_of(folder)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        run_of(folder, tmp_path / "none.csv")
    with pytest.raises(ValueError, match=r"has no column 'b'; it has: RAJ2000, DEJ2000"):
        run_of(folder, path, columns=("b",))
    with pytest.raises(ValueError, match="no object with a position passes the filter"):
        run_of(folder, path, where="magnitude < 0")
    with pytest.raises(ValueError, match="at most 180"):
        run_of(folder, service="ned", radius_arcsec=200.0)
    Atlas(folder).survey.open().update({"ra": "NULL"})
    with pytest.raises(ValueError, match="no object of survey has a position"):
        run_of(folder, path)
    assert not (folder / "crossmatches").exists()


def test_folders_are_called_after_what_is_matched():
    names = {"simbad": "simbad", "vizier:II/246/out": "vizier_II_246_out"}
    assert {each: folder_name(CrossmatchConfig(service=each)) for each in names} == names
    assert folder_name(CrossmatchConfig(table=Path("/a/gaia dr3.v2.fits.gz"))) == "gaia_dr3"


@pytest.fixture
def server(monkeypatch, folder):
    """Services that know every third object, 1 arcsec beside it, and many others."""
    table = local.known(200)
    place = np.arange(0, 64, 3)
    table["ra"][: len(place)] = 150 + place / 100 + 1 / 3600
    table["dec"][: len(place)] = 2 - place / 100
    with local.serving(table) as state:
        monkeypatch.setenv(XMATCH_URL, f"{state.url}/xmatch/api/v1/sync")
        monkeypatch.setenv(NED_URL, f"{state.url}/tap/sync")
        yield state


@pytest.mark.parametrize("service", ["simbad", "ned", "vizier:II/246/out"])
def test_known_objects_are_flagged_and_named(server, folder, inputs, service):
    redshift = "z" if service == "ned" else "redshift"
    run = run_of(folder, service=service, columns=(redshift,), **QUICK)
    name = folder_name(CrossmatchConfig(service=service))
    rows = Joined(folder).rows(inputs.object_id)
    is_known = [None if place == NOWHERE else place % 3 == 0 for place in range(64)]
    assert rows[f"is_known_{name}"].to_pylist() == is_known
    assert rows[f"{name}_known_as"].to_pylist() == [f"NGC {p // 3}" if p % 3 == 0 else None for p in range(64)]
    if service.startswith("vizier"):
        assert f"{name}_known_type" not in rows.column_names
    else:
        assert rows[f"{name}_known_type"].to_pylist()[:7:3] == [None, "Galaxy", "Galaxy"]
    assert rows[f"{name}_{redshift}"][3].as_py() == pytest.approx(server.table["redshift"][1])
    assert rows.schema.field(f"{name}_{redshift}").metadata[b"unit"] == b"km / s"
    assert run.outputs["n_matched"] == 22
    assert run.outputs["n_shifted"] == (200 if service == "ned" else 504)
    assert sum(server.asked) == 63 + run.outputs["n_shifted"]
    assert Joined(folder).select(f"is_known_{name} = 1").sum() == 22
    assert Joined(folder).select(f"is_known_{name} = 0").sum() == 41


def test_what_was_answered_is_not_asked_for_again(server, folder, made, tmp_path):
    run_of(folder, service="ned", **QUICK)
    n = server.n_requests
    again = run_of(folder, service="ned", **QUICK)
    assert (server.n_requests, again.outputs["n_requests"]) == (n, 0)
    run_of(folder, service="ned", replace=True, **QUICK)
    assert server.n_requests == 2 * n
    made.write(tmp_path / "more", made.images(2, seed=9), ["new1.png", "new2.png"])
    (tmp_path / "more.csv").write_text("file,ra,dec\nnew1.png,150.2,1.9\nnew2.png,150.21,1.9\n")
    Atlas(folder).ingest(tmp_path / "more", catalog=tmp_path / "more.csv")
    server.asked.clear()
    run_of(folder, service="ned", **QUICK)
    assert 2 <= sum(server.asked) < 30  # the two, and what the sample has of them


def test_a_service_that_fails_half_way_is_gone_on_with(server, folder):
    server.fault = lambda number: "503" if number > 3 else ""
    with pytest.raises(ConnectionError, match="the same command goes on"):
        run_of(folder, service="ned", **QUICK)
    assert len(list((folder / "crossmatches" / "ned" / ANSWERS).glob("*.parquet"))) == 3
    server.fault, server.n_requests = (lambda number: ""), 0
    run = run_of(folder, service="ned", **QUICK)
    assert server.n_requests == run.outputs["n_requests"] == 3  # of six


KILLED = """
    import os, signal, sys
    from contextlib import contextmanager
    from pathlib import Path
    from peculiar.stages.crossmatch import CrossmatchConfig, crossmatch

    @contextmanager
    def track(description, total):
        steps = []
        def advance(n):
            steps.append(n)
            if len(steps) == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
        yield advance

    crossmatch(Path(sys.argv[1]), CrossmatchConfig(service="ned", pause_seconds=0.0), track=track)
"""


def test_a_kill_loses_no_answer(server, folder, made):
    made.python(KILLED, folder, 4, expect=-9)
    n_before = server.n_requests
    run = run_of(folder, service="ned", **QUICK)
    assert (n_before, run.outputs["n_requests"]) == (3, 3)
    rows = Table(folder / "crossmatches" / "ned" / "table.lance").open().to_table()
    whole = run_of(folder, service="ned", replace=True, **QUICK)
    assert Table(folder / "crossmatches" / "ned" / "table.lance").open().to_table() == rows
    assert whole.outputs["n_matched"] == run.outputs["n_matched"]


def test_only_those_that_pass_a_filter_are_asked_about(server, folder, inputs):
    run = run_of(folder, service="simbad", where="magnitude < 20.1", **QUICK)
    magnitude = Joined(folder).column("magnitude")
    assert run.outputs["n_asked"] == (magnitude < 20.1).sum()
    assert_array_equal(np.isnan(Joined(folder).column("simbad_n_within")), ~(magnitude < 20.1))


def test_a_filter_by_what_another_stage_made_is_stale_with_it(server, folder):
    run_of(folder, service="ned", **QUICK)
    run_of(folder, service="simbad", where="is_known_ned = 1", **QUICK)
    assert set(read_run(folder / "crossmatches" / "simbad").reads) == {"survey", "crossmatches/ned"}
    run_of(folder, service="ned", replace=True, **QUICK)
    standing = next(each for each in Atlas(folder).status() if each.folder == "crossmatches/simbad")
    assert standing.state == "stale"


def test_released_anomalies_are_matched_with_a_table(shared_data, tmp_path):
    atlas = Atlas(tmp_path / "atlas")
    atlas.import_release(shared_data / "catalogue" / "anomaly_catalog_hsc_disc3sigma.p")
    released = Table(atlas.folder / "catalogs" / "released" / "table.lance").open().to_table(["object_id", "ra", "dec"])
    random = np.random.default_rng(0)
    chosen = random.choice(released.num_rows, 3_000, replace=False)
    ra, dec = (released[name].to_numpy()[chosen] for name in ("ra", "dec"))
    moved = random.normal(0, 0.3 / 3600, (2, 3_000))
    theirs = {
        "ra": ra + moved[0] / np.cos(np.radians(dec)),
        "dec": dec + moved[1],
        "their_id": released["object_id"].to_numpy()[chosen],
    }
    pq.write_table(pa.table(theirs), tmp_path / "deep.parquet")
    run = run_of(atlas.folder, tmp_path / "deep.parquet", columns=("their_id",), of="catalogs/released")
    # Pieces of one galaxy are within 2 arcsec of another's counterpart.
    assert run.outputs["n_objects"] == 13_477
    rows = Joined(atlas.folder, "catalogs/released").rows(released["object_id"].to_numpy()[chosen])
    is_right = np.asarray(rows["deep_their_id"]) == theirs["their_id"]
    assert is_right.mean() > 0.99
    assert 3_000 <= run.outputs["n_matched"] < 3_300
