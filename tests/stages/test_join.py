import json
import shutil

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import combine_pvalues

from peculiar import Atlas
from peculiar.scoring.scores import Distribution, joint

FEW = {"width": 2, "side": 16, "batch_size": 16, "n_steps": 2}
SMALL = FEW | {"n_features": 5}
COLUMNS = [
    "score_anom_conditional",
    "score_gen_conditional",
    "score_neighbors_frame",
    "score_neighbors_center_conditional",
    "score_foreign_detector",
    "score_foreign_detector_conditional",
]


@pytest.fixture(scope="module")
def joined(tmp_path_factory, ranked):
    """An atlas with score_joint. Not to be changed."""
    folder = shutil.copytree(ranked, tmp_path_factory.mktemp("joined") / "atlas")
    atlas = Atlas(folder)
    atlas.train_features(**SMALL)
    atlas.make_features("self-supervised")
    atlas.train_detector(**FEW)
    measure(atlas)
    atlas.join()
    return folder


def measure(atlas):
    """All that is joined but for the scores."""
    for look in ("frame", "center"):
        atlas.measure_neighbors(look)
        atlas.relate(f"neighbors/{look}")
    atlas.make_features("detector")
    return atlas.relate("features/detector")


def test_the_joint_score_is_fishers_of_the_parts_above():
    random = np.random.default_rng(0)
    reference, values = random.normal(size=(3, 500)), random.normal(size=(40, 3))
    distributions = [Distribution.of(each) for each in reference]
    above = np.maximum((reference[None] > values[:, :, None]).mean(axis=2), 0.5 / 500)
    expected = [combine_pvalues(row, "fisher").statistic / 2 for row in above]
    assert_allclose(joint(distributions, values), expected, rtol=0.05, atol=0.05)  # quantiles are interpolated


def test_what_is_beyond_every_reference_is_first_and_finite():
    distributions = [Distribution.of(np.arange(100.0))] * 2
    found = joint(distributions, np.array([[1e9, 1e9], [99.0, 99.0], [1e9, 0.0], [0.0, 0.0]]))
    assert found[0] == found[1] == pytest.approx(2 * np.log(200))
    assert found[2] == pytest.approx(np.log(200))
    assert found[3] == 0


def test_it_is_first_shown_and_has_every_form(joined, inputs):
    atlas = Atlas(joined)
    opened = atlas.ranking()
    rows = opened.rows(inputs.object_id)
    values = np.stack([rows[each].to_numpy().astype(float) for each in COLUMNS], axis=1)
    is_usable = np.isfinite(values).all(axis=1)
    distributions = [Distribution.of(each) for each in values[is_usable].T]
    assert_allclose(rows["score_joint"].to_numpy()[is_usable], joint(distributions, values[is_usable]))
    for form in ("sigma", "robust_sigma", "percentile", "conditional"):
        assert np.isfinite(rows[f"score_joint_{form}"].to_numpy()[is_usable]).all()
    assert opened.first_shown == "score_joint"
    top = atlas.top(5)
    assert_array_equal(top["object_id"], atlas.top(5, by="score_joint")["object_id"])
    assert "Fisher" in top["score_joint"].description
    states = {each.folder: each.state for each in atlas.status()}
    assert states["rankings/joint"] == states["neighbors/center"] == "complete"


def test_later_objects_meet_the_same_references(joined, tmp_path, made, inputs):
    folder = shutil.copytree(joined, tmp_path / "atlas")
    atlas = Atlas(folder)
    before = atlas.ranking().rows(inputs.object_id)["score_joint"]
    made.write(tmp_path / "more", made.images(5, seed=9), [f"new{each}.png" for each in range(5)])
    atlas.ingest(tmp_path / "more")
    for work in (atlas.score, atlas.rank, lambda: atlas.make_features("self-supervised"), lambda: measure(atlas)):
        work()
    assert atlas.join().outputs["n_objects"] == 69
    assert atlas.ranking().rows(inputs.object_id)["score_joint"].equals(before)


def test_what_is_joined_must_be_there_and_the_same(joined, ranked, tmp_path, caplog):
    with pytest.raises(FileNotFoundError, match='rankings/neighbors-frame is not complete; run "peculiar neig'):
        Atlas(ranked).join()
    folder = shutil.copytree(joined, tmp_path / "without")
    shutil.rmtree(folder / "rankings" / "features-detector")
    with pytest.raises(
        FileNotFoundError, match=r'features-detector is not .*"peculiar features --name detector" first'
    ):
        Atlas(folder).join()
    folder = shutil.copytree(joined, tmp_path / "atlas")
    Atlas(folder).relate("neighbors/center", replace=True)
    assert {each.folder: each.state for each in Atlas(folder).status()}["rankings/joint"] == "stale"
    assert Atlas(folder).ranking().first_shown == "score_anom_conditional"  # a stale order is not shown
    assert "rankings/joint is stale" in caplog.text
    with pytest.raises(ValueError, match="was made anew since; join again with --replace"):
        Atlas(folder).join()
    Atlas(folder).join(replace=True)


def test_an_order_that_joined_other_scores_is_not_mixed_with_this_one(joined, tmp_path):
    folder = shutil.copytree(joined, tmp_path / "atlas")
    written = folder / "rankings" / "joint" / "joined.json"
    said = json.loads(written.read_text())
    written.write_text(json.dumps({each: said[each] for each in COLUMNS[:4]}))  # as before there was a detector
    with pytest.raises(ValueError, match=r"joins .*center_conditional, and now .* join again with --replace"):
        Atlas(folder).join()
    assert Atlas(folder).join(replace=True).outputs["n_objects"] == 64
    assert list(json.loads(written.read_text())) == COLUMNS


def test_objects_that_are_not_scored_yet_wait(joined, tmp_path, made):
    folder = shutil.copytree(joined, tmp_path / "atlas")
    atlas = Atlas(folder)
    made.write(tmp_path / "more", made.images(5, seed=9), [f"new{each}.png" for each in range(5)])
    atlas.ingest(tmp_path / "more")
    atlas.make_features("self-supervised")
    assert measure(atlas).outputs["n_objects"] == 64
    atlas.join()
    states = {each.folder: each.state for each in atlas.status()}
    assert states["rankings/neighbors-frame"] == "behind"
    assert atlas.ranking().first_shown == "score_joint"
    for work in (atlas.score, atlas.rank, lambda: measure(atlas)):
        work()
    assert atlas.join().outputs["n_objects"] == 69
