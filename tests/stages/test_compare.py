import json
import shutil

import numpy as np
import pyarrow.csv
import pytest

from peculiar import Atlas
from peculiar.figures.compare import figure_against, figure_comparison, figure_explained

SAMPLES = "faint: magnitude > 20.3; near: inside(ra, dec, 150, 1, 150.3, 1, 150.3, 3)"


@pytest.fixture(scope="module")
def compared(ranked, tmp_path_factory):
    folder = shutil.copytree(ranked, tmp_path_factory.mktemp("compared") / "atlas")
    atlas = Atlas(folder)
    run = atlas.compare(
        properties=("magnitude", "brightness"), samples=SAMPLES, thresholds="magnitude > 20.3", scores=("score_disc",)
    )
    return atlas, run


def test_samples_are_filters_and_their_numbers_are_those_of_the_columns(compared):
    atlas, run = compared
    home = atlas.folder / "comparisons" / "main"
    rows = {
        (each["sample"], each["property"]): each
        for each in json.loads((home / "comparison.json").read_text())["compared"]
    }
    assert set(rows) == {(s, p) for s in ("faint", "near", "all") for p in ("magnitude", "brightness")}
    magnitude = np.array(atlas.ranking().column("magnitude"))
    faint = rows["faint", "magnitude"]
    assert faint["n"] == run.outputs["samples"]["faint"] == (magnitude > 20.3).sum()
    assert faint["above"] == 1.0
    assert faint["above_others"] == 0.0
    assert faint["auroc"] == 1.0
    assert rows["all", "magnitude"]["n_missing"] == 1
    table = pyarrow.csv.read_csv(home / "comparison.csv")
    assert table["median"].to_pylist()[0] == pytest.approx(faint["median"])


def test_a_page_shows_all_of_it(compared):
    atlas, _ = compared
    home = atlas.folder / "comparisons" / "main"
    page = (home / "compare.html").read_text()
    for name in ("comparison.png", "explained.png", "against.png"):
        assert name in page
        assert (home / name).stat().st_size > 5_000
    assert "faint" in page


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"samples": "score_disc_sigma > 3"}, "written NAME: FILTER"),
        ({"samples": "all: magnitude > 20"}, "written NAME: FILTER"),
        ({"samples": "a: magnitude > 20; a: magnitude > 21"}, "written NAME: FILTER"),
        ({"samples": "none: magnitude > 99"}, "no object passes the filter of sample none"),
        ({"samples": "every: brightness > -1"}, "every object passes"),
        ({"samples": "bad: magnitud > 3"}, "there is no column 'magnitud'"),
        ({"thresholds": "magnitude"}, "COLUMN > NUMBER"),
        ({"thresholds": "magnitude > much"}, "COLUMN > NUMBER"),
        ({"thresholds": "noise > 3"}, "COLUMN > NUMBER"),
    ],
)
def test_what_is_written_wrong_is_said(ranked, options, said):
    with pytest.raises(ValueError, match=said):
        Atlas(ranked).compare(properties=("magnitude",), **{"samples": SAMPLES, **options})
    assert not (ranked / "comparisons").exists()


def test_figures_take_what_is_missing_constant_or_strange():
    n = 40
    properties = {"none": np.full(n, np.nan), "one": np.ones(n), "a$b": np.arange(n) * 1.0}
    nobody, some = np.zeros(n, bool), np.arange(n) < 5
    drawn = figure_comparison(properties, {"no $": nobody, "some": some}, {"one": 0.5})
    assert len(drawn.axes) == 3
    drawn.canvas.draw()
    against = figure_against(np.arange(n) * 1.0, properties, score_name="score_disc")
    against.canvas.draw()
    bars = figure_explained({"score_disc": (0.5, {"a": 0.4, "b": -0.1}), "other": (0.1, {"a": 0.1})})
    bars.canvas.draw()
    assert len(bars.axes[0].patches) == 6
