import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from peculiar import Atlas
from peculiar.joined import Joined

COLUMNS = {
    "i_cmodel_exp_ellipse_11": lambda n: np.linspace(0.1, 2, n),
    "i_cmodel_exp_ellipse_22": lambda n: np.full(n, 0.3),
    "i_cmodel_exp_ellipse_12": lambda n: np.zeros(n),
    "g_cmodel_flux": lambda n: np.linspace(1, 3, n),
    "r_cmodel_flux": lambda n: np.linspace(2, 3, n) * np.where(np.arange(n) == 0, -1, 1),
}


@pytest.fixture
def atlas(ranked, tmp_path):
    atlas = Atlas(shutil.copytree(ranked, tmp_path / "atlas"))
    ids = atlas.survey.object_ids()
    table = pa.table({"object_id": ids, **{name: values(len(ids)) for name, values in COLUMNS.items()}})
    path = tmp_path / "columns.parquet"
    pa.parquet.write_table(table, path)
    atlas.add_columns(path)
    return atlas


def test_derived_columns_stand_in_the_ranking_the_release_and_the_comparison(atlas):
    run = atlas.derive(columns="half = r_eff_paper / 2")
    assert run.outputs["formulas"]["half"] == "r_eff_paper / 2"
    ranking = atlas.ranking()
    xx = ranking.column("i_cmodel_exp_ellipse_11")
    np.testing.assert_allclose(ranking.column("r_eff_paper"), np.sqrt(xx + 0.3))
    np.testing.assert_allclose(ranking.column("half"), np.sqrt(xx + 0.3) / 2)
    assert np.isnan(ranking.column("g_r")).sum() == 1
    field = ranking.schema.field("position_angle")
    assert field.metadata[b"unit"] == b"deg"
    assert b"north through east" in field.metadata[b"description"]
    assert atlas.scores(ranking.object_ids[:2])["r_eff_paper"].unit == "arcsec"
    compared = atlas.compare(samples="large: r_eff_paper > 1")
    assert compared.outputs["samples"]["large"] == (np.sqrt(xx + 0.3) > 1).sum()
    page = (atlas.folder / "comparisons/main/compare.html").read_text()
    assert "aperture_ratio" not in page
    assert "ellipticity" in page


def test_columns_of_the_survey_are_there_before_anything_is_scored(atlas):
    atlas.derive()
    survey = Joined(atlas.folder)
    assert survey.select("r_eff_paper > 1").any()
    assert np.array_equal(survey.object_ids, atlas.survey.object_ids())
    assert next(each for each in atlas.status() if each.folder == "derived/main").state == "complete"


def test_a_formula_of_columns_that_are_not_there_says_which(atlas):
    with pytest.raises(ValueError, match="no numbers flux_u, flux_w, which mine is made of"):
        atlas.derive(columns="mine = flux_u / flux_w")
    with pytest.raises(ValueError, match="has a column g_r already"):
        atlas.derive(columns="g_r = g_cmodel_flux * 2")
    with pytest.raises(ValueError, match="a ranking has the survey's columns"):
        atlas.derive(of="rankings/main")


def test_a_survey_of_nothing_to_derive_from_says_what_it_needs(ranked, tmp_path):
    atlas = Atlas(shutil.copytree(ranked, tmp_path / "atlas"))
    with pytest.raises(ValueError, match=r"nothing can be derived of survey.*i_cmodel_exp_ellipse_11"):
        atlas.derive()


def test_more_columns_of_ones_own_go_into_another_folder(atlas):
    atlas.derive()
    atlas.derive(name="mine", columns="ratio = i_cmodel_exp_ellipse_11 / i_cmodel_exp_ellipse_22")
    ranking = atlas.ranking()
    np.testing.assert_allclose(ranking.column("ratio"), ranking.column("i_cmodel_exp_ellipse_11") / 0.3)
    assert "r_eff_paper" in ranking.numbers


@pytest.mark.parametrize(
    "name", ["rank", "is_masked", "group_id", "score_disc_sigma", "latent", "interest", "magnitude"]
)
def test_a_name_that_others_have_or_may_give_is_refused(atlas, name):
    with pytest.raises(ValueError, match=f"a column (is called )?{name} already"):
        atlas.derive(columns=f"{name} = g_cmodel_flux * 2")


def test_one_name_is_one_column_whoever_comes_first(atlas, tmp_path):
    atlas.derive(name="a", columns="y = g_cmodel_flux * 2")
    with pytest.raises(ValueError, match="a column is called y already"):
        atlas.derive(name="b", columns="y = g_cmodel_flux * 3")
    pa.parquet.write_table(
        pa.table({"object_id": atlas.survey.object_ids(), "y": np.zeros(64)}), tmp_path / "y.parquet"
    )
    with pytest.raises(ValueError, match="has y already"):
        atlas.add_columns(tmp_path / "y.parquet")
    atlas.derive(name="a", columns="y = g_cmodel_flux * 2")  # the same again is no other's


def test_a_formula_elsewhere_may_name_what_can_be_derived_and_no_id(atlas):
    run = atlas.derive(name="mine", columns="double = 2 * axis_ratio; is_large = max(r_eff_paper, 1) - 1")
    assert set(run.outputs["formulas"]) == {"double", "is_large"}
    ranking = atlas.ranking()
    assert "axis_ratio" not in ranking.numbers
    xx = ranking.column("i_cmodel_exp_ellipse_11")
    ratio = np.sqrt(np.minimum(xx, 0.3) / np.maximum(xx, 0.3))
    np.testing.assert_allclose(ranking.column("double"), 2 * ratio, atol=1e-7)
    with pytest.raises(ValueError, match="no numbers object_id"):
        atlas.derive(name="other", columns="x = object_id + 0")


def test_what_another_folder_has_is_not_made_again_and_what_follows_of_it_is(atlas):
    atlas.derive(name="a", columns="mine = r_eff_paper / 2")
    atlas.derive(name="b", columns="other = g_cmodel_flux * 2")
    run = atlas.derive()
    assert {"ellipticity", "axis_ratio", "g_r"} <= set(run.outputs["formulas"])
    assert not {"mine", "other"} & set(run.outputs["formulas"])
