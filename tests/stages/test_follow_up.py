import shutil

import numpy as np
import pytest
from astropy.table import Table

from peculiar import Atlas


@pytest.fixture(scope="module")
def followed(ranked, inputs, tmp_path_factory):
    """An atlas whose pixels are of a known size, with a target list."""
    folder = tmp_path_factory.mktemp("followed") / "atlas"
    shutil.copytree(ranked, folder)
    atlas = Atlas(folder)
    run = atlas.follow_up(
        n=5, where="dec > 1.5", observatory="Subaru", date="2026-12-01", until="2027-02-01", magnitudes=("magnitude",)
    )
    return atlas, run, folder / "follow-up" / "main"


def test_targets_are_the_first_that_pass_with_ids_to_the_last_digit(followed):
    atlas, run, home = followed
    wanted = atlas.select("dec > 1.5")[:5]
    table = Table.read(home / "targets.ecsv")
    np.testing.assert_array_equal(table["object_id"], wanted)
    assert table["object_id"].dtype == np.int64
    assert run.outputs["n_objects"] == 5
    known = atlas.scores(wanted)
    np.testing.assert_allclose(table["ra"], known["ra"])
    np.testing.assert_allclose(table["magnitude"], known["magnitude"])
    assert table["ra"].unit == "deg"
    assert table["dark_hours"].unit == "h"
    assert list(table["priority"]) == [1, 2, 3, 4, 5]
    assert (table["dark_hours"] > 2).all()


def test_the_forms_for_tools_say_the_same(followed):
    _, _, home = followed
    table, plain, tom = (Table.read(home / f"targets{each}") for each in (".ecsv", ".csv", "_tom.csv"))
    np.testing.assert_array_equal(plain["object_id"], table["object_id"])
    np.testing.assert_allclose(tom["ra"], table["ra"])
    assert set(tom["type"]) == {"SIDEREAL"}
    first = (home / "starlist.txt").read_text().splitlines()[0]
    assert first[16:27].replace(" ", ":") == table["ra_hms"][0]
    assert len(first.split()[0]) <= 15


def test_each_has_a_chart_and_the_page_shows_them(followed):
    atlas, _, home = followed
    page = (home / "targets.html").read_text()
    for object_id in Table.read(home / "targets.ecsv")["object_id"]:
        assert (home / "charts" / f"{object_id}.png").stat().st_size > 5_000
        assert f"charts/{object_id}.png" in page
    assert "night.png" in page
    assert "season.png" in page
    assert next(each for each in atlas.status() if each.folder == "follow-up/main").state == "complete"


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"where": "dec > 80"}, ValueError, "no object passes"),
        ({"objects": ("4.3e16",)}, KeyError, "no object with id or source"),
        ({"angle": 30.0}, ValueError, "arcseconds of a pixel"),
        ({"through": (1.0, 2.0, 3.0, 4.0)}, ValueError, "for one object of --objects"),
        ({"observatory": "Atlantis"}, ValueError, "no observatory 'Atlantis'"),
        ({"observatory": "Subaru", "date": "2026-12-01", "until": "2026-11-01"}, ValueError, "ends after it begins"),
        ({"date": "2026-12-01"}, ValueError, "need an observatory"),
        ({"magnitudes": ("u_mag",)}, KeyError, "no column u_mag"),
        ({"n": 0}, ValueError, "from 1 to"),
        ({"slit": (1.0,)}, ValueError, "WIDTH,LENGTH"),
    ],
)
def test_what_cannot_be_observed_says_why_and_leaves_nothing_behind(ranked, tmp_path, options, error, said):
    atlas = Atlas(shutil.copytree(ranked, tmp_path / "atlas"))
    with pytest.raises(error, match=said):
        atlas.follow_up(**options)
    assert not (atlas.folder / "follow-up" / "main" / "run.json").exists()


def test_an_object_without_a_position_is_left_out_and_counted(ranked, inputs, tmp_path):
    atlas = Atlas(shutil.copytree(ranked, tmp_path / "atlas"))
    ids = tuple(str(each) for each in inputs.object_id[3:6])
    run = atlas.follow_up(objects=ids)
    assert run.outputs["n_without_position"] == 1
    assert [str(each) for each in Table.read(atlas.folder / "follow-up/main/targets.ecsv")["object_id"]] == [
        ids[0],
        ids[2],
    ]
    with pytest.raises(ValueError, match="none of these objects has a position"):
        atlas.follow_up(objects=ids[1:2], name="other")


def test_a_slit_is_drawn_where_the_scale_is_known(inputs, trained, tmp_path):
    from peculiar.figures.follow_up import Slit, figure_finding

    image = inputs.images[0]
    with_slit = figure_finding(image, heading="x", pixel_scale=0.168, slit=Slit(angle=40.0))
    without = figure_finding(image, heading="x", pixel_scale=None, slit=Slit(angle=40.0))
    assert len(with_slit.axes[0].patches) == len(without.axes[0].patches) + 1
    corners = with_slit.axes[0].patches[-1].get_xy()[:4] * 0.168
    np.testing.assert_allclose(np.linalg.norm(corners[1] - corners[2]), 10.0)
    np.testing.assert_allclose(np.linalg.norm(corners[0] - corners[1]), 1.0)
