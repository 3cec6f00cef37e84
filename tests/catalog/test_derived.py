import numpy as np
import pytest
from astropy.modeling.models import Gaussian2D
from numpy.testing import assert_allclose

from peculiar.catalog.columns import COLUMNS
from peculiar.catalog.derived import DERIVED, derivable, parse_columns

HSC = [f"i_cmodel_exp_ellipse_{each}" for each in ("11", "22", "12")]


def made_of(columns):
    values = {name: np.asarray(value, float) for name, value in columns.items()}
    for each in derivable(columns):
        values[each.column.name] = each.formula(values)
    return values


def drawn(major, ratio, angle_degrees):
    """Second moments of a drawn ellipse: an image, x to the right (west), y up (north)."""
    y, x = np.mgrid[-60:61, -60:61] * 0.168
    theta = np.radians(angle_degrees + 90)  # of the major axis from x: the position angle begins at y
    light = Gaussian2D(1, 0, 0, major, ratio * major, theta)(x, y)
    return [(light * one * other).sum() / light.sum() for one, other in ((x, x), (y, y), (x, y))]


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 135.0, 179.0])
@pytest.mark.parametrize("ratio", [0.3, 0.6, 0.95])
def test_a_drawn_ellipse_has_its_size_shape_and_angle(ratio, angle):
    major = 1.4
    found = made_of(dict(zip(HSC, drawn(major, ratio, angle), strict=True)))
    assert_allclose(found["radius_major_arcsec"], major, rtol=1e-3)
    assert_allclose(found["axis_ratio"], ratio, rtol=1e-3)
    assert_allclose(found["radius_circularized_arcsec"], major * np.sqrt(ratio), rtol=1e-3)
    assert_allclose(found["r_eff_paper"], major * np.sqrt(1 + ratio**2), rtol=1e-3)
    assert_allclose(found["ellipticity"], (1 - ratio**2) / (1 + ratio**2), rtol=1e-3)
    difference = (found["position_angle"] - angle + 90) % 180 - 90
    assert_allclose(difference, 0, atol=0.05)


def test_of_a_round_galaxy_the_papers_radius_is_a_root_of_two_too_large_and_there_is_no_angle():
    found = made_of(dict(zip(HSC, (0.25, 0.25, 0.0), strict=True)))
    assert found["r_eff_paper"] == pytest.approx(np.sqrt(2) * 0.5)
    assert found["radius_circularized_arcsec"] == found["radius_major_arcsec"] == pytest.approx(0.5)
    assert found["axis_ratio"] == 1
    assert np.isnan(found["position_angle"])


def test_an_impossible_ellipse_has_no_size():
    found = made_of(dict(zip(HSC, (0.2, 0.1, 0.5), strict=True)))  # |xy| above the root of xx yy
    assert np.isnan(found["radius_circularized_arcsec"])
    assert np.isnan(found["axis_ratio"])


def test_colors_and_the_aperture_ratio_are_the_papers():
    fluxes = {"g_cmodel_flux": 10.0, "r_cmodel_flux": 25.0, "i_cmodel_flux": 40.0}
    found = made_of({**fluxes, "i_convolvedflux_3_20_flux": 4.0, "a_g": 0.1, "a_r": 0.07, "a_i": 0.05})
    assert found["g_r"] == pytest.approx(-2.5 * np.log10(0.4))
    assert found["r_i"] == pytest.approx(-2.5 * np.log10(25 / 40))
    assert found["g_r_dereddened"] == pytest.approx(found["g_r"] - 0.03)
    assert found["aperture_ratio"] == pytest.approx(-1)
    assert "g_i" not in found


def test_a_flux_that_is_not_positive_has_no_color():
    found = made_of({"g_cmodel_flux": [1.0, -1.0, 0.0], "r_cmodel_flux": [1.0, 1.0, 1.0]})
    assert found["g_r"][0] == 0
    assert np.isnan(found["g_r"][1:]).all()


def test_the_legacy_surveys_shapes_and_colors_are_understood():
    ratio = 0.4
    size = (1 - ratio) / (1 + ratio)  # their ellipticity
    shape = {"shape_r": 2.0, "shape_e1": size * np.cos(0.7), "shape_e2": size * np.sin(0.7)}
    found = made_of(
        {**shape, "flux_g": 3.0, "flux_r": 5.0, "flux_z": 9.0, "mw_transmission_g": 0.9, "mw_transmission_r": 0.95}
    )
    assert found["axis_ratio"] == pytest.approx(ratio)
    assert found["radius_major_arcsec"] == 2
    assert found["radius_circularized_arcsec"] == pytest.approx(2 * np.sqrt(ratio))
    assert found["ellipticity"] == pytest.approx((1 - ratio**2) / (1 + ratio**2))
    assert found["r_z"] == pytest.approx(-2.5 * np.log10(5 / 9))
    assert found["g_r_dereddened"] == pytest.approx(-2.5 * np.log10((3 / 0.9) / (5 / 0.95)))
    assert "g_z" not in found


def test_what_a_catalog_has_under_the_name_is_its_own():
    assert "g_r" not in [each.column.name for each in derivable({"g_r", "g_cmodel_flux", "r_cmodel_flux"})]


def test_every_declaration_has_a_unit_or_none_a_ucd_and_its_formula_and_no_score_is_hidden():
    from astropy.io.votable.ucd import check_ucd
    from astropy.units import Unit

    for each in DERIVED:
        assert check_ucd(each.column.ucd, check_controlled_vocabulary=True), each.column.ucd
        Unit(each.column.unit)
        assert each.formula.text in each.column.description
        assert each.column.name not in COLUMNS


@pytest.mark.parametrize("text", ["g_z", "g z = a", "= a", "x = a; x = b"])
def test_a_column_of_ones_own_is_written_name_is_formula(text):
    with pytest.raises(ValueError, match="NAME = FORMULA"):
        parse_columns(text)
