import json

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from peculiar import Atlas
from peculiar.joined import Joined
from peculiar.ranking import Ranking
from peculiar.stages.mask import MaskConfig, mask
from peculiar.survey import Table

# Object k of the made catalog stands at ra = 150 + k / 100, dec = 2 - k / 100; object 4 stands nowhere.
FIRST_TEN = "icrs\nbox(150.045,1.955,0.096,0.096,0)\n"
EVEN_LATER = "icrs\n" + "".join(f'circle({150 + k / 100},{2 - k / 100},5")\n' for k in range(6, 40, 2))
NULL = None


@pytest.fixture
def folder(copy, ranked):
    return copy(ranked)


@pytest.fixture
def written(tmp_path):
    def write(text, name="mask.reg"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


@pytest.fixture
def flagged(folder, inputs, tmp_path):
    """The atlas with flags: numbers of which one is missing, truth, and truth of which some is missing."""
    lines = [
        f"{each},{'' if k == 7 else k % 3},{k < 5},{'' if k > 60 else k < 20}"
        for k, each in enumerate(inputs.object_id.tolist())
    ]
    (tmp_path / "flags.csv").write_text("\n".join(["object_id,saturated,i_bright,g_bright", *lines]))
    Atlas(folder).add_columns(tmp_path / "flags.csv")
    return folder


def column(folder, inputs, name="is_masked"):
    """A mask's column in the order of the made catalog."""
    rows = Joined(folder).rows(inputs.object_id)
    return rows[name].to_pylist()


def standing(folder, place="masks/main"):
    return next(each for each in Atlas(folder).status() if each.folder == place)


def test_masks_are_columns_of_the_survey_and_of_its_rankings(folder, inputs, written):
    run = mask(folder, MaskConfig(regions=(written(FIRST_TEN), written(EVEN_LATER, "b.reg"))))
    expected = [k < 10 or (k < 40 and k % 2 == 0) for k in range(64)]
    n_masks = [(k < 10) + (6 <= k < 40 and k % 2 == 0) for k in range(64)]
    expected[4] = n_masks[4] = NULL
    assert column(folder, inputs) == expected
    assert column(folder, inputs, "n_masks") == n_masks
    assert (run.outputs["n_objects"], run.outputs["n_masked"], run.outputs["n_without_position"]) == (64, 24, 1)
    assert [(each["n_shapes"], each["n_inside"]) for each in run.outputs["masks"]] == [(1, 9), (17, 17)]
    atlas = Atlas(folder)
    ids = set(inputs.object_id[np.array([each is False for each in expected])].tolist())
    assert set(atlas.select("is_masked = 0").tolist()) == ids  # the object that is nowhere is in neither
    assert len(atlas.select("is_masked = 1 and n_masks = 2")) == 2
    assert len(atlas.select("missing(is_masked)")) == 1
    assert "is_masked" in Ranking(folder).schema.names


def test_all_of_the_files_may_be_asked_for(folder, inputs, written):
    config = MaskConfig(regions=(written(FIRST_TEN), written(EVEN_LATER, "b.reg")), combine="all")
    run = mask(folder, config, name="every")
    masked = column(folder, inputs, "is_masked-every")
    assert [k for k, each in enumerate(masked) if each] == [6, 8]
    assert run.outputs["n_masked"] == 2
    assert "inside all of them" in (folder / "masks" / "every" / "mask.html").read_text()


def test_flags_are_masks_and_need_no_position(flagged, inputs):
    run = mask(flagged, MaskConfig(flags=("saturated", "i_bright")))
    assert column(flagged, inputs) == [k < 5 or (k % 3 != 0 and k != 7) for k in range(64)]
    assert run.outputs["n_without_position"] == 0
    assert [each["n_inside"] for each in run.outputs["masks"]] == [41, 5]
    assert run.inputs["files"] == {}


def test_true_and_false_may_be_missing_and_is_not_inside_then(flagged, inputs):
    mask(flagged, MaskConfig(flags=("g_bright",)))
    assert column(flagged, inputs) == [k < 20 for k in range(64)]


def test_flags_regions_and_mocs_go_together(flagged, inputs, written, tmp_path):
    mocpy = pytest.importorskip("mocpy")
    from astropy import units

    cone = mocpy.MOC.from_cone(lon=150.2 * units.deg, lat=1.8 * units.deg, radius=0.1 * units.deg, max_depth=14)
    cone.save(tmp_path / "moc.json", format="json")
    config = MaskConfig(flags=("i_bright",), regions=(written(FIRST_TEN),), mocs=(tmp_path / "moc.json",))
    run = mask(flagged, config)
    apart = np.hypot((np.arange(64) - 20) / 100, (np.arange(64) - 20) / 100)
    expected = [int(k < 5) + int(k < 10) + int(apart[k] < 0.1) for k in range(64)]
    expected[4] = NULL
    assert column(flagged, inputs, "n_masks") == expected
    assert [each["kind"] for each in run.outputs["masks"]] == ["flag", "region file", "MOC"]


def test_fractions_are_told_by_sample(folder, inputs, written):
    config = MaskConfig(regions=(written(FIRST_TEN),), samples="bright: magnitude < 20.2; first: ra < 150.005")
    run = mask(folder, config)
    found = run.outputs["fractions"]
    assert list(found) == ["all", "bright", "first"]
    assert (found["all"]["n"], found["all"]["n_inside"]) == (63, 9)
    assert found["all"]["fraction"] == pytest.approx(9 / 63)
    assert (found["first"]["n"], found["first"]["n_inside"], found["first"]["high"]) == (1, 1, 1)
    bright = [k for k in range(64) if k % 10 < 4 and k != 4]
    assert (found["bright"]["n"], found["bright"]["n_inside"]) == (len(bright), sum(k < 10 for k in bright))
    assert json.loads((folder / "masks/main/run.json").read_text())["outputs"]["fractions"] == found
    page = (folder / "masks/main/mask.html").read_text()
    assert "bright" in page
    assert "sky.png" in page
    assert (folder / "masks/main/sky.png").stat().st_size > 5_000


def test_a_ranking_has_samples_above_3_sigma_of_its_own(folder, inputs, written):
    run = mask(folder, MaskConfig(regions=(written(FIRST_TEN),), of="rankings/main"))
    ranking = Ranking(folder)
    n_above = int((ranking.column("score_disc_sigma") > 3).sum())
    found = run.outputs["fractions"]
    assert list(found) == ["all", "score_disc", "score_gen", "score_anom"]
    assert found["score_disc"]["n"] in (n_above, n_above - 1)
    assert found["score_disc"]["n"] > 0 or found["score_disc"]["fraction"] is None
    assert "is_masked" in ranking.schema.names
    assert "is_masked" not in Joined(folder).schema.names


def test_a_changed_file_is_read_anew_by_the_same_command(folder, inputs, written):
    path = written(FIRST_TEN)
    first = mask(folder, MaskConfig(regions=(path,)))
    version = Table(folder / "masks/main/table.lance").version
    again = mask(folder, MaskConfig(regions=(path,)))
    assert again.inputs == first.inputs
    written('icrs\ncircle(150,2,5")\n')
    changed = mask(folder, MaskConfig(regions=(path,)))
    assert changed.inputs["files"][str(path)] != first.inputs["files"][str(path)]
    assert [k for k, each in enumerate(column(folder, inputs)) if each] == [0]
    # Products name the versions of the tables that they are made of: theirs is no longer this one.
    assert Joined(folder).versions["masks/main/table.lance"] > version


def test_a_file_that_cannot_be_read_leaves_the_mask_that_stands(folder, inputs, written):
    path = written(FIRST_TEN)
    mask(folder, MaskConfig(regions=(path,)))
    before = column(folder, inputs)
    written("image\ncircle(1,2,3)")
    with pytest.raises(ValueError, match="image coordinates are pixels"):
        mask(folder, MaskConfig(regions=(path,)))
    assert column(folder, inputs) == before
    assert standing(folder).state == "stale"
    assert standing(folder).detail.endswith("has changed since")
    written(FIRST_TEN)
    assert standing(folder).state == "complete"


def test_another_config_needs_a_word(folder, written):
    path = written(FIRST_TEN)
    mask(folder, MaskConfig(regions=(path,)))
    with pytest.raises(ValueError, match="combine was 'any', now 'all'"):
        mask(folder, MaskConfig(regions=(path,), combine="all"))
    mask(folder, MaskConfig(regions=(path,), combine="all"), replace=True)


def test_objects_that_came_since_are_to_come(folder, made, written, tmp_path):
    config = MaskConfig(regions=(written(FIRST_TEN),))
    mask(folder, config)
    assert standing(folder).state == "complete"
    made.write(tmp_path / "more", made.images(2, seed=9), ["new1.png", "new2.png"])
    Atlas(folder).ingest(tmp_path / "more")
    assert (standing(folder).state, standing(folder).detail) == ("behind", "2 of 66 objects to come")
    assert mask(folder, config).outputs["n_without_position"] == 3
    assert standing(folder).state == "complete"


def test_masks_may_be_flags_of_another_but_not_of_themselves(flagged, inputs, written):
    mask(flagged, MaskConfig(flags=("i_bright",)))
    run = mask(flagged, MaskConfig(flags=("is_masked", "saturated"), combine="all"), name="both")
    assert column(flagged, inputs, "is_masked-both") == [k < 5 and k % 3 != 0 for k in range(64)]
    assert set(run.reads) == {"survey", "masks/main"}
    with pytest.raises(ValueError, match="flag is_masked is made of masks/main itself"):
        mask(flagged, MaskConfig(flags=("is_masked",)), replace=True)
    with pytest.raises(ValueError, match="flag is_masked-both is made of masks/main itself"):
        mask(flagged, MaskConfig(flags=("is_masked-both",)), replace=True)
    mask(flagged, MaskConfig(flags=("saturated",)), replace=True)
    assert standing(flagged, "masks/both").state == "stale"


@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        ({}, ValueError, "no mask is given; name columns by flags"),
        ({"flags": ("nothing",)}, ValueError, "survey has no flag 'nothing'; of numbers it has: .*magnitude"),
        ({"flags": ("source",)}, ValueError, "survey has no flag 'source'"),
        ({"flags": ("magnitude", "magnitude")}, ValueError, "each mask is given once, got magnitude twice"),
        ({"regions": ("nowhere.reg",)}, FileNotFoundError, "there is no file nowhere.reg"),
        ({"flags": ("magnitude",), "samples": "ra < 3"}, ValueError, "a sample is written NAME: FILTER"),
        ({"flags": ("magnitude",), "samples": "all: ra < 3"}, ValueError, "none of them all"),
        ({"flags": ("magnitude",), "samples": "few: ra < 3"}, ValueError, "no object passes the filter of sample few"),
        ({"flags": ("magnitude",), "of": "scores/main"}, ValueError, "of must be survey, rankings/NAME"),
        ({"flags": ("magnitude",), "of": "catalogs/none"}, FileNotFoundError, "catalogs/none is not complete"),
        ({"combine": "some"}, ValueError, "combine must be any or all, got 'some'"),
    ],
)
def test_what_is_no_mask_is_refused_and_leaves_nothing(ranked, options, error, why):
    with pytest.raises(error, match=why):
        mask(ranked, MaskConfig(**options))
    assert not (ranked / "masks").exists()


def test_a_survey_without_positions_takes_flags_only(flagged, inputs, written):
    Atlas(flagged).survey.open().update({"ra": "NULL"})
    with pytest.raises(ValueError, match="no object of survey has a position"):
        mask(flagged, MaskConfig(regions=(written(FIRST_TEN),)))
    assert mask(flagged, MaskConfig(flags=("i_bright",))).outputs["n_masked"] == 5
    assert not (flagged / "masks/main/sky.png").exists()


def test_every_object_has_one_row(folder, inputs, written):
    mask(folder, MaskConfig(regions=(written(FIRST_TEN),)))
    assert_array_equal(np.sort(Table(folder / "masks/main/table.lance").object_ids()), np.sort(inputs.object_id))


def test_the_map_goes_on_through_ra_0():
    from peculiar.stages.mask import _unwrapped

    assert_array_equal(_unwrapped(np.array([359.0, 1.0, 0.0, 358.0])), [-1, 1, 0, -2])
    assert_array_equal(_unwrapped(np.array([10.0, 150.0])), [10.0, 150.0])
    assert_array_equal(_unwrapped(np.array([7.0])), [7.0])
