import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.testing import assert_allclose, assert_array_equal

from peculiar.figures.maps import (
    choose_map_images,
    figure_map,
    figure_map_boxes,
    figure_map_images,
    figure_maps_compared,
)

N = 400


def drawn(figure):
    """Draw; every visible text must lie inside the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    # Tick labels beyond the axes' limits are never drawn, but findobj returns them.
    sides = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    ticks = {label for axis in sides for label in axis.get_ticklabels(which="both")}
    for text in figure.findobj(mpl.text.Text):
        if text.get_text() and text.get_visible() and text not in ticks:
            box = text.get_window_extent(canvas.get_renderer())
            assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= -1, text
    return figure


def places(n=N, seed=0):
    return np.random.default_rng(seed).uniform(-3, 9, (n, 2)).astype(np.float32)


def scores(n=N):
    return np.random.default_rng(1).normal(size=n)


def clouds(axes):
    """The points without a value, and those with one, in drawing order."""
    return [each for each in axes.collections if isinstance(each, mpl.collections.PathCollection)]


def texts(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()]


def pictures(n, size=8, seed=0):
    return np.random.default_rng(seed).integers(1, 255, (n, size, size, 3), np.uint8)


@pytest.mark.parametrize("is_dark", [False, True])
def test_the_highest_are_drawn_last_and_those_without_a_value_first(is_dark):
    where, values = places(), scores()
    values[5], where[7] = np.nan, np.nan
    figure = drawn(figure_map(where, values, name="score_disc", is_dark=is_dark))
    gray, colored = clouds(figure.axes[0])
    assert_array_equal(gray.get_offsets(), where[[5]])
    shown = np.delete(np.arange(N), [5, 7])
    order = shown[np.argsort(values[shown])]
    assert_array_equal(colored.get_offsets(), where[order])
    assert_array_equal(colored.get_array(), values[order])
    assert gray.get_rasterized()
    assert colored.get_rasterized()
    assert_allclose(colored.get_clim(), np.percentile(values[shown], [1, 99]))
    assert "score_disc (percentiles 1 to 99)" in texts(figure)
    assert "399 objects" in texts(figure)


@pytest.mark.parametrize("is_dark", [False, True])
def test_colors_can_be_ordered_in_gray_and_the_highest_stand_out_from_the_ground(is_dark):
    figure = figure_map(places(), scores(), name="score", is_dark=is_dark)
    steps = clouds(figure.axes[0])[1].get_cmap()(np.linspace(0, 1, 64))[:, :3]
    gray = steps @ [0.299, 0.587, 0.114]
    assert (np.diff(gray) > 0).all() if is_dark else (np.diff(gray) < 0).all()
    ground = np.dot(figure.get_facecolor()[:3], [0.299, 0.587, 0.114])
    assert abs(gray[-1] - ground) > 0.6


def test_a_map_of_one_value_or_of_none_is_drawn():
    for values in (np.ones(N), np.full(N, np.nan)):
        figure = drawn(figure_map(places(), values, name="score"))
        assert sum(len(each.get_offsets()) for each in clouds(figure.axes[0])) == N


def test_nothing_to_draw_and_values_of_other_objects_are_refused():
    with pytest.raises(ValueError, match="places hold no finite one of 3; nothing to draw"):
        figure_map(np.full((3, 2), np.nan), np.ones(3), name="score")
    with pytest.raises(ValueError, match="values must be one for each place, got 5 values and 400 places"):
        figure_map(places(), np.ones(5), name="score")


# --- maps beside one another


def test_maps_share_a_range_of_colors_and_tell_their_quality():
    names = ["Pixels", "Residual pixels", "Images", "Residuals"]
    maps = {name: places(seed=k) for k, name in enumerate(names)}
    qualities = {"Pixels": 0.123, "Images": -0.02, "Residuals": float("nan")}
    figure = drawn(figure_maps_compared(maps, scores(), name="score_disc", qualities=qualities))
    panels = figure.axes[:4]
    titles = [axes.get_title(loc="left") for axes in panels]
    assert titles == ["Pixels, R$^2$ = 0.12", "Residual pixels", "Images, R$^2$ = -0.02", "Residuals"]
    assert len({clouds(axes)[1].get_clim() for axes in panels}) == 1
    assert len(figure.axes) == 5  # one color bar for all


def test_maps_may_be_of_other_objects_and_be_any_number():
    maps = {name: places(n) for name, n in (("a", 30), ("b", 50), ("c", 20))}
    values = {name: scores(len(each)) for name, each in maps.items()}
    figure = drawn(figure_maps_compared(maps, values, name="score", is_dark=True))
    assert [len(clouds(axes)[1].get_offsets()) for axes in figure.axes[:3]] == [30, 50, 20]
    assert len(drawn(figure_maps_compared({"a": places()}, scores(), name="score")).axes) == 2
    with pytest.raises(ValueError, match="maps holds none"):
        figure_maps_compared({}, scores(), name="score")


# --- boxes


@pytest.mark.parametrize("n_boxes", [1, 4, 6, 8])
def test_boxes_stand_on_the_map_and_their_members_beside_it(n_boxes):
    boxes = np.array([[k, k, k + 1.0, k + 1.0] for k in range(n_boxes)])
    members = [pictures(9, seed=k) for k in range(n_boxes)]
    figure = drawn(figure_map_boxes(places(), boxes, members, values=scores(), name="score_disc"))
    patches = figure.axes[0].patches
    assert_allclose(
        [(*each.get_xy(), each.get_width(), each.get_height()) for each in patches],
        [(left, bottom, 1, 1) for left, bottom, _, _ in boxes],
    )
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert_array_equal(np.stack(shown), np.concatenate(members))
    letters = "ABCDEFGH"[:n_boxes]
    assert all(texts(figure).count(letter) == 2 for letter in letters)  # on the map and beside it
    corners = [axes.get_position() for axes in figure.axes]
    assert all(min(each.x0, each.y0, 1 - each.x1, 1 - each.y1) >= 0 for each in corners)


def test_a_map_without_boxes_or_values_and_an_empty_box_are_drawn():
    drawn(figure_map_boxes(places(), np.empty((0, 4)), []))
    figure = drawn(figure_map_boxes(places(), np.array([[0.0, 0, 1, 1]]), [pictures(0)]))
    assert "none" in texts(figure)
    with pytest.raises(ValueError, match="one array for each box, got 1 arrays and 0 boxes"):
        figure_map_boxes(places(), np.empty((0, 4)), [pictures(1)])


# --- images in place of points


def test_each_cell_shows_the_highest_of_its_objects():
    where = np.array([[0.0, 0.0], [0.1, 0.1], [0.9, 0.1], [1.0, 1.0], [0.05, 0.0], [np.nan, 0.5]])
    rows = choose_map_images(where, np.array([1.0, 3.0, -2.0, np.nan, 2.0, 9.0]), n_cells=2)
    assert rows.tolist() == [1, 2, 3]  # by value; NaN values last, NaN places never
    images = pictures(3)
    canvas = drawn(figure_map_images(where, rows, images, n_cells=2, title="Images")).axes[0].images[0].get_array()
    expected = np.full((16, 16, 3), 255, np.uint8)
    expected[8:, :8], expected[8:, 8:], expected[:8, 8:] = images
    assert_array_equal(canvas, expected)


def test_no_image_covers_another_whatever_the_cells():
    where, values = places(), scores()
    for n_cells in (1, 7, 24):
        rows = choose_map_images(where, values, n_cells=n_cells)
        assert len(rows) == len(set(rows)) <= n_cells**2
        assert rows[0] == values.argmax()
        images = np.full((len(rows), 8, 8, 3), 7, np.uint8)
        canvas = figure_map_images(where, rows, images, n_cells=n_cells, is_dark=True).axes[0].images[0].get_array()
        assert (canvas == 7).all(axis=2).sum() == 64 * len(rows)


def test_large_images_are_thinned_out_and_all_channels_become_color():
    rows = np.array([0, 1])
    figure = figure_map_images(places(), rows, np.zeros((2, 300, 300, 1), np.uint8), n_cells=4)
    assert figure.axes[0].images[0].get_array().shape[2] == 3
    assert max(figure.axes[0].images[0].get_array().shape) <= 4 * 96


def test_images_of_other_rows_are_refused():
    with pytest.raises(ValueError, match="one for each row, got 3 images and 2 rows"):
        figure_map_images(places(), np.array([0, 1]), pictures(3))
