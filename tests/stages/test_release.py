import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from hats.io.validation import is_valid_catalog
from numpy.testing import assert_allclose, assert_array_equal

from peculiar import Atlas
from peculiar.run import read_run
from peculiar.stages.release import ReleaseConfig

FIGURES = ("top", "scores", "rows", "disagreement", "samples", "losses")


@pytest.fixture(scope="module")
def released(tmp_path_factory, ranked):
    """A release of the first five and of what is above 1.5 sigma. Not to be changed."""
    folder = Path(shutil.copytree(ranked, tmp_path_factory.mktemp("released") / "atlas"))
    Atlas(folder).release(n_top=5, threshold=1.5)
    return folder


def read(folder, name):
    path = folder / "release" / "main" / name
    if path.suffix == ".parquet":
        rows = pq.read_table(path)
        return Table({name: rows[name].to_numpy() for name in rows.column_names})
    return Table.read(path, format="votable" if path.suffix == ".vot" else None)


def test_the_selection_is_the_first_shown_and_those_above_the_threshold_in_order(released):
    opened = Atlas(released).ranking()
    order = opened.order()
    selected = set(opened.object_ids[order[:5]]) | set(opened.object_ids[opened.column("score_disc_sigma") > 1.5])
    rows = pq.read_table(released / "release" / "main" / "selection.parquet")
    assert set(rows["object_id"].to_pylist()) == selected
    assert (np.diff(rows["score_anom_conditional"].to_numpy()) <= 0).all()
    assert rows["rank"].to_pylist()[:5] == [1, 2, 3, 4, 5]
    assert read_run(released / "release" / "main").outputs["n_selected"] == len(selected)


@pytest.mark.parametrize("suffix", ["parquet", "fits", "csv", "vot"])
def test_every_format_has_all_objects_with_exact_ids_and_the_same_scores(released, inputs, suffix):
    found = read(released, f"catalog.{suffix}")
    opened = Atlas(released).ranking()
    assert_array_equal(found["object_id"], opened.object_ids[opened.order()])
    assert sorted(int(each) for each in found["object_id"]) == sorted(inputs.object_id.tolist())
    assert_array_equal(found["rank"], np.arange(1, 65))
    for name in ("score_gen", "score_anom_sigma", "score_anom_conditional"):
        assert_allclose(found[name], opened.column(name)[opened.order()], rtol=1e-6)
    row = found[list(found["object_id"]).index(inputs.object_id[3])]
    assert str(row["source"]).strip() == inputs.names[3]


def test_products_name_units_and_both_weights(released):
    table = read(released, "catalog.fits")
    assert str(table["ra"].unit) == "deg"
    text = (released / "release" / "main" / "catalog.vot").read_text(encoding="utf-8", errors="replace")
    assert "0.3" in text
    assert "lambda_anom" in text or "weight" in text
    with h5py.File(released / "release" / "main" / "selection.hdf5") as file:
        assert file.attrs["reconstruction_weight"] == 0.3
        assert file.attrs["combination_weight"] == 0.3


def test_the_originals_column_names_are_written_beside(released):
    found = read(released, "catalog_released_names.csv")
    assert {
        "HSC_object_id",
        "ra",
        "dec",
        "discriminator_score_normalized",
        "generator_score_normalized",
        "combined_score_normalized",
    } <= set(found.colnames)
    opened = Atlas(released).ranking()
    order = opened.order()
    assert_array_equal(found["HSC_object_id"], opened.object_ids[order])
    assert_allclose(found["discriminator_score_normalized"], opened.column("score_disc_sigma")[order], rtol=1e-6)


def test_the_hdf5_has_images_reconstructions_and_residuals_of_the_selection(released):
    atlas = Atlas(released)
    with h5py.File(released / "release" / "main" / "selection.hdf5") as file:
        ids = file["object_ids"][:]
        assert ids.dtype == np.int64
        assert_array_equal(file["reals"][:], atlas.images(ids))
        assert_array_equal(file["reconstructed"][:], atlas.reconstructions(ids))
        assert_array_equal(file["residuals"][:], atlas.residuals(ids))
        rows = atlas.scores(ids)
        assert_allclose(file["disc_scores_sigma"][:], rows["score_disc_sigma"], rtol=1e-6)
        assert_allclose(file["anomaly_scores"][:], rows["score_anom"], rtol=1e-6)
    assert ids.tolist() == pq.read_table(released / "release" / "main" / "selection.parquet")["object_id"].to_pylist()


def test_figures_and_a_report_are_drawn(released):
    home = released / "release" / "main"
    for name in FIGURES:
        assert (home / "figures" / f"{name}.png").stat().st_size > 5_000
    report = (home / "report.html").read_text()
    assert read_run(released / "rankings" / "main").outputs["reference"] in report
    assert "rank correlation with brightness" in report
    for name in ("catalog.parquet", "selection.hdf5"):
        assert name in report


def test_a_page_explains_every_file_and_sha256sum_accepts_them(released):
    home = released / "release" / "main"
    done = subprocess.run(["sha256sum", "--strict", "--check", "SHA256SUMS"], cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (home / "index.html").read_text()
    for said in ("selection.hdf5", "catalog_released_names.csv", "report.html", "figures/", "score_anom_conditional"):
        assert said in page
        assert said in done.stdout or said == "score_anom_conditional"
    assert "index.html" in (home / "report.html").read_text()
    assert '"catalog/score_anom_conditional"' in (home / "croissant.json").read_text()


def test_what_does_not_pass_the_filter_is_nowhere_and_is_counted(copy, ranked):
    folder = copy(ranked)
    where, options = "magnitude > 20.2", {"n_top": 5, "threshold": 1.5, "is_hdf5": False}
    run = Atlas(folder).release(where=where, formats=("parquet", "hats"), **options)
    opened = Atlas(folder).ranking()
    passes = set(opened.object_ids[opened.column("magnitude") > 20.2].tolist())
    order = [each for each in opened.object_ids[opened.order()].tolist() if each in passes]
    home = folder / "release" / "main"
    catalog, selection = (pq.read_table(home / f"{each}.parquet") for each in ("catalog", "selection"))
    assert catalog["object_id"].to_pylist() == order
    assert selection["object_id"].to_pylist()[:5] == order[:5]
    ranks = dict(zip(opened.object_ids[opened.order()].tolist(), range(1, 65), strict=True))
    assert catalog["rank"].to_pylist() == [ranks[each] for each in order]  # the place among all
    assert (run.outputs["n_objects"], run.outputs["n_excluded"]) == (len(order), 64 - len(order))
    report = (home / "report.html").read_text()
    assert "not listed, as they do not pass magnitude &gt; 20.2" in report
    assert f">{64 - len(order)}</dd>" in report
    assert is_valid_catalog(home / "catalog_hats", strict=True)
    assert not (home / "catalog.fits").exists()
    with pytest.raises(ValueError, match="no object of rankings/main passes 'magnitude > 99'"):
        Atlas(folder).release(where="magnitude > 99", replace=True)
    assert (home / "catalog.parquet").exists()


def test_a_release_that_lacks_later_objects_does_not_count_as_complete(copy, released, made, tmp_path):
    atlas = Atlas(copy(released))
    made.write(tmp_path / "more", made.images(4, seed=9), [f"new{each}.png" for each in range(4)])
    atlas.ingest(tmp_path / "more")
    atlas.score()
    atlas.rank()
    states = {each.folder: each.state for each in atlas.status()}
    assert states["rankings/main"] == "complete"
    assert states["release/main"] in ("stale", "behind")


def test_a_score_that_is_not_there_is_refused_and_throws_no_release_away(copy, released):
    folder = copy(released)
    with pytest.raises(KeyError, match="no number 'score_disc_sigm' to order by"):
        Atlas(folder).release(select_by="score_disc_sigm", replace=True)
    assert (folder / "release" / "main" / "catalog.parquet").exists()


def test_a_release_before_ranking_says_what_to_do(trained):
    with pytest.raises(FileNotFoundError, match="rankings/main is not complete"):
        Atlas(trained).release()


def test_a_negative_number_is_refused():
    with pytest.raises(ValueError, match="n_top must not be negative, got -1"):
        ReleaseConfig(n_top=-1)
