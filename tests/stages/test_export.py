import json
import subprocess

import hats
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from hats.io.validation import is_valid_catalog
from numpy.testing import assert_allclose, assert_array_equal

from peculiar import Atlas
from peculiar.run import read_run
from peculiar.stages.export import ExportConfig, export
from peculiar.survey import Table as Rows

FORMATS = ("parquet", "fits", "votable", "csv", "hats")


@pytest.fixture(scope="module")
def exported(tmp_path_factory, ranked):
    """The ranking `main` in every format. Not to be changed."""
    import shutil

    folder = shutil.copytree(ranked, tmp_path_factory.mktemp("exported") / "atlas")
    export(folder, ExportConfig(title="Odd ones", creators="A. First; B. Second", license="CC0-1.0", version="2"))
    return folder


def read(home, form):
    if form in ("parquet", "hats"):
        table = pq.read_table(
            home / ("catalog.parquet" if form == "parquet" else "catalog_hats/dataset"), partitioning=None
        )
        return {name: table[name].to_numpy() for name in table.column_names}
    table = Table.read(
        home / f"catalog.{'vot' if form == 'votable' else form}", format="votable" if form == "votable" else None
    )
    return {name: np.ma.getdata(table[name]) for name in table.colnames}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_has_the_ranking_in_its_order(exported, form):
    opened = Atlas(exported).ranking()
    expected = opened.object_ids[opened.order()]
    found = read(exported / "products/main", form)
    if form == "hats":  # ordered by place; the one without a position is left out
        assert set(found["object_id"].tolist()) == set(opened.object_ids[np.isfinite(opened.column("ra"))].tolist())
        return
    assert_array_equal(found["object_id"], expected)
    assert_array_equal(found["rank"], np.arange(1, 65))
    assert_allclose(found["score_gen"], opened.column("score_gen")[opened.order()], rtol=1e-6)


def test_the_record_says_what_was_written(exported):
    run = read_run(exported / "products/main")
    assert (run.stage, run.outputs["n_objects"], run.outputs["n_not_in_hats"]) == ("export", 64, 1)
    assert sorted(run.outputs["files"]) == sorted(FORMATS)
    assert run.outputs["not_written"] == {}


def test_hats_is_valid_and_credits_its_makers(exported):
    folder = exported / "products/main/catalog_hats"
    assert is_valid_catalog(folder, strict=True)
    extra = hats.read_hats(folder).catalog_info.extra_dict()
    assert (extra["obs_title"], extra["hats_creator"]) == ("Odd ones", "A. First; B. Second")
    assert extra["reconstruction_weight"] == "0.3"


def test_the_page_explains_files_columns_and_credit(exported):
    page = (exported / "products/main/index.html").read_text()
    opened = Atlas(exported).ranking()
    for said in (
        *(
            "Odd ones",
            "A. First; B. Second",
            "License: CC0-1.0",
            "catalog.fits",
            "lsdb.open_catalog",
            "topcat catalog.fits",
        ),
        *("HATS leaves out 1 objects", opened.run.outputs["reference"], "pos.eq.ra;meta.main", "Right ascension, ICRS"),
        *("Storey-Fisher et al. 2021", *opened.schema.names),
    ):
        assert said in page
    assert "doi.org/10.5281" not in page


def test_sha256sum_accepts_every_file_and_croissant_tells_the_same(exported):
    home = exported / "products/main"
    done = subprocess.run(["sha256sum", "--strict", "--check", "SHA256SUMS"], cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    listed = dict(reversed(line.split("  ", 1)) for line in (home / "SHA256SUMS").read_text().splitlines())
    files = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    assert set(listed) == files - {"run.json", ".lock", "SHA256SUMS"}
    content = json.loads((home / "croissant.json").read_text())
    single = [each for each in content["distribution"] if each["@type"] == "cr:FileObject"]
    assert {each["contentUrl"] for each in single} == {f"catalog.{each}" for each in ("csv", "fits", "parquet", "vot")}
    assert all(listed[each["contentUrl"]] == each["sha256"] for each in single)


def test_rows_columns_and_order_are_those_asked_for(copy, ranked):
    folder = copy(ranked)
    config = ExportConfig(
        of="survey", where="magnitude > 20.2", columns=("magnitude", "source"), formats=("csv",), by="magnitude",
        is_ascending=True, n_first=7,
    )  # fmt: skip
    run = export(folder, config, name="faint")
    found = pd.read_csv(folder / "products/faint/catalog.csv", dtype={"object_id": "int64"})
    assert list(found.columns) == ["object_id", "magnitude", "source"]
    rows = Atlas(folder).survey.open().to_table(columns=["object_id", "magnitude"]).to_pandas()
    rows = rows[rows.magnitude > 20.2].sort_values(["magnitude", "object_id"]).head(7)
    assert found.object_id.tolist() == rows.object_id.tolist()
    assert run.outputs["n_objects"] == 7
    home = folder / "products/faint"
    assert sorted(path.name for path in home.iterdir() if not path.name.startswith(".")) == [
        *("SHA256SUMS", "catalog.csv", "croissant.json", "index.html", "run.json")
    ]


def test_one_a_group_lists_the_first_of_each(copy, ranked):
    folder = copy(ranked)
    with pytest.raises(KeyError, match="peculiar group"):
        export(folder, ExportConfig(is_one_a_group=True))
    Atlas(folder).group(60)
    run = export(folder, ExportConfig(is_one_a_group=True, formats=("parquet",)))
    rows = pq.read_table(folder / "products/main/catalog.parquet")
    assert rows.num_rows == run.outputs["n_objects"] == 64 - run.outputs["n_left_out"] < 64
    assert all(rows["is_representative"].to_pylist())


def test_a_format_that_cannot_be_is_left_out_and_said(copy, ranked, monkeypatch):
    folder = copy(ranked)
    Atlas(folder).survey.open().update({"ra": "NULL"})
    export(folder, ExportConfig(formats=("votable", "hats")))
    monkeypatch.setattr("peculiar.io.exports.MAX_VOTABLE_ROWS", 10)
    run = export(folder, ExportConfig(formats=("votable", "hats")))
    assert sorted(run.outputs["not_written"]) == ["hats", "votable"]
    home = folder / "products/main"
    page = (home / "index.html").read_text()
    assert "catalog as hats: it is parted by position, and no object has one" in page
    assert "it would have more than 10 rows" in page
    assert not (home / "catalog.vot").exists()  # that of the run before
    assert not (home / "catalog_hats").exists()


def test_the_same_again_is_the_same_and_another_config_needs_a_word(copy, exported):
    folder = copy(exported)
    home = folder / "products/main"
    options = {"title": "Odd ones", "creators": "A. First; B. Second", "license": "CC0-1.0", "version": "2"}
    before = (home / "catalog.parquet").read_bytes()
    (home / "catalog.fits").unlink()
    export(folder, ExportConfig(**options))
    assert (home / "catalog.parquet").read_bytes() == before
    assert (home / "catalog.fits").exists()
    with pytest.raises(ValueError, match="where was '', now 'magnitude < 21'"):
        export(folder, ExportConfig(**options, where="magnitude < 21"))


def test_what_cannot_be_exported_is_refused_before_anything_is_made(copy, ranked):
    folder = copy(ranked)
    for config, error, said in (
        (ExportConfig(where="magnitude > 99"), ValueError, "no object of rankings/main passes 'magnitude > 99'"),
        (ExportConfig(columns=("magnitud",)), KeyError, "no column magnitud in rankings/main"),
        (ExportConfig(by="magnitud"), KeyError, "no number 'magnitud' to order by"),
        (ExportConfig(of="catalogs/none"), FileNotFoundError, "catalogs/none is not complete"),
        (ExportConfig(of="scores/main"), ValueError, "of must be survey"),
    ):
        with pytest.raises(error, match=said):
            export(folder, config)
    assert not (folder / "products").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"formats": ("fits", "excel")}, "formats must be of parquet, fits, votable, csv, hats, got 'excel'"),
        ({"formats": ()}, "formats must be one at least"),
        ({"n_first": -1}, "n_first must not be negative, got -1"),
        ({"doi": "https://doi.org/10.5281/zenodo.1"}, "doi must be the bare DOI"),
        ({"version": "v1"}, "version must be numbers"),
    ],
)
def test_options_that_are_wrong_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        ExportConfig(**options)


def test_hats_without_its_package_says_what_to_do(copy, ranked, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"--formats parquet,fits,votable,csv"):
        export(copy(ranked), ExportConfig())


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index")
def test_the_released_anomalies_come_back_exactly_from_every_format(shared_data, tmp_path):
    import mlcroissant

    atlas = Atlas(tmp_path / "atlas")
    atlas.import_release(shared_data / "catalogue" / "anomaly_catalog_hsc_disc3sigma.p")
    run = export(atlas.folder, ExportConfig(of="catalogs/released"), name="released")
    exact = Rows(atlas.folder / "catalogs/released/table.lance").open().to_table().to_pandas().set_index("object_id")
    assert run.outputs["n_objects"] == len(exact) == 13_477
    home = atlas.folder / "products/released"
    for form in FORMATS:
        found = read(home, form)
        assert found["object_id"].dtype.kind == "i"
        assert sorted(found["object_id"].tolist()) == sorted(exact.index.tolist())
        expected = exact.loc[found["object_id"]]
        for name in ("ra", "dec", "score_disc_sigma", "score_gen_sigma", "score_anom_sigma"):
            assert_array_equal(found[name], expected[name])
        assert_array_equal(found["release_index"], expected["release_index"])
    assert is_valid_catalog(home / "catalog_hats", strict=True)
    records = mlcroissant.Dataset(home / "croissant.json").records("catalog")
    first = [int(each["catalog/object_id"]) for each, _ in zip(records, range(500), strict=False)]
    assert first == pq.read_table(home / "catalog.parquet")["object_id"].to_pylist()[:500]
