import numpy as np
import pytest
from numpy.testing import assert_array_equal

from peculiar.checkpoint import TrainingFolder, file_digest
from peculiar.ranking import Ranking
from peculiar.survey import Table


def test_columns_of_all_tables_stand_in_one_order(ranked, inputs):
    opened = Ranking(ranked)
    assert len(opened) == 64
    rows = opened.rows(opened.object_ids)
    assert rows.schema.names[:4] == ["object_id", "source", "ra", "dec"]
    assert not set(rows.schema.names) & {"image", "flux", "latent"}
    for name in ("score_gen", "score_anom_sigma", "brightness", "magnitude", "ra"):
        expected = rows[name].to_numpy().astype(float)
        assert_array_equal(opened.column(name), expected)
    names = dict(zip(inputs.object_id.tolist(), inputs.names, strict=True))
    assert rows["source"].to_pylist() == [names[each] for each in opened.object_ids.tolist()]


def test_rows_come_in_the_order_asked_for(ranked):
    opened = Ranking(ranked)
    asked = opened.object_ids[[5, 0, 63, 5]]
    assert opened.rows(asked)["object_id"].to_pylist() == asked.tolist()
    with pytest.raises(KeyError, match="no object 1 in"):
        opened.rows(np.array([1]))


def test_the_order_is_descending_with_nan_last_and_ties_by_id(ranked):
    opened = Ranking(ranked)
    values = opened.column("score_anom_conditional")[opened.order()]
    assert (np.diff(values) <= 0).all()
    magnitude = opened.column("magnitude")
    order = opened.order("magnitude")
    assert np.isnan(magnitude[order[-1]])
    for value in np.unique(magnitude[~np.isnan(magnitude)]):
        ids = opened.object_ids[order[magnitude[order] == value]]
        assert (np.diff(ids) > 0).all()


@pytest.mark.parametrize("name", ["source", "latent", "image", "nonsense"])
def test_what_is_no_number_cannot_be_ordered_by(ranked, name):
    with pytest.raises(KeyError, match=f"no number '{name}' to order by; there are object_id"):
        Ranking(ranked).column(name)


def test_both_weights_are_named(ranked):
    assert Ranking(ranked).weights == {"reconstruction_weight": 0.3, "combination_weight": 0.3}


# --- reconstructions


def test_reconstructions_that_are_made_are_those_that_are_kept(ranked, copy):
    opened = Ranking(ranked)
    kept = opened.kept.object_ids()
    made = Ranking(copy(ranked))
    made.kept.open().delete("true")
    assert_array_equal(made.reconstructions(kept), opened.reconstructions(kept))
    mixed = opened.object_ids[:20]
    assert_array_equal(opened.reconstructions(mixed), made.reconstructions(mixed))
    assert len(np.unique(opened.reconstructions(mixed), axis=0)) > 10  # each object has its own


def test_a_residual_is_the_absolute_difference(ranked):
    opened = Ranking(ranked)
    ids = opened.object_ids[10:20]
    images, made = (each.astype(int) for each in (opened.survey.images(ids), opened.reconstructions(ids)))
    assert_array_equal(opened.residuals(ids), np.abs(images - made))
    assert opened.residuals(ids).max() > 127  # no overflow of signed bytes


def test_a_changed_generator_is_refused_naming_both_digests_and_kept_ones_are_shown(copy, ranked):
    folder = copy(ranked)
    training = TrainingFolder(folder / "networks" / "gan")
    path = training.checkpoint_path()
    before = file_digest(path)
    path.write_bytes(training.checkpoint_path(2).read_bytes())
    opened = Ranking(folder)
    other = np.setdiff1d(opened.object_ids, opened.kept.object_ids())[:2]
    with pytest.raises(ValueError, match=f"has digest {file_digest(path)}, and the scores were made with {before}"):
        opened.reconstructions(other)
    kept = opened.kept.object_ids()
    assert_array_equal(opened.reconstructions(kept), Ranking(ranked).reconstructions(kept))


def test_no_object_gives_no_image(ranked):
    assert Ranking(ranked).reconstructions(np.empty(0, np.int64)).shape == (0, 32, 32, 3)


def test_what_is_not_complete_cannot_be_opened(trained, copy, ranked):
    with pytest.raises(FileNotFoundError, match=r"rankings/main is not complete in .*; run "):
        Ranking(trained)
    folder = copy(ranked)
    (folder / "scores" / "main" / "run.json").unlink()
    with pytest.raises(FileNotFoundError, match="scores/main is not complete"):
        Ranking(folder)


def test_scores_that_were_appended_since_do_not_disturb(copy, ranked):
    folder = copy(ranked)
    facts = Table(folder / "scores" / "main" / "table.lance")
    before = Ranking(folder).column("score_gen")
    row = facts.take(facts.object_ids()[:1])
    changed = row.set_column(0, row.schema.field(0), [[999]])
    facts.append(changed.to_batches(), row.schema)
    assert_array_equal(Ranking(folder).column("score_gen"), before)


def test_rows_of_many_are_those_of_few(ranked, monkeypatch):
    from peculiar import joined

    ranking = Ranking(ranked)
    ids = np.tile(ranking.object_ids[::-1], 2)
    few = ranking.rows(ids)
    monkeypatch.setattr(joined, "MANY", 1)
    many = ranking.rows(ids)
    assert many.schema.equals(few.schema)
    for name in few.column_names:
        np.testing.assert_array_equal(
            many[name].to_numpy(zero_copy_only=False), few[name].to_numpy(zero_copy_only=False)
        )
    with pytest.raises(KeyError, match="no object 7"):
        ranking.rows(np.array([7]))
