import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from peculiar.figures.diagrams import figure_bpt, figure_colors
from peculiar.figures.spectra import figure_redshift, figure_spectrum
from peculiar.spectra.diagnostics import diagram_curves
from peculiar.spectra.spectrum import LINES

REDSHIFT = 0.03221


def drawn(figure):
    """Draw; every text that is to be seen lies within the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    ticks = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for label in axis.get_ticklabels(which="both")
    }
    for text in figure.findobj(Text):
        if text.get_text() and text.get_visible() and text not in ticks:
            box = text.get_window_extent(canvas.get_renderer())
            assert box.x0 >= -1, text
            assert box.x1 <= width + 1, text
            assert box.y0 >= -1, text
            assert box.y1 <= height + 1, text
    return figure


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def planted(low=3750.0, high=9200.0):
    wavelength = np.linspace(low, high, 3000)
    parts = []
    for velocity, weight in ((-80.0, 60.0), (100.0, 30.0)):
        shift = (1 + REDSHIFT) * (1 + velocity / 299_792.458)
        parts.append(sum(weight / 5 * np.exp(-0.5 * ((wavelength - rest * shift) / 2) ** 2) for rest in LINES.values()))
    continuum = np.full_like(wavelength, 3.0)
    error = np.full_like(wavelength, 0.3)
    flux = continuum + sum(parts) + np.random.default_rng(0).normal(0, error)
    return wavelength, flux, error, continuum, parts


def test_the_spectrum_has_a_panel_and_residuals_for_each_group_that_it_covers():
    wavelength, flux, error, continuum, parts = planted()
    figure = drawn(
        figure_spectrum(
            wavelength,
            flux,
            error,
            redshift=REDSHIFT,
            lines=LINES,
            continuum=continuum,
            total=continuum + sum(parts),
            components=parts,
            title="HSC $43158859342174406$",
            flux_unit="1e-17 erg / (Angstrom s cm2)",
        )
    )
    assert len(figure.axes) == 1 + 2 * 4
    said = texts(figure)
    assert {
        "[O II]",
        "Hβ + [O III]",
        "H\N{GREEK SMALL LETTER ALPHA} + [N II]",
        "[S II]",
        "component 2",
        "total fit",
    } <= set(said)
    assert "flux in 1e-17 erg / (Angstrom s cm2)" in said
    residuals = figure.axes[2].lines[0].get_ydata()
    assert 0.7 < np.nanstd(residuals) < 1.3
    # The middle panels are in rest wavelength: the strongest pixel of the first one is at [OII].
    data = figure.axes[3].lines[0]
    assert abs(data.get_xdata()[np.argmax(data.get_ydata())] - 4862.68) < 160


def test_groups_beyond_the_spectrum_are_left_out():
    wavelength, flux, error, *_ = planted(4500.0, 6000.0)
    figure = drawn(figure_spectrum(wavelength, flux, error, redshift=REDSHIFT, lines=LINES))
    assert len(figure.axes) == 3
    assert "Hβ + [O III]" in texts(figure)
    assert "flux relative" in texts(figure)
    figure = drawn(figure_spectrum(wavelength, flux, error, redshift=1.5, lines={"H_alpha": 6564.61}))
    assert len(figure.axes) == 1


def test_masked_pixels_and_wild_ones_do_not_set_the_scale():
    wavelength, flux, error, continuum, parts = planted()
    flux[500] = 1e9
    flux[1000], error[1000] = 1e6, 0.0
    error[1500:1510] = np.inf
    flux[1600], error[1600] = np.nan, np.nan
    near = np.abs(wavelength - LINES["SII_6718"] * (1 + REDSHIFT)) < 100
    error[near] = 0.0  # a whole group masked
    figure = figure_spectrum(
        wavelength, flux, error, redshift=REDSHIFT, lines=LINES, continuum=continuum, total=continuum + sum(parts)
    )
    assert figure.axes[0].get_ylim()[1] < 100
    drawn(figure)
    with pytest.raises(ValueError, match="every pixel is masked"):
        figure_spectrum(wavelength, flux, np.zeros_like(flux), redshift=REDSHIFT, lines=LINES)


POINTS = {
    "component 1": np.array([[-1.14, -1.2, -1.08], [0.43, 0.40, 0.46]]),
    "total": np.array([[-1.05, np.nan, np.nan], [0.39, 0.37, 0.41]]),
    "component 2": np.full((2, 3), np.nan),
}


@pytest.mark.parametrize("n", [0, 1, 300, 5000])
def test_diagrams_show_curves_sample_and_points(n):
    random = np.random.default_rng(1)
    sample = random.normal(-0.5, 0.3, n), random.normal(0, 0.3, n)
    if n > 2:
        sample[0][0], sample[1][1] = np.nan, 1e6
    n_known = n - (n > 2) if n <= 500 else None
    figure = drawn(figure_bpt(POINTS, diagram_curves(), comparison=sample, title="an object"))
    said = texts(figure)
    assert {"Kewley 2001", "Kauffmann 2003", "Schawinski 2007", "component 1", "total"} <= set(said)
    assert "component 2 (not measured)" in said
    if n_known is not None:
        assert f"comparison ({n_known})" in said
    drawn(figure_colors(POINTS, comparison=sample))


def test_a_far_point_is_in_view_and_no_sample_is_needed():
    far = {"object": np.array([[-3.0, -3.1, -2.9], [2.0, 1.9, 2.1]])}
    axes = drawn(figure_bpt(far, diagram_curves("SII"), low_line="[S II] 6718 + 6733")).axes[0]
    assert axes.get_xlim()[0] < -3.1
    assert axes.get_ylim()[1] > 2.1
    axes = drawn(figure_colors(far, x="u - g", y="g - r")).axes[0]
    assert axes.get_xlim()[0] < -3.0 < axes.get_xlim()[1]
    assert axes.get_xlabel() == "u - g (mag)"
    drawn(figure_colors({}))


def test_points_and_samples_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"points must be \(2, 3\).*for it"):
        figure_bpt({"it": np.zeros((2, 2))}, {})
    with pytest.raises(ValueError, match="comparison must be two arrays of one length"):
        figure_colors({}, comparison=(np.zeros(3), np.zeros(4)))


def test_the_search_for_a_redshift_shows_best_and_runner_up():
    wavelength, flux, *_ = planted()
    flux[100:120] = np.nan
    trial = np.linspace(0, 1, 2000)
    quality = np.exp(-0.5 * ((trial - REDSHIFT) / 0.001) ** 2)
    figure = drawn(
        figure_redshift(trial, quality, wavelength, flux, redshift=REDSHIFT, runner_up=0.38, lines=LINES, title="it")
    )
    assert len(figure.axes) == 3
    assert {"best: redshift 0.03221", "runner-up: redshift 0.38000", "best: 0.03221"} <= set(texts(figure))
    peak = figure.axes[0].lines[1]
    assert peak.get_ydata()[0] > 0.9
    figure = drawn(figure_redshift(trial, quality, wavelength, flux, redshift=np.nan, lines=LINES))
    assert len(figure.axes) == 2
    assert not any("runner-up" in text for text in texts(figure))
