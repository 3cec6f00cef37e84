import csv
import shutil

import numpy as np
import pytest

from peculiar import Atlas
from peculiar.run import read_run
from peculiar.stages.inject import InjectConfig, inject
from peculiar.survey import Survey, Table

pytest.importorskip("galsim", reason='GalSim is not installed: pip install "peculiar[sim]"')

FEW = {"n_objects": 48, "odd_fraction": 0.25, "classes": ("ring", "bleed")}


def truth_of(folder, name="main"):
    with (folder / "injections" / name / "truth.csv").open() as stream:
        return {int(row["object_id"]): row for row in csv.DictReader(stream)}


def test_copies_take_the_place_of_their_hosts_and_the_survey_stays(copy, ingested):
    folder = copy(ingested)
    before = Atlas(folder).survey.version
    run = inject(folder, InjectConfig(**FEW))
    parent, child = Atlas(folder).survey, Survey(folder / run.outputs["atlas"] / "survey" / "table.lance")
    assert (run.outputs["n_objects"], run.outputs["n_planted"]) == (48, 12)
    assert parent.version == before
    assert len(child) == len(set(child.object_ids().tolist())) == 48
    truth = truth_of(folder)
    assert set(truth) == set(child.object_ids().tolist())
    assert (folder / "injections" / "main" / "examples.png").stat().st_size > 10_000
    ids = np.array(sorted(truth))
    is_same = (parent.images(ids) == child.images(ids)).all(axis=(1, 2, 3))
    assert is_same.tolist() == [not truth[each]["planted_class"] for each in ids.tolist()]
    names = [row["planted_class"] for row in truth.values()]
    assert (names.count("ring"), names.count("bleed"), names.count("")) == (6, 6, 36)
    rows = child.take(ids, ["source", "magnitude", "ra"])
    assert rows.equals(parent.take(ids, ["source", "magnitude", "ra"]))
    for row in truth.values():
        if row["planted_class"] == "ring":
            assert 0.03 <= float(row["planted_strength"]) <= 0.5
            assert float(row["planted_snr"]) > 0
            assert float(row["planted_radius"]) > 0


def test_a_copy_depends_on_its_id_and_the_seed_alone(copy, ingested):
    folder = copy(ingested)
    inject(folder, InjectConfig(**FEW), name="one")
    inject(folder, InjectConfig(**FEW), name="two")
    inject(folder, InjectConfig(**FEW, seed=1), name="other")
    one, two, other = (
        Survey(folder / "injections" / name / "atlas" / "survey" / "table.lance") for name in ("one", "two", "other")
    )
    ids = np.sort(one.object_ids())
    np.testing.assert_array_equal(one.images(ids), two.images(ids))
    assert truth_of(folder, "one") == truth_of(folder, "two")
    assert truth_of(folder, "one") != truth_of(folder, "other")
    assert sorted(other.object_ids().tolist()) != ids.tolist()


def test_injection_that_was_killed_goes_on(copy, ingested, made):
    folder = copy(ingested)
    code = """
        import os, signal, sys
        from pathlib import Path
        from peculiar.stages import inject
        inject.AT_ONCE, inject.COMMIT_ROWS = 8, 8
        whole = inject.Survey.append
        def append(self, batches, schema):
            whole(self, batches, schema)
            if len(self) >= 16:
                os.kill(os.getpid(), signal.SIGKILL)
        inject.Survey.append = append
        few = inject.InjectConfig(n_objects=48, odd_fraction=0.25, classes=("ring", "bleed"))
        inject.inject(Path(sys.argv[1]), few)
    """
    made.python(code, folder, expect=-9)
    assert read_run(folder / "injections" / "main") is None
    survey = Survey(folder / "injections" / "main" / "atlas" / "survey" / "table.lance")
    assert 0 < len(survey) < 48
    inject(folder, InjectConfig(**FEW))
    inject(folder, InjectConfig(**FEW), name="whole")
    whole = Survey(folder / "injections" / "whole" / "atlas" / "survey" / "table.lance")
    ids = np.sort(whole.object_ids())
    assert np.sort(survey.object_ids()).tolist() == ids.tolist()
    np.testing.assert_array_equal(survey.images(ids), whole.images(ids))


def test_a_survey_that_was_made_anew_is_refused(copy, ingested, inputs):
    folder = copy(ingested)
    inject(folder, InjectConfig(**FEW))
    Atlas(folder).ingest(inputs.folder, catalog=inputs.catalog, replace=True)
    with pytest.raises(ValueError, match="was made anew since; inject again"):
        inject(folder, InjectConfig(**FEW))


def test_the_whole_is_scored_and_judged_by_the_networks_there_are(copy, ranked):
    folder = copy(ranked)
    atlas = Atlas(folder)
    atlas.train_features(width=2, n_features=4, side=16, batch_size=16, n_steps=2)
    atlas.make_features("self-supervised")
    for look in ("frame", "center"):
        atlas.measure_neighbors(look)
        atlas.relate(f"neighbors/{look}")
    atlas.train_detector(width=2, side=16, batch_size=16, n_steps=2)
    atlas.make_features("detector")
    atlas.relate("features/detector")
    atlas.join()
    atlas.grow_forest("self-supervised", n_trees=5, sample_size=16)
    atlas.relate("forests/self-supervised")
    run = atlas.inject(**FEW)
    child = Atlas(folder / run.outputs["atlas"])
    assert run.outputs["first_shown"] == "score_joint"
    assert set(run.outputs["kinds"]) == {"astrophysical", "artefact"}
    assert "score_forest_self-supervised" in child.ranking().orders
    assert (child.folder / "bench" / "main" / "bench.html").exists()
    assert {each.state for each in child.status() if each.folder != "release"} == {"complete"}
    untouched = [each for each, row in truth_of(folder).items() if not row["planted_class"]]
    columns = ["latent", "score_gen", "score_disc", "score_pca", "brightness"]
    taken = (
        Table(where.folder / "scores" / "main" / "table.lance").take(untouched, columns) for where in (atlas, child)
    )
    assert next(taken).equals(next(taken))
    odd = [each for each, row in truth_of(folder).items() if row["planted_class"]]
    new, old = (where.scores(odd)["score_gen"] for where in (child, atlas))
    assert (np.asarray(new) != np.asarray(old)).all()
    again = atlas.inject()  # complete already: nothing is made twice
    assert again.outputs["kinds"] == run.outputs["kinds"]


def test_scores_that_are_stale_or_behind_are_not_taken_over(copy, ranked, made, tmp_path):
    folder = copy(ranked)
    atlas = Atlas(folder)
    atlas.train_gan(n_steps=6)
    with pytest.raises(ValueError, match=r"is stale \(networks/gan was trained on since\)"):
        atlas.inject(**FEW)
    assert not (folder / "injections").exists()
    other = Atlas(shutil.copytree(ranked, tmp_path / "other"))
    made.write(tmp_path / "more", made.images(5, seed=9), [f"new{each}.png" for each in range(5)])
    other.ingest(tmp_path / "more")
    with pytest.raises(ValueError, match=r"is behind \(5 of 69 objects to come\)"):
        other.inject(**FEW)


def test_objects_that_came_later_are_not_in_the_sample(copy, ingested, made, tmp_path):
    folder = copy(ingested)
    config = InjectConfig(odd_fraction=0.25, classes=("ring", "bleed"))
    inject(folder, config)
    truth = truth_of(folder)
    made.write(tmp_path / "more", made.images(40, seed=9), [f"new{each}.png" for each in range(40)])
    Atlas(folder).ingest(tmp_path / "more")
    run = inject(folder, config)
    assert truth_of(folder) == truth
    child = Survey(folder / run.outputs["atlas"] / "survey" / "table.lance")
    assert set(child.object_ids().tolist()) == set(truth)


def test_replacing_leaves_nothing_of_what_was_there_even_after_a_kill_of_the_emptying(copy, ingested):
    folder = copy(ingested)
    inject(folder, InjectConfig(**FEW))
    home = folder / "injections" / "main"
    (home / ".emptying").touch()
    (home / "run.json").unlink()
    shutil.rmtree(home / "atlas" / "survey")
    (home / "atlas" / "scores").mkdir()
    inject(folder, InjectConfig(**FEW, seed=5), replace=True)
    assert not (home / "atlas" / "scores").exists()


def test_the_folder_is_complete_only_when_all_is_judged(copy, ingested):
    folder = copy(ingested)

    def fails(child, truth):
        assert truth.exists()
        raise ValueError("no score today")

    with pytest.raises(ValueError, match="no score today"):
        inject(folder, InjectConfig(**FEW), work=fails)
    assert read_run(folder / "injections" / "main") is None
    run = inject(folder, InjectConfig(**FEW), work=lambda child, truth: {"n_objects": -1, "judged": True})
    assert (run.outputs["n_objects"], run.outputs["judged"]) == (48, True)


@pytest.mark.parametrize("told", [{"odd_fraction": 0.0}, {"odd_fraction": 1.0}, {"n_objects": 20}])
def test_nothing_can_be_said_of_all_or_none_or_few(copy, ingested, told):
    with pytest.raises(ValueError, match=r"odd_fraction .* of \d+ objects gives \d+ an oddity"):
        inject(copy(ingested), InjectConfig(**{**FEW, **told}), work=lambda child, truth: {})


def test_without_a_ranking_there_is_nothing_to_judge(copy, ingested):
    with pytest.raises(FileNotFoundError, match="rankings/main is not complete"):
        Atlas(copy(ingested)).inject(**FEW)


def test_an_empty_survey_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'the survey in .* is not complete; run "peculiar ingest" first'):
        inject(tmp_path, InjectConfig())


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"n_objects": 0}, "n_objects must be at least 1, got 0"),
        ({"odd_fraction": 1.5}, "odd_fraction must be from 0 to 1, got 1.5"),
        ({"classes": ("cow",)}, "classes must be of merger, .*; got cow"),
        ({"classes": ()}, "got none"),
        ({"share": (0.5, 0.1)}, "share must be two positive numbers, ascending"),
        ({"share": (0.5, 1.1)}, "share must be at most 1"),
        ({"depth": (1.0,)}, "depth must be two positive numbers"),
        ({"scale": (0.0, 1.0)}, "scale must be two positive numbers"),
        ({"seeing": 0.0}, "seeing must be positive, got 0"),
    ],
)
def test_options_out_of_range_are_refused(told, message):
    with pytest.raises(ValueError, match=message):
        InjectConfig(**told)
