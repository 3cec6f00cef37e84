import numpy as np
import pytest

from peculiar.explorer.opened import Opened, Order
from peculiar.run import home_of
from peculiar.survey import Table


@pytest.fixture(scope="module")
def opened(explored):
    return Opened(explored)


def test_columns_are_told_with_what_they_mean(opened):
    info = opened.info_of["score_anom_sigma"]
    assert info.kind == "number"
    assert "standard deviations" in info.description
    assert opened.info_of["ra"].unit == "deg"
    assert opened.info_of["source"].kind == "text"
    assert "object_id" not in opened.info_of


def test_maps_are_found_by_their_columns(opened):
    assert [(each.name, each.x, each.y, each.of) for each in opened.maps] == [
        ("critic", "map_x_critic", "map_y_critic", "critic")
    ]


def test_rows_are_in_order_and_missing_values_last_either_way(opened):
    values = opened.number("magnitude")
    assert np.isnan(values).sum() == 1
    for descending in (True, False):
        rows = opened.rows(Order(by="magnitude", descending=descending))
        assert sorted(rows.tolist()) == list(range(len(opened)))
        assert np.isnan(values[rows[-1]])
        steps = np.diff(values[rows[:-1]])
        assert ((steps <= 0) if descending else (steps >= 0)).all()
        ties = steps == 0
        assert ties.any()
        assert (np.diff(opened.object_ids[rows[:-1]])[ties] > 0).all()


def test_rows_are_sorted_by_id_without_loss_of_digits(opened):
    rows = opened.rows(Order(by="object_id", descending=False))
    assert opened.object_ids[rows].tolist() == sorted(opened.object_ids.tolist())


def test_a_filter_leaves_those_that_pass_in_the_same_order(opened):
    every, some = opened.rows(Order()), opened.rows(Order(where="magnitude < 20.2 and not missing(ra)"))
    is_in = np.isin(every, some)
    assert 0 < len(some) < len(every)
    assert every[is_in].tolist() == some.tolist()
    assert (opened.number("magnitude")[some] < 20.2).all()


def test_an_id_can_be_filtered_by_whole(opened):
    wanted = int(opened.object_ids.max())
    rows = opened.rows(Order(where=f"object_id in ({wanted})"))
    assert opened.object_ids[rows].tolist() == [wanted]
    rows = opened.rows(Order(where=f"object_id == {wanted - 1}"))
    assert opened.object_ids[rows].tolist() == [wanted - 1]


def test_a_random_sample_is_the_same_for_the_same_seed(opened):
    drawn = opened.rows(Order(sample=10, seed=3))
    assert drawn.tolist() == opened.rows(Order(sample=10, seed=3)).tolist()
    assert set(drawn.tolist()) != set(opened.rows(Order(sample=10, seed=4)).tolist())
    every = opened.rows(Order()).tolist()
    assert [each for each in every if each in set(drawn.tolist())] == drawn.tolist()


def test_columns_go_out_as_the_page_draws_them(opened):
    ids = opened.arrow("object_id")
    assert ids["object_id"].to_pylist() == [str(each) for each in opened.object_ids]
    assert str(opened.arrow("magnitude").schema.field("magnitude").type) == "float"
    with pytest.raises(KeyError, match="no column 'source' to draw"):
        opened.arrow("source")


def test_the_digest_changes_with_the_rows(explored, copy):
    folder = copy(explored)
    before = Opened(folder)
    table = Table(home_of(folder, "rankings", "main") / "table.lance")
    table.overwrite(list(table.scan()))
    after = Opened(folder)
    assert before.digest != after.digest
    assert before.survey_id == after.survey_id
    assert before.version_of("score_anom_sigma") != after.version_of("score_anom_sigma")
