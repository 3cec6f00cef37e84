import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from numpy.testing import assert_array_equal

import peculiar
from peculiar import Atlas
from peculiar.run import read_run
from peculiar.survey import Table


def states(atlas):
    return {each.folder: each.state for each in atlas.status()}


def test_the_package_shows_the_atlas():
    assert peculiar.Atlas is Atlas
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        peculiar.Nonsense  # noqa: B018


def test_an_empty_atlas_is_absent_in_everything_and_nothing_is_made(tmp_path):
    atlas = Atlas(tmp_path / "atlas")
    assert set(states(atlas).values()) == {"absent"}
    assert repr(atlas) == f"Atlas({str(tmp_path / 'atlas')!r}, 0 objects)"
    assert not (tmp_path / "atlas").exists()


def test_the_top_is_ranked_and_has_all_columns(ranked, inputs):
    atlas = Atlas(ranked)
    top = atlas.top(10)
    opened = atlas.ranking()
    assert_array_equal(top["object_id"], opened.object_ids[opened.order()[:10]])
    assert_array_equal(top["rank"], np.arange(1, 11))
    assert_array_equal(atlas.top(3, by="score_gen")["score_gen"], np.sort(opened.column("score_gen"))[:-4:-1])
    assert len(atlas.top(1_000)) == 64
    assert str(top["ra"].unit) == "deg"
    assert top["score_anom_conditional"].description
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        atlas.top(0)


def test_objects_are_named_by_id_or_source_and_come_in_order(ranked, inputs):
    atlas = Atlas(ranked)
    asked = [inputs.names[3], int(inputs.object_id[2]), str(inputs.object_id[0])]
    assert atlas.object_ids(asked).tolist() == inputs.object_id[[3, 2, 0]].tolist()
    assert_array_equal(atlas.images(asked), inputs.images[[3, 2, 0]])
    assert atlas.scores(asked)["source"].tolist() == [inputs.names[each] for each in (3, 2, 0)]
    assert atlas.reconstructions(asked).shape == (3, 32, 32, 3)
    difference = atlas.images(asked).astype(int) - atlas.reconstructions(asked)
    assert_array_equal(atlas.residuals(asked), np.abs(difference))
    with pytest.raises(KeyError, match="no object with id or source 'other'"):
        atlas.images(["other"])


def test_scores_of_all_objects_mask_what_is_null(ranked, inputs):
    table = Atlas(ranked).scores()
    assert len(table) == 64
    row = table[table["object_id"] == inputs.object_id[4]]
    assert np.ma.is_masked(row["magnitude"][0]) or np.isnan(row["magnitude"][0])
    assert np.isfinite(table["score_anom_conditional"]).all()


def test_info_has_catalog_scores_and_the_rank_that_top_shows(ranked, inputs):
    atlas = Atlas(ranked)
    top = atlas.top(64)
    for place in (0, 5, 63):
        found = atlas.info(str(top["source"][place]))
        assert (found["object_id"], found["rank"], found["of"]) == (top["object_id"][place], place + 1, 64)
        assert found["score_gen"] == pytest.approx(top["score_gen"][place])
        assert "magnitude" in found


def test_info_before_scoring_has_the_catalog(ingested, inputs):
    found = Atlas(ingested).info(int(inputs.object_id[1]))
    assert found == {
        "object_id": inputs.object_id[1],
        "source": inputs.names[1],
        "ra": 150.01,
        "dec": 1.99,
        "magnitude": 20.05,
    }


def test_significance_is_that_of_the_null_that_is_given_or_estimated(ranked, inputs):
    atlas = Atlas(ranked)
    estimated = atlas.significance()
    assert (np.diff(estimated["p"]) >= 0).all()
    assert (estimated["false_discovery_rate"] >= estimated["p"]).all()
    given = atlas.significance("score_gen", null=inputs.object_id[:32])
    ordinary = atlas.ranking().column("score_gen")[np.isin(atlas.ranking().object_ids, inputs.object_id[:32])]
    expected = [(1 + (ordinary >= each).sum()) / 33 for each in given["score_gen"]]
    np.testing.assert_allclose(given["p"], expected)


def test_the_figure_of_the_top_is_drawn(ranked):
    figure = Atlas(ranked).figure_top(4)
    assert len(figure.axes) >= 4


def test_the_main_job_goes_on_where_it_stopped_and_does_all_that_is_left(copy, trained):
    """The networks were begun small by hand, as nobody waits for the presets here: `run` goes on with them."""
    atlas = Atlas(copy(trained))
    atlas.score(n_latent_steps=1)
    atlas.train_features(width=2, n_features=4, side=16, batch_size=16, n_steps=2)
    atlas.train_detector(width=2, side=16, batch_size=16, n_steps=2)
    home = atlas.folder / "scores" / "main"
    (home / "run.json").rename(home / "started.json")  # as a kill leaves it
    Table(home / "table.lance").open().delete("score_gen > 0 AND object_id < 0")
    assert states(atlas)["scores/main"] == "interrupted"
    run = atlas.run()
    assert (run.outputs["n_objects"], run.outputs["n_quarantined"]) == (64, 0)
    assert set(states(atlas).values()) == {"complete"}
    assert len(atlas.ranking()) == 64
    assert atlas.ranking().first_shown == "score_joint"
    assert read_run(home).config["n_latent_steps"] == 1
    assert read_run(atlas.folder).stage == "run"
    assert (atlas.folder / "release" / "main" / "report.html").exists()
    with pytest.raises(ValueError, match="seed was 0, now 1"):
        atlas.run(seed=1)


def test_a_config_comes_back_from_the_record_as_what_it_was(tmp_path, inputs):
    atlas = Atlas(tmp_path / "atlas")
    first = atlas.ingest(inputs.folder, catalog=inputs.catalog, curve=(0.0, 1.0, 8.0))
    again = atlas.ingest()
    assert again.config == first.config
    assert again.outputs["n_known"] == 64


def test_the_same_command_goes_on_from_another_folder(tmp_path, inputs, monkeypatch):
    monkeypatch.chdir(inputs.folder.parent)
    atlas = Atlas(tmp_path / "atlas")
    atlas.ingest("cutouts", catalog="objects.csv")
    monkeypatch.chdir(tmp_path)
    assert atlas.ingest().outputs["n_known"] == 64


def test_an_atlas_can_be_moved(copy, ranked, tmp_path):
    folder = copy(ranked)
    moved = tmp_path / "elsewhere"
    folder.rename(moved)
    assert_array_equal(Atlas(moved).top(5)["object_id"], Atlas(ranked).top(5)["object_id"])
    assert all(each.is_right for each in Atlas(moved).check())
    assert set(states(Atlas(moved)).values()) == {"complete", "absent"}  # absent: there is no release


def test_tables_keep_whole_numbers_and_truths_with_gaps(copy, ranked, tmp_path):
    atlas = Atlas(copy(ranked))
    ids = atlas.survey.object_ids()
    large = 7_849_617_819_463_822_536
    table = pa.table({"object_id": ids[:3], "sid": [large, large + 1, large + 2], "is_far": [True, False, True]})
    pa.parquet.write_table(table, tmp_path / "t.parquet")
    atlas.add_columns(tmp_path / "t.parquet")
    scores = atlas.scores(ids[:5])
    assert scores["sid"].dtype == np.int64
    assert scores["sid"].tolist() == [large, large + 1, large + 2, None, None]
    assert scores["is_far"].tolist() == [True, False, True, None, None]
    assert atlas.select(f"sid = {large + 1}").tolist() == [ids[1]]
    assert atlas.select("is_far = true").tolist() == atlas.select("is_far = 1").tolist()
    assert len(atlas.select("is_far = false")) == 1


def test_what_was_refused_at_once_does_not_stand_in_the_way(copy, ranked):
    atlas = Atlas(copy(ranked))
    with pytest.raises(ValueError, match="at most 3600"):
        atlas.group(5_000.0)
    assert atlas.group(50.0).outputs["n_objects"] == 64
