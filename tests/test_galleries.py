from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from matplotlib.backends.backend_agg import FigureCanvasAgg

from peculiar.figures.card import Card, figure_card
from peculiar.figures.galleries import choose_extremes, figure_gallery, figure_labels, figure_score_histograms

LONG = "1234567890123456789"


def images(n, channels=3, size=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, channels), np.uint8)


def texts(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()]


def thumbnails(figure):
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def drawn(figure):
    """Draw; every visible text must lie inside the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    width, height = canvas.get_width_height()
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


# --- galleries


@given(arrays.arrays(np.float64, st.integers(0, 40), elements=st.floats(-5, 5) | st.just(np.nan)), st.integers(1, 25))
def test_extremes_are_the_largest_and_the_smallest(values, n_shown):
    anomalies, nominals = choose_extremes(values, n_shown)
    finite = np.sort(values[np.isfinite(values)])
    np.testing.assert_array_equal(values[nominals], finite[:n_shown])
    np.testing.assert_array_equal(values[anomalies], finite[::-1][:n_shown])


def test_ties_go_to_the_earlier_row():
    anomalies, nominals = choose_extremes(np.array([1.0, 1.0, np.nan, 1.0]), 2)
    assert anomalies.tolist() == nominals.tolist() == [0, 1]


def test_a_gallery_shows_every_object_in_its_place_with_its_caption():
    stored = images(25)
    captions = [f"{LONG}\n{each}.5" for each in range(25)]
    figure = drawn(figure_gallery(stored, captions, "Top 25 anomalies by score_forest"))
    for shown, image in zip(thumbnails(figure), stored, strict=True):
        np.testing.assert_array_equal(shown, image)
    assert {*captions, "Top 25 anomalies by score_forest"} <= set(texts(figure))
    places = [axes.get_position() for axes in figure.axes]
    assert len({round(each.x0, 6) for each in places}) == len({round(each.y0, 6) for each in places}) == 5


def test_a_gallery_of_nothing_says_so():
    assert "none" in texts(drawn(figure_gallery(images(0), [], "Top 0 nominals")))


# --- labels


def marked(axes):
    """Shape, color and number of the marks of each kind on a map, the gray points first."""
    return [(line.get_marker(), line.get_color(), len(line.get_xdata())) for line in axes.lines]


def test_labeled_objects_are_marked_on_the_map_and_shown_beside_it():
    places = np.random.default_rng(0).normal(size=(30, 2))
    labels = ["merger"] * 4 + ["artifact"] * 2 + ["unshown"] + [""] * 23
    stored = {"merger": images(4), "artifact": images(2, seed=1)}
    figure = drawn(figure_labels(places, labels, stored, map_name="residual"))
    gray, merger, artifact = marked(figure.axes[0])
    assert (gray[2], merger[2], artifact[2]) == (24, 4, 2)
    assert len({gray[0], merger[0], artifact[0]}) == len({gray[1], merger[1], artifact[1]}) == 3
    np.testing.assert_array_equal(np.array(figure.axes[0].lines[2].get_data()).T, places[4:6])
    assert len(thumbnails(figure)) == 6
    assert {"7 labeled of 30 on residual", "merger: 4", "artifact: 2"} <= set(texts(figure))


def test_many_labels_never_share_color_and_shape():
    names = [f"kind {each}" for each in range(20)]
    places = np.arange(40.0).reshape(20, 2)
    figure = figure_labels(places, names, {name: images(1) for name in names})
    marks = [each[:2] for each in marked(figure.axes[0])[1:]]
    assert len(set(marks)) == 20
    assert len({shape for shape, _ in marks[:7]}) == 7  # told apart without color


def test_a_label_too_few_is_refused():
    with pytest.raises(ValueError, match="one for each place, got 1 labels and 2 places"):
        figure_labels(np.zeros((2, 2)), ["a"], {})


# --- histograms


def heights(axes):
    """Counts of the first histogram in a panel."""
    return next(each for each in axes.patches if hasattr(each, "get_data")).get_data().values


def test_every_score_has_its_panel_and_every_finite_object_is_counted():
    random = np.random.default_rng(0)
    scores = {f"score_{each}": random.lognormal(size=500) for each in range(4)}
    scores["score_3"][:7] = np.nan
    scores["score_3"][7] = np.inf
    figure = drawn(figure_score_histograms(scores))
    assert [axes.get_title(loc="left").split("\n")[0] for axes in figure.axes] == list(scores)
    assert [heights(axes).sum() for axes in figure.axes] == [500, 500, 500, 492]
    assert "8 without" in figure.axes[3].get_title(loc="left")
    lines = [line.get_xdata()[0] for line in figure.axes[0].lines]
    np.testing.assert_allclose(lines, np.percentile(scores["score_0"], [50, 90, 99]))


def test_a_constant_score_and_none_at_all_are_drawn():
    figure = drawn(figure_score_histograms({"score_flat": np.ones(9), "score_none": np.full(3, np.nan)}))
    assert heights(figure.axes[0]).sum() == 9
    assert "no value" in texts(figure)


def test_no_score_is_refused():
    with pytest.raises(ValueError, match="at least one score"):
        figure_score_histograms({})


# --- card


def card(**parts):
    needed = {"heading": LONG, "image": images(1)[0], "reconstruction": images(1)[0], "residual": images(1)[0]}
    return Card(**needed, gen_map=np.ones((8, 8)), disc_map=np.arange(64.0).reshape(8, 8), **parts)


def whole(n_channels=10, n_scores=5, n_columns=30, n=6):
    ids = [f"{LONG}\n{each}" for each in range(n)]
    return {
        "subheading": "galaxy.png",
        "bands": {"red": 3.0, "green": 1.0, "blue": 0.0},
        "critic_channels": [(each, 0.1 / (each + 1)) for each in range(n_channels)],
        "scores": {f"score_of_some_{each}_robust": (1.5, min(100.0, 25.0 * each)) for each in range(n_scores)},
        "place": np.array([0.5, -3.0]),
        "background": np.random.default_rng(0).normal(size=(100, 2)),
        "galleries": {"like it": (images(n), ids), "typical": (images(n, seed=1), ids)},
        "row": {f"column_{each}": str(each) for each in range(n_columns)},
    }


def test_a_card_shows_all_that_there_is():
    figure = drawn(figure_card(card(**whole())))
    assert len(thumbnails(figure)) == 5 + 12
    shown = texts(figure)
    assert {LONG, "image", "reconstruction", "residual", "score_gen, by pixel", "score_disc, by place"} <= set(shown)
    assert {"score_gen by band", "score_disc by critic channel", "scores", "place on the map"} <= set(shown)
    assert {"like it", "typical", "Catalog", "column_29", "25.0", "100.00"} <= set(shown)
    bands = next(axes for axes in figure.axes if axes.get_title(loc="left") == "score_gen by band")
    assert [bar.get_width() for bar in bands.patches] == [0.75, 0.25, 0.0]
    place = next(axes for axes in figure.axes if axes.get_title(loc="left") == "place on the map")
    assert [tuple(float(each[0]) for each in line.get_data()) for line in place.lines[1:]] == [(0.5, -3.0)] * 2


def test_a_card_closes_up_where_parts_are_absent():
    parts = whole()
    tall = figure_card(card(**parts)).get_size_inches()
    for absent in (["galleries"], ["row"], ["bands", "critic_channels", "scores", "place"]):
        figure = drawn(figure_card(card(**{name: each for name, each in parts.items() if name not in absent})))
        assert figure.get_size_inches()[0] == tall[0]
        assert figure.get_size_inches()[1] < tall[1] - 0.5, absent
    assert len(drawn(figure_card(card())).axes) == 5


def test_where_light_is_foreign_stands_beside_the_other_maps_from_nothing_to_sure():
    chance = np.linspace(0, 0.4, 64).reshape(8, 8)
    figure = drawn(figure_card(card(foreign_map=chance)))
    assert "foreign light, chance" in texts(figure)
    assert len(figure.axes) == 6
    assert figure.axes[-1].images[0].get_clim() == (0.0, 1.0)
    boxes = [axes.get_window_extent() for axes in figure.axes]
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))


@pytest.mark.parametrize("kept", [["bands"], ["critic_channels"], ["scores"], ["place"], ["scores", "place", "bands"]])
def test_panels_never_overlap_whatever_there_is(kept):
    figure = drawn(figure_card(card(**{name: each for name, each in whole().items() if name in kept})))
    renderer = figure.canvas.get_renderer()
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes[5:]]
    assert len(boxes) == len(kept)
    assert all(a.x1 <= b.x0 + 1 for a, b in pairwise(boxes))


def test_panels_of_a_whole_card_do_not_overlap():
    figure = drawn(figure_card(card(**whole())))
    boxes = [axes.get_tightbbox(figure.canvas.get_renderer()) for axes in figure.axes[5:9]]
    assert all(a.x1 <= b.x0 + 1 for a, b in pairwise(boxes))


def test_more_columns_than_there_is_room_for_are_counted():
    shown = texts(drawn(figure_card(card(row={f"column_{each}": str(each) for each in range(60)}))))
    assert "and 13 more" in shown
    assert "column_46" in shown
    assert "column_47" not in shown


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 5), st.integers(1, 17), st.booleans())
def test_a_card_of_any_channels_and_any_number_of_neighbors_is_drawn(n_channels, n, is_blank):
    stored = np.zeros((1, 8, 8, n_channels), np.uint8) if is_blank else images(1, n_channels)
    parts = {"image": stored[0], "reconstruction": stored[0], "residual": stored[0], "heading": LONG}
    maps = {"gen_map": np.zeros((8, 8)), "disc_map": np.zeros((8, 8))}
    galleries = {"like it": (images(n, n_channels), [LONG] * n)}
    scores = {"score_gen": (0.0, np.nan), "score_disc": (np.nan, 0.0)}
    drawn(figure_card(Card(**parts, **maps, galleries=galleries, scores=scores, bands={"one": 0.0})))
