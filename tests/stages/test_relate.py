import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from peculiar import Atlas
from peculiar.reference import read_reference
from peculiar.run import begin, finish
from peculiar.scoring.scores import Distribution
from peculiar.stages.relate import RelateConfig, relate
from peculiar.survey import Table


@dataclasses.dataclass(frozen=True, kw_only=True)
class MadeConfig:
    seed: int = 0


def with_scores(folder, object_id, scores, *, replace=False):
    """A table of another stage: `features/made` with score_autoencoder."""
    home = folder / "features" / "made"
    run = begin(home, "features", MadeConfig(), inputs={}, replace=replace)
    schema = pa.schema([("object_id", pa.int64()), ("score_autoencoder", pa.float32())])
    Table(home / "table.lance").append(
        [pa.record_batch([pa.array(object_id), pa.array(scores, pa.float32())], schema)], schema
    )
    finish(home, run)


@pytest.fixture
def related(copy, ranked, inputs):
    """An atlas with another score of all objects but the last four."""
    folder = copy(ranked)
    scores = np.random.default_rng(0).lognormal(3, 0.4, len(inputs.object_id) - 4)
    with_scores(folder, inputs.object_id[:-4][::-1].copy(), scores[::-1].copy())
    relate(folder, RelateConfig(of="features/made"), name="features-made")
    return folder, scores.astype(np.float32).astype(np.float64)


def test_every_form_of_the_score_stands_in_the_ranking(related, inputs):
    folder, scores = related
    opened = Atlas(folder).ranking()
    rows = opened.rows(inputs.object_id)
    assert_allclose(rows["score_autoencoder_made"].to_numpy()[:-4], scores)
    distribution = Distribution.of(scores)
    assert_allclose(rows["score_autoencoder_made_sigma"].to_numpy()[:-4], distribution.sigma(scores))
    assert_allclose(rows["score_autoencoder_made_percentile"].to_numpy()[:-4], distribution.percentile(scores))
    assert np.isfinite(rows["score_autoencoder_made_conditional"].to_numpy()[:-4]).all()
    assert rows["score_autoencoder_made"][-4:].null_count == 4


def test_objects_are_ordered_by_it_and_those_without_are_last(related, inputs):
    folder, scores = related
    top = Atlas(folder).top(len(inputs.object_id), by="score_autoencoder_made")
    best = inputs.object_id[np.argsort(-scores)]
    assert_array_equal(np.asarray(top["object_id"])[:-4], best)
    assert set(np.asarray(top["object_id"])[-4:]) == set(inputs.object_id[-4:])


def test_a_second_relation_of_a_table_stands_beside_the_first(related, inputs):
    folder, _ = related
    relate(folder, RelateConfig(of="features/made", condition_on=("magnitude",)), name="by-magnitude")
    rows = Atlas(folder).ranking().rows(inputs.object_id)
    first, second = (rows[f"score_autoencoder_made{each}_conditional"].to_numpy() for each in ("", "-by-magnitude"))
    usable = np.isfinite(first) & np.isfinite(second)
    assert usable.sum() > 50
    assert not np.allclose(first[usable], second[usable])


def test_what_cannot_be_related_is_refused_before_anything_is_made(related):
    folder, _ = related
    with pytest.raises(FileNotFoundError, match="scores/other is not complete"):
        relate(folder, RelateConfig(of="features/made", scores="other"), name="new")
    with pytest.raises(KeyError, match=r"hold no numbers: .*source"):
        relate(folder, RelateConfig(of="features/made", condition_on=("source",)), name="new")
    with pytest.raises(ValueError, match="would pass for forms of another score"):
        relate(folder, RelateConfig(of="features/made"), name="in_sigma")
    assert not (folder / "rankings" / "new").exists()


def test_later_objects_meet_the_same_reference(related, inputs):
    folder, scores = related
    home = folder / "rankings" / "features-made"
    digest = read_reference(home).digest
    with_scores(folder, inputs.object_id[-4:].copy(), np.full(4, 1e4))
    relate(folder, RelateConfig(of="features/made"), name="features-made")
    assert read_reference(home).digest == digest
    rows = Atlas(folder).ranking().rows(inputs.object_id)
    assert_allclose(rows["score_autoencoder_made_sigma"].to_numpy()[:-4], Distribution.of(scores).sigma(scores))
    assert (rows["score_autoencoder_made_percentile"].to_numpy()[-4:] == 100).all()


def test_a_table_made_anew_is_refused_until_replace(related, inputs):
    folder, _ = related
    with_scores(folder, inputs.object_id, np.ones(len(inputs.object_id)), replace=True)
    with pytest.raises(ValueError, match="made anew"):
        relate(folder, RelateConfig(of="features/made"), name="features-made")
    relate(folder, RelateConfig(of="features/made"), name="made", replace=True)


@pytest.mark.parametrize("of", ["made", "survey/made", "features/", "features/../scores"])
def test_other_places_are_refused(of):
    with pytest.raises(ValueError, match="of must be"):
        RelateConfig(of=of)


def test_what_is_not_there_is_named(ranked):
    with pytest.raises(FileNotFoundError, match="forests/none"):
        relate(ranked, RelateConfig(of="forests/none"), name="none")


def test_it_is_no_ranking_of_its_own(related):
    folder, _ = related
    with pytest.raises(ValueError, match="holds other scores"):
        Atlas(folder).ranking("features-made")
