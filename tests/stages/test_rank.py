import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from peculiar import Atlas
from peculiar.run import read_run
from peculiar.scoring.measures import COVARIATES
from peculiar.stages.rank import RankConfig
from peculiar.survey import Table


def table(folder, name="main"):
    return Table(folder / "rankings" / name / "table.lance")


def columns(opened, *names):
    return [opened.column(each) for each in names]


def test_relative_forms_are_those_of_all_scored_objects(ranked):
    opened = Atlas(ranked).ranking()
    gen, disc, anom = columns(opened, "score_gen", "score_disc", "score_anom")
    assert_allclose(anom, 0.7 * gen + 0.3 * disc)
    for name, values in (("gen", gen), ("disc", disc), ("anom", anom)):
        assert_allclose(opened.column(f"score_{name}_sigma"), stats.zscore(values), rtol=1e-4, atol=1e-5)
        robust = (values - np.median(values)) / stats.median_abs_deviation(values, scale="normal")
        assert_allclose(opened.column(f"score_{name}_robust_sigma"), robust, rtol=1e-4, atol=1e-5)
        assert_array_equal(np.argsort(opened.column(f"score_{name}_percentile")), np.argsort(values))
        assert np.isfinite(opened.column(f"score_{name}_conditional")).all()


def test_the_reference_is_named_by_its_digest_and_says_what_it_is(ranked):
    written = json.loads((ranked / "rankings" / "main" / "reference.json").read_text())
    run = read_run(ranked / "rankings" / "main")
    metadata = table(ranked).schema.metadata
    assert written["digest"] == run.outputs["reference"] == metadata[b"reference"].decode()
    assert written["covariates"] == [f"log1p({name})" for name in COVARIATES]
    assert written["distributions"]["score_gen"]["n_objects"] == 64
    assert (run.outputs["reconstruction_weight"], run.outputs["combination_weight"]) == (0.3, 0.3)
    assert len(pq.read_table(ranked / "rankings" / "main" / "reference.parquet")) == 64


def test_another_combination_weight_is_another_ranking_and_nothing_is_scored_again(copy, ranked):
    folder = copy(ranked)
    version = Table(folder / "scores" / "main" / "table.lance").version
    run = Atlas(folder).rank(name="disc", combination_weight=1.0, n_reconstructions=0)
    opened = Atlas(folder).ranking("disc")
    assert_allclose(opened.column("score_anom"), opened.column("score_disc"))
    assert_allclose(opened.column("score_anom_conditional"), opened.column("score_disc_conditional"))
    assert opened.weights == {"reconstruction_weight": 0.3, "combination_weight": 1.0}
    assert Table(folder / "scores" / "main" / "table.lance").version == version
    assert run.outputs["reference"] != read_run(folder / "rankings" / "main").outputs["reference"]
    assert_allclose(Atlas(folder).ranking().column("score_anom"), Atlas(ranked).ranking().column("score_anom"))
    with pytest.raises(ValueError, match=r"combination_weight was 0\.3, now 0\.9"):
        Atlas(folder).rank(combination_weight=0.9)


def test_new_objects_are_compared_with_the_old_reference_and_old_rows_stay(copy, ranked, made, tmp_path):
    folder = copy(ranked)
    atlas, home = Atlas(folder), folder / "rankings" / "main"
    kept = {name: (home / name).read_bytes() for name in ("reference.json", "reference.parquet")}
    old = table(folder).take(atlas.survey.object_ids())
    made.write(tmp_path / "more", 255 - made.images(5, seed=9), [f"new{each}.png" for each in range(5)])
    atlas.ingest(tmp_path / "more")
    atlas.score()
    atlas.rank()
    assert len(table(folder)) == 69
    assert table(folder).take(old["object_id"].to_numpy()).equals(old)
    assert {name: (home / name).read_bytes() for name in kept} == kept
    distribution = json.loads(kept["reference.json"])["distributions"]["score_gen"]
    opened = atlas.ranking()
    sigma = (opened.column("score_gen") - distribution["mean"]) / distribution["deviation"]
    assert_allclose(opened.column("score_gen_sigma"), sigma, rtol=1e-4, atol=1e-5)
    assert {each.folder: each.state for each in atlas.status()}["rankings/main"] == "complete"


def test_ranking_in_two_goes_is_ranking_in_one(copy, ranked):
    folder = copy(ranked)
    expected = table(ranked).take(np.sort(table(ranked).object_ids()))
    ids = table(folder).object_ids()
    table(folder).open().delete(f"object_id IN ({','.join(map(str, ids[::3]))})")  # as if a kill had lost them
    Atlas(folder).rank()
    found = table(folder).take(np.sort(ids))
    for name in found.column_names:
        assert_allclose(found[name].to_numpy(), expected[name].to_numpy(), rtol=1e-9)


def test_scores_that_were_replaced_are_not_mixed_with_the_old_ranking(copy, ranked):
    atlas = Atlas(copy(ranked))
    atlas.score(n_latent_steps=0, replace=True)
    assert {each.folder: each.state for each in atlas.status()}["rankings/main"] == "stale"
    with pytest.raises(ValueError, match="ranks scores that were replaced since; rank again with --replace"):
        atlas.rank()
    atlas.rank(replace=True, n_reconstructions=0)
    opened = atlas.ranking()
    assert_allclose(opened.column("score_anom"), 0.7 * opened.column("score_gen") + 0.3 * opened.column("score_disc"))


@pytest.mark.parametrize("change", ["json", "parquet"])
def test_a_changed_reference_is_refused_naming_both_digests(copy, ranked, change):
    folder = copy(ranked)
    home = folder / "rankings" / "main"
    if change == "json":
        written = json.loads((home / "reference.json").read_text())
        written["distributions"]["score_gen"]["mean"] += 1e-9
        (home / "reference.json").write_text(json.dumps(written))
    else:
        rows = pq.read_table(home / "reference.parquet")
        values = rows["log_score_0"].to_numpy().copy()
        values[3] += 1e-9
        place = rows.column_names.index("log_score_0")
        pq.write_table(rows.set_column(place, "log_score_0", pa.array(values)), home / "reference.parquet")
    digest = read_run(home).outputs["reference"]
    with pytest.raises(ValueError, match=f"has digest .*, and {digest} was written"):
        Atlas(folder).rank()


# --- conditioning on the catalog's columns


def test_objects_without_the_column_have_no_conditional_score_and_come_last(copy, ranked, inputs):
    folder = copy(ranked)
    atlas = Atlas(folder)
    atlas.rank(name="magnitude", condition_on=("magnitude",), n_reconstructions=0)
    opened = atlas.ranking("magnitude")
    is_nan = np.isnan(opened.column("score_anom_conditional"))
    assert opened.object_ids[is_nan].tolist() == [inputs.object_id[4]]
    assert np.isfinite(opened.column("score_anom_sigma")).all()
    assert atlas.top(64, ranking="magnitude")["object_id"][-1] == inputs.object_id[4]
    assert atlas.info(int(inputs.object_id[4]), ranking="magnitude")["rank"] == 64
    written = json.loads((folder / "rankings" / "magnitude" / "reference.json").read_text())
    assert written["covariates"] == ["magnitude"]


def test_a_column_that_is_not_there_is_refused_and_throws_no_ranking_away(copy, ranked):
    folder = copy(ranked)
    with pytest.raises(KeyError, match=r"condition_on names no column of the survey: \['magnitud'\]"):
        Atlas(folder).rank(condition_on=("magnitud",), replace=True)
    assert len(table(folder)) == 64


def test_after_a_column_that_is_not_there_the_right_one_is_taken(copy, ranked):
    atlas = Atlas(copy(ranked))
    with pytest.raises(KeyError, match="condition_on names no column"):
        atlas.rank(name="new", condition_on=("magnitud",))
    assert atlas.rank(name="new", condition_on=("magnitude",), n_reconstructions=0).outputs["n_objects"] == 64


# --- reconstructions


def test_the_first_shown_and_the_selected_are_kept_and_more_when_asked(copy, ranked):
    opened = Atlas(ranked).ranking()
    selected = set(opened.object_ids[opened.column("score_disc_sigma") > 3])
    first = opened.object_ids[opened.order()[:3]]
    assert set(opened.kept.object_ids()) == selected | set(first)
    folder = copy(ranked)
    Atlas(folder).rank(n_reconstructions=10)
    kept = Table(folder / "rankings" / "main" / "reconstructions.lance")
    assert set(kept.object_ids()) == selected | set(opened.object_ids[opened.order()[:10]])
    assert len(kept) == len(set(kept.object_ids()))


def test_no_reconstruction_need_be_kept(copy, ranked):
    folder = copy(ranked)
    shutil.rmtree(folder / "rankings" / "main")
    Atlas(folder).rank(n_reconstructions=0)
    opened = Atlas(folder).ranking()
    assert len(opened.kept) == (opened.column("score_disc_sigma") > 3).sum()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"combination_weight": -0.1}, r"combination_weight must be from 0 to 1, got -0\.1"),
        ({"n_reconstructions": -1}, "n_reconstructions must not be negative, got -1"),
    ],
)
def test_a_value_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RankConfig(**options)
