import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from peculiar.spectra.diagnostics import (
    class_probabilities,
    classify,
    diagram_curves,
    diagram_place,
    kauffmann_2003,
    kewley_2001,
    log_ratio,
)

PAPER = {
    "NII_6585": 6.372,
    "H_alpha": 88.116,
    "OIII_5008": 61.793,
    "H_beta": 23.085,
    "SII_6718": 13.996,
    "SII_6733": 8.814,
}


def test_the_papers_galaxy_is_star_forming_by_both_curves():
    x, y = diagram_place(PAPER)
    assert_allclose([x, y], [-1.141, 0.428], atol=5e-4)
    assert y < kauffmann_2003(x) < kewley_2001(x)
    assert classify(x, y) == "star-forming"


@pytest.mark.parametrize(
    ("diagram", "x", "y", "expected"),
    [
        ("NII", -0.5, 0.0, "star-forming"),
        ("NII", -0.1, -0.4, "composite"),
        ("NII", 0.1, -1.5, "composite"),  # beyond Kauffmann's asymptote, below Kewley
        ("NII", 0.3, -3.0, "composite"),
        ("NII", 0.47, -9.0, "LINER"),  # on Kewley's asymptote: beyond it
        ("NII", 0.6, -9.0, "LINER"),
        ("NII", 0.0, 1.0, "Seyfert"),
        ("NII", 0.0, 0.44, "LINER"),
        ("NII", 0.0, 0.46, "Seyfert"),
        ("SII", -0.5, 0.0, "star-forming"),
        ("SII", 0.32, -5.0, "LINER"),
        ("SII", 0.0, 0.75, "LINER"),
        ("SII", 0.0, 0.77, "Seyfert"),
        ("OI", -1.5, 0.0, "star-forming"),
        ("OI", -1.0, 0.11, "LINER"),
        ("OI", -1.0, 0.6, "Seyfert"),
        ("OI", -0.59, -5.0, "LINER"),
        ("NII", np.nan, 0.0, ""),
        ("SII", 0.0, np.nan, ""),
    ],
)
def test_places_are_of_their_class(diagram, x, y, expected):
    assert classify(x, y, diagram) == expected


def test_the_curves_pass_through_what_the_papers_formulas_give_by_hand():
    assert_allclose(kewley_2001(-0.53), 0.58)  # 0.61 / -1 + 1.19
    assert_allclose(kauffmann_2003(-0.95), 0.69)
    assert_allclose(kewley_2001(-0.68, "SII"), 0.58)
    assert_allclose(kewley_2001(-1.59, "OI"), 0.60)
    assert_array_equal(kewley_2001(np.array([0.46999, 0.47, 2.0, np.nan])) < -1e3, [True, True, True, False])


def test_arrays_are_taken_element_by_element_and_what_is_not_positive_is_nan():
    assert_allclose(log_ratio(np.array([100.0, -1, 0, np.nan]), 10.0), [1, np.nan, np.nan, np.nan])
    assert np.isnan(log_ratio(1.0, 0.0))
    fluxes = {name: np.array([flux, -flux, np.nan]) for name, flux in PAPER.items()}
    assert_array_equal(classify(*diagram_place(fluxes)), ["star-forming", "", ""])
    assert_array_equal(classify(*diagram_place(fluxes, "SII"), "SII"), ["star-forming", "", ""])


def test_probabilities_are_parts_of_the_defined_draws_the_largest_first():
    x, y = np.array([-0.5, -0.5, -0.5, -0.1, np.nan]), np.array([0.0, 0.0, 0.0, -0.4, 0.0])
    assert list(class_probabilities(x, y, "NII").items()) == [("star-forming", 0.75), ("composite", 0.25)]
    assert class_probabilities(np.array([np.nan]), np.array([1.0]), "NII") == {}


@pytest.mark.parametrize("diagram", ["NII", "SII", "OI"])
def test_drawn_curves_part_the_classes(diagram):
    curves = diagram_curves(diagram)
    x, y = curves["Kewley 2001"]
    assert (classify(x, y + 1e-6, diagram) != classify(x, y - 1e-6, diagram)).all()
    line = curves["Schawinski 2007" if diagram == "NII" else "Kewley 2006"]
    assert (classify(line[0], line[1] + 1e-6, diagram) == "Seyfert").all()
    assert (classify(line[0], line[1] - 1e-6, diagram) == "LINER").all()


def test_a_diagram_of_another_name_is_refused():
    with pytest.raises(ValueError, match="diagram must be one of NII, SII, OI, got 'SIII'"):
        diagram_place(PAPER, "SIII")
