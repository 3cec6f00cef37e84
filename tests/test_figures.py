import io
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from peculiar import figures
from peculiar.figures.bench import figure_grid, figure_orders

HSC = Path(__file__).parents[2] / "shared" / "data" / "hsc"
IDS = np.array([43158859342174406, -8123456789012345678, 2**63 - 1, 7, 8, 9], np.int64)


def images(n, channels=3, size=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, channels), np.uint8)


def thumbnails(figure):
    """Arrays of the thumbnails, in drawing order."""
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def texts(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()]


def drawn(figure):
    """Draw; every visible text must lie inside the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    width, height = canvas.get_width_height()
    # Tick labels beyond the axes' limits are never drawn, but findobj returns them.
    axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    ticks = {label for axis in axes for label in axis.get_ticklabels(which="both")}
    for text in figure.findobj(mpl.text.Text):
        if text.get_text() and text.get_visible() and text not in ticks:
            box = text.get_window_extent(renderer)
            assert box.x0 >= -1, text
            assert box.x1 <= width + 1, text
            assert box.y0 >= -1, text
            assert box.y1 <= height + 1, text
    return figure


def test_no_figure_needs_pyplot_or_changes_settings():
    code = (
        "import sys, matplotlib as m\n"
        "settings = lambda: {k: m.rcParams[k] for k in m.rcParams if k != 'backend'}  # which imports pyplot\n"
        "before = settings()\n"
        "import numpy as np; from peculiar import figures as f\n"
        "f.figure_scores(*np.random.default_rng(0).normal(size=(3, 50))).savefig('/dev/null', format='png', dpi=20)\n"
        "assert 'matplotlib.pyplot' not in sys.modules and before == settings()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_figure_has_a_caption_as_its_docstring():
    for name in figures.__all__:
        assert len(getattr(figures, name).__doc__) > 60, name


def test_channels_are_shown_by_the_rule():
    for channels in (1, 2, 3, 5):
        stored = images(2, channels)
        color = figures.as_color(stored)
        assert color.shape == (2, 8, 8, 3)
        if channels == 1:
            assert (color == stored).all()
        else:
            shown = min(channels, 3)
            np.testing.assert_array_equal(color[..., :shown], stored[..., :shown])
            assert (color[..., shown:] == 0).all()


def test_images_of_another_type_are_refused():
    with pytest.raises(ValueError, match="images must be uint8"):
        figures.as_color(np.zeros((1, 8, 8, 3), np.float32))


def test_sample_grid_places_pixels_row_by_row():
    stored = images(7)
    grid = figures.sample_grid(stored, 3, gap=2)
    assert grid.shape == (3 * 8 + 2 * 2, 3 * 8 + 2 * 2, 3)
    assert grid.dtype == np.uint8
    for k in range(7):
        row, column = divmod(k, 3)
        np.testing.assert_array_equal(grid[row * 10 : row * 10 + 8, column * 10 : column * 10 + 8], stored[k])
    assert (grid[8:10] == 0).all()
    assert (grid[20:, 10:] == 0).all()


def test_sample_grid_without_gap_is_as_wide_as_its_images():
    assert figures.sample_grid(images(2), 8).shape == (8, 16, 3)
    assert figures.sample_grid(images(9, 1), 8).shape == (16, 64, 3)


def test_sample_grid_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one image"):
        figures.sample_grid(images(0))


def test_figure_images_shows_each_image_with_its_caption_in_order():
    stored = images(5)
    figure = drawn(figures.figure_images(stored, [str(k) for k in IDS[:5]], n_columns=3, heading="$five_images"))
    assert len(thumbnails(figure)) == 5
    for axes, image, object_id in zip(figure.axes, stored, IDS, strict=False):
        np.testing.assert_array_equal(axes.images[0].get_array(), image)
        assert axes.texts[0].get_text() == str(object_id)
    boxes = [axes.get_position() for axes in figure.axes]
    assert boxes[0].x0 == boxes[3].x0 < boxes[1].x0 < boxes[2].x0
    assert boxes[3].y1 < boxes[0].y0
    assert "$five_images" in texts(figure)


def test_neighboring_captions_do_not_touch():
    captions = ["-8123456789012345678", "9223372036854775807"]
    figure = figures.figure_images(images(2), captions, thumbnail=0.5)
    drawn(figure)
    first, second = (axes.texts[0].get_window_extent() for axes in figure.axes)
    assert first.x1 < second.x0


def test_titles_must_be_as_many_as_images():
    with pytest.raises(ValueError, match="got 1 titles and 2 images"):
        figures.figure_images(images(2), ["one"])


def test_an_empty_grid_says_so():
    assert "none" in texts(drawn(figures.figure_images(images(0))))


def test_real_and_generated_stand_side_by_side():
    real, generated = images(4), images(3, seed=1)
    figure = drawn(figures.figure_samples(real, generated, n_columns=2))
    shown = thumbnails(figure)
    np.testing.assert_array_equal(shown, np.concatenate([real, generated]))
    right = [axes.get_position().x0 for axes in figure.axes[4:]]
    assert min(right) > max(axes.get_position().x1 for axes in figure.axes[:4])
    assert {"Real", "Generated"} <= set(texts(figure))


def test_rows_show_the_objects_of_each_range_in_three_layers():
    reals, reconstructions, residuals = (images(6, seed=seed) for seed in range(3))
    values = np.array([0.5, 1.5, np.nan, 3.0, 9.0, 1.0])
    ranges = [(1.0, 3.0), (3.0, np.inf), (-np.inf, -5.0)]
    figure = drawn(
        figures.figure_rows(
            reals, reconstructions, residuals, values, ranges, object_ids=IDS, value_name="score_disc_sigma"
        )
    )
    expected = [layer[rows] for rows in ([1, 5], [3, 4]) for layer in (reals, reconstructions, residuals)]
    np.testing.assert_array_equal(thumbnails(figure), np.concatenate(expected))
    found = texts(figure)
    headings = {"score_disc from 1 to 3 σ", "score_disc above 3 σ", "score_disc below -5 σ"}  # noqa: RUF001
    assert headings <= set(found)
    assert "1.50\n-8123456789012345678" in found
    assert "no object here" in found
    assert found.count("residual") == 2


def test_rows_need_values_for_all_images():
    with pytest.raises(ValueError, match="one value for each image"):
        figures.figure_rows(images(2), images(2), images(3), np.zeros(2), [(0, 1)])


def test_top_shows_ranks_values_and_exact_ids():
    figure = drawn(figures.figure_top(images(6), IDS, np.arange(6.0), first_rank=10, n_columns=4))
    captions = [axes.texts[0].get_text() for axes in figure.axes]
    assert captions[0] == "#10   0.00\n43158859342174406"
    assert captions[2] == "#12   2.00\n9223372036854775807"
    assert len(captions) == 6
    assert "Top 6 by score_anom_conditional" in texts(figure)


def test_top_stacks_reconstruction_and_residual_below_the_image():
    layers = [images(2, seed=seed) for seed in range(3)]
    figure = drawn(figures.figure_top(layers[0], IDS[:2], np.zeros(2), layers[1], layers[2]))
    np.testing.assert_array_equal(thumbnails(figure), np.concatenate(layers))
    assert {"image", "reconstruction", "residual"} <= set(texts(figure))


def test_top_of_nothing_is_a_figure():
    drawn(figures.figure_top(images(0), IDS[:0], np.zeros(0)))


def test_disagreement_picks_what_one_score_takes_and_another_misses():
    scores = {
        "a": np.array([5.0, 4.0, 3.0, 0.0, np.nan, 0.0]),
        "b": np.array([5.0, 0.0, 3.0, 4.0, 9.0, np.nan]),
    }
    panels = figures.choose_disagreement(scores, n_top=3, n_shown=2)
    assert {name: rows.tolist() for name, rows in panels.items()} == {
        "a: the top 3": [0, 2],
        "b: the top 3": [4, 3],
        "a, not b: 2 of 3": [1, 2],
        "b, not a: 2 of 3": [4, 3],
    }


def test_disagreement_of_equal_scores_is_empty():
    scores = np.arange(5.0)
    panels = figures.choose_disagreement({"a": scores, "b": scores}, n_top=2)
    assert len(panels["a, not b: 0 of 2"]) == 0


def test_figure_disagreement_shows_every_panel():
    panels = {"one": (images(4), [str(k) for k in IDS[:4]]), "two": (images(0), None), "three": (images(1), None)}
    figure = drawn(figures.figure_disagreement(panels, n_columns=3, n_across=2))
    assert len(thumbnails(figure)) == 5
    assert {"one", "two", "three", "none", str(IDS[1])} <= set(texts(figure))


def test_score_histograms_have_unit_area_and_the_plane_counts_every_object():
    gen, disc, anom = np.random.default_rng(0).normal(size=(3, 4000)) * 2
    gen[:3] = np.nan
    figure = drawn(figures.figure_scores(gen, disc, anom))
    left, right = figure.axes[:2]
    steps = [patch.get_data() for patch in left.patches]
    assert len(steps) == 3
    for step in steps:
        np.testing.assert_allclose((step.values * np.diff(step.edges)).sum(), 1.0)
    assert left.get_yscale() == "log"
    assert right.collections[0].get_array().sum() == 3997
    quarters = sum(int(text.get_text().replace(",", "")) for text in right.texts)
    assert quarters == 3997
    above = np.isfinite(gen) & (gen > 3) & (disc > 3)
    assert f"{above.sum()}" in [text.get_text() for text in right.texts]
    assert "3,997 objects (3 without a score left out)" in texts(figure)


def test_the_plane_can_be_colored_by_the_combined_score():
    gen, disc = np.zeros(4), np.zeros(4)
    figure = drawn(figures.figure_scores(gen, disc, np.array([1.0, 2.0, 3.0, 6.0]), color_by_anom=True))
    assert figure.axes[1].collections[0].get_array().tolist() == [3.0]


def test_constant_scores_are_drawn_and_none_at_all_are_refused():
    drawn(figures.figure_scores(np.ones(5), np.ones(5), np.ones(5)))
    with pytest.raises(ValueError, match="no object of 2"):
        figures.figure_scores(np.full(2, np.nan), np.ones(2), np.ones(2))


def test_losses_have_a_panel_each_with_the_recorded_values():
    metrics = {
        "iteration": np.arange(100.0),
        "critic_loss": np.arange(100.0) ** 2,
        "a": np.ones(100),
        "b": np.ones(100),
    }
    metrics["critic_loss"][5] = np.nan
    figure = drawn(figures.figure_losses(metrics))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["critic_loss", "a", "b"]
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), metrics["critic_loss"])
    assert figure.axes[0].lines[1].get_ydata()[50] == 2500


def test_losses_need_an_iteration():
    with pytest.raises(ValueError, match="metrics must hold iteration"):
        figures.figure_losses({"critic_loss": np.zeros(3)})


def test_recovery_shows_recall_by_class_and_by_strength():
    classes = ["ring", "merger", "merger", "merger", "merger", "ring"]
    found = {"score": np.array([True, True, False, False, False, True]), "brightness": np.zeros(6, bool)}
    strength = np.array([9.0, 0.1, 0.2, 0.3, np.nan, 10.0])
    figure = drawn(figures.figure_recovery(classes, found, {"strength": strength}, n_bins=2))
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["merger  (4)", "ring  (2)"]
    assert left.lines[0].get_xdata().tolist() == [0.25, 1.0]
    np.testing.assert_allclose(right.lines[0].get_xdata(), [0.2, 9.5])
    np.testing.assert_allclose(right.lines[0].get_ydata(), [1 / 3, 1.0])
    assert right.get_xscale() == "log"
    low, high = left.collections[0].get_segments()[0][:, 0]
    np.testing.assert_allclose((low, high), (0.1, 0.5))  # Wilson's interval of 1 in 4, by hand


def test_recovery_of_nothing_planted_is_refused():
    with pytest.raises(ValueError, match="0 planted"):
        figures.figure_recovery([], {})


def test_recovery_is_shown_against_several_numbers_in_rows_of_three():
    found = {"score": np.array([True, False, True])}
    against = {f"number {each}": np.arange(3.0) for each in range(4)}
    figure = drawn(figures.figure_recovery(["a", "b", "b"], found, against))
    assert [axes.get_xlabel() for axes in figure.axes] == ["recall", *against]
    assert len({round(axes.get_position().y0, 3) for axes in figure.axes}) == 2


def test_orders_have_a_panel_a_kind_and_metric_and_baselines_are_hollow():
    metrics = {"auroc": 0.7, "auroc_low": 0.6, "auroc_high": 0.8, "average_precision": 0.1, "n": 100, "n_odd": 5}
    found = {kind: {"score": metrics, "random": metrics | {"auroc": 0.5}} for kind in ("ring", "trail")}
    figure = drawn(figure_orders(found, ("random",)))
    assert len(figure.axes) == 4
    first = figure.axes[0]
    assert [label.get_text() for label in first.get_yticklabels()] == ["score", "random"]
    bar, point, _, hollow = first.lines[:4]
    assert bar.get_xdata().tolist() == [0.6, 0.8]
    assert point.get_xdata() == [0.7]
    assert (hollow.get_markerfacecolor(), point.get_markerfacecolor() == "white") == ("white", False)


def test_a_kind_that_lacks_an_order_keeps_the_others_in_their_rows():
    metrics = {"auroc": 0.7, "average_precision": 0.1, "n": 100, "n_odd": 5}
    found = {
        "a": {"score": metrics, "random": metrics},
        "b": {"score": metrics, "interest": metrics, "random": metrics},
    }
    figure = drawn(figure_orders(found, ("random",)))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["score", "interest", "random"]
    rows = [line.get_ydata()[0] for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert rows == [0, 2]


def test_a_grid_writes_every_part_in_its_cell():
    figure = drawn(figure_grid(np.array([[0.0, 1.0], [0.25, 0.5]]), ["a", "b"], ["x", "y"], title="part"))
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.00", "1.00", "0.25", "0.50"]


def test_weight_sweep_writes_every_number():
    overlap = np.array([[1.0, 0.25], [0.25, 1.0]])
    figure = drawn(figures.figure_weight_sweep([0.0, 0.3], overlap, overlap**0.5))
    left, right = figure.axes
    assert [text.get_text() for text in left.texts] == ["1.00", "0.25", "0.25", "1.00"]
    assert [text.get_text() for text in right.texts] == ["1.00", "0.50", "0.50", "1.00"]
    assert [label.get_text() for label in left.get_xticklabels()] == ["0", "0.3"]


def test_weight_sweep_needs_square_matrices():
    with pytest.raises(ValueError, match="2 weights need"):
        figures.figure_weight_sweep([0.0, 0.3], np.ones((3, 3)), np.ones((2, 2)))


def test_real_images_are_dark_thumbnails_on_white():
    if not HSC.is_dir():
        pytest.skip(f"no real images: {HSC} is absent")
    stored = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in sorted(HSC.glob("*.png"))[:6]])
    figure = figures.figure_top(stored, IDS, stored.mean((1, 2, 3)))
    assert isinstance(figure, Figure)
    stream = io.BytesIO()
    figure.savefig(stream, dpi=80)
    picture = np.asarray(Image.open(stream).convert("RGB")).astype(float)
    assert (picture[:5] == 255).all()
    axes = figure.axes[0].get_position()
    height, width = picture.shape[:2]
    rows = slice(int((1 - axes.y1) * height) + 3, int((1 - axes.y0) * height) - 3)
    columns = slice(int(axes.x0 * width) + 3, int(axes.x1 * width) - 3)
    np.testing.assert_allclose(picture[rows, columns].mean((0, 1)), stored[0].mean((0, 1)), atol=6)


def test_the_dark_form_has_light_ink_on_dark_ground_and_keeps_what_carries_a_meaning():
    from matplotlib import colormaps
    from matplotlib.colors import to_rgba
    from matplotlib.patheffects import withStroke

    from peculiar.figures.style import BLUE, INK, NIGHT, STARLIGHT, darkened, plot_figure, quiet_axes

    figure = plot_figure(4, 3)
    axes = figure.subplots()
    quiet_axes(axes, title="title", x="x", y="y")
    (line,) = axes.plot([0, 1], [0, 1], color=BLUE, label="line")
    points = axes.scatter([0, 1], [1, 0], c=[0.0, 1.0], cmap="viridis_r")
    figure.colorbar(points, ax=axes)
    note = axes.text(0.5, 0.5, "A", color=INK, path_effects=[withStroke(linewidth=2, foreground="white")])
    white = axes.text(0.2, 0.5, "B", color="white")
    axes.legend()
    assert darkened(figure) is figure
    assert to_rgba(figure.get_facecolor()) == to_rgba(axes.get_facecolor()) == to_rgba(NIGHT)
    inks = [axes.title, axes.xaxis.label, note, *axes.get_xticklabels(), *axes.get_legend().get_texts()]
    assert {to_rgba(each.get_color()) for each in inks} == {to_rgba(STARLIGHT)}
    assert (line.get_color(), white.get_color()) == (to_rgba(BLUE), to_rgba("white"))
    lowest = points.get_cmap()(0.0)
    assert lowest == colormaps["viridis"](0.0)  # the darkest, nearest to the ground
    darkened(figure)
    assert points.get_cmap()(0.0) == lowest


def test_bins_of_one_strength_are_one():
    from peculiar.figures.plots import _strength_bins

    bins, middle = _strength_bins(np.array([1.0, 1.0, 1.0, 2.0, 2.0, np.nan, 3.0]), 6)
    assert middle.tolist() == [1.0, 2.0, 3.0]
    assert [len(rows) for rows in bins] == [3, 2, 1]
