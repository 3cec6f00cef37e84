import re

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from peculiar import Atlas
from peculiar.catalog.viewers import sky_viewers
from peculiar.checkpoint import TrainingFolder
from peculiar.ranking import Ranking
from peculiar.run import begin, finish
from peculiar.stages.card import _card, make_card
from peculiar.stages.rank import RankConfig
from peculiar.survey import Table


def complete(home, table):
    """A table in a stage's folder, declared complete."""
    run = begin(home, "made by hand", RankConfig(), inputs={})
    Table(home / "table.lance").append_in_commits(table.to_batches(), table.schema, n_rows=100)
    finish(home, run)


def write_features(folder, object_id, vectors, name="line"):
    flat = pa.array(np.asarray(vectors, np.float32).reshape(-1))
    columns = {"object_id": object_id, "vector": pa.FixedSizeListArray.from_arrays(flat, len(flat) // len(object_id))}
    complete(folder / "features" / name, pa.table(columns))


def write_map(folder, object_id, places, name="flat"):
    columns = {"object_id": object_id, **dict(zip(("map_x", "map_y"), np.float32(places).T, strict=True))}
    complete(folder / "maps" / name, pa.table(columns))


def card_of(folder, object_id):
    opened = Ranking(folder)
    return _card(opened, int(object_id), opened.rows(np.array([object_id])), [], "")


@pytest.fixture
def laid_out(copy, ranked):
    """An atlas whose features put every object on a line, at the logarithm of its score_anom; and its ids in order."""
    folder = copy(ranked)
    opened = Ranking(folder)
    order = opened.order("score_anom")
    write_features(folder, opened.object_ids, np.log(opened.column("score_anom")))
    return folder, opened.object_ids[order], np.log(opened.column("score_anom"))[order]


def test_a_card_without_features_and_map_has_its_picture_and_its_page(copy, ranked, inputs):
    folder = copy(ranked)
    object_id = int(inputs.object_id[0])
    page = make_card(folder, object_id)
    assert page == folder / "cards" / f"{object_id}.html"
    with Image.open(page.with_suffix(".png")) as picture:
        assert min(picture.size) > 500
    text = page.read_text()
    assert f"Object {object_id}" in text
    assert f'src="{object_id}.png"' in text
    for name in Ranking(folder).schema.names:
        assert f"<td>{name}</td>" in text
    assert "Like it" not in text
    row = Ranking(folder).rows(np.array([object_id])).to_pylist()[0]
    shown = dict(re.findall(r"<tr><td>(\w+)</td><td>(-?[\d.e+-]+)</td>", text))
    assert shown["object_id"] == str(object_id)
    for name in ("ra", "dec", "score_disc", "score_anom_sigma"):
        assert float(shown[name]) == pytest.approx(row[name], rel=1e-8)
    assert sorted(each.name for each in page.parent.iterdir()) == [f"{object_id}.html", f"{object_id}.png"]


def test_links_lead_to_the_position_and_are_absent_where_there_is_none(copy, ranked, inputs):
    folder = copy(ranked)
    text = make_card(folder, int(inputs.object_id[1])).read_text()
    for name, address in sky_viewers(150.01, 1.99).items():
        assert f'<a href="{address.replace("&", "&amp;")}">{name}</a>' in text
    assert "Sky viewers" not in make_card(folder, int(inputs.object_id[4])).read_text()


def test_maps_and_bands_sum_to_the_scores_that_are_stored(ranked):
    opened = Ranking(ranked)
    for object_id in opened.object_ids[[3, 40]]:
        card = card_of(ranked, object_id)
        facts = opened.rows(np.array([object_id])).to_pylist()[0]
        assert card.gen_map.sum() == pytest.approx(facts["score_gen"], rel=1e-5)
        assert sum(card.bands.values()) == pytest.approx(facts["score_gen"], rel=1e-5)
        assert list(card.bands) == ["red", "green", "blue"]
        shares = [share for _, share in card.critic_channels]
        assert len(shares) == 10
        assert 0 < sum(shares) <= 1
        assert card.disc_map.shape == card.gen_map.shape == (32, 32)


def test_pictures_are_those_of_the_ranking(ranked):
    opened = Ranking(ranked)
    for object_id in opened.object_ids[opened.order()[[0, -1]]]:  # kept, and not kept
        card = card_of(ranked, object_id)
        np.testing.assert_array_equal(card.image, opened.survey.images([object_id])[0])
        np.testing.assert_array_equal(card.reconstruction, opened.reconstructions(np.array([object_id]))[0])
        np.testing.assert_array_equal(card.residual, opened.residuals(np.array([object_id]))[0])


def test_percentiles_are_of_the_reference_and_the_first_shown_is_of_all(ranked):
    opened = Ranking(ranked)
    first, last = opened.object_ids[opened.order()[[0, -1]]]
    assert card_of(ranked, last).scores["score_anom_conditional"][1] == 0
    scores = card_of(ranked, first).scores
    assert scores["score_anom_conditional"] == pytest.approx(
        (np.nanmax(opened.column("score_anom_conditional")), 100 * 63 / 64)
    )
    assert list(scores) == ["score_anom_conditional", "score_gen", "score_disc", "score_anom"]
    row = opened.rows(np.array([first])).to_pylist()[0]
    assert scores["score_disc"] == (row["score_disc"], row["score_disc_percentile"])


def listed(page):
    """Ids in the page's table of like objects, by the first word of their heading."""
    found = {}
    table = page.read_text().split("<h2>Like it</h2>")[1].split("</table>")[0]
    for heading, object_id in re.findall(r"<tr><td[^>]*>(\w+)[^<]*</td><td[^>]*>(-?\d+)</td>", table):
        found.setdefault(heading, []).append(int(object_id))
    return found


def test_the_nearest_and_the_nearest_typical_are_found(laid_out):
    folder, order, at = laid_out
    found = listed(make_card(folder, int(order[0]), n=3))  # the most anomalous: no typical one is near
    percentile = Atlas(folder).ranking().rows(order)["score_anom_percentile"].to_numpy()
    assert found == {"Most": order[1:4].tolist(), "Typical": order[percentile <= 50][:3].tolist()}
    nearest = np.argsort(np.abs(at - at[50]), kind="stable")[1:4]
    assert listed(make_card(folder, int(order[50]), n=3))["Most"] == order[nearest].tolist()


def test_fewer_than_asked_for_are_all_that_there_are(laid_out):
    folder, order, at = laid_out
    some = np.r_[:4, 60:64]
    write_features(folder, order[some], at[some], name="few")
    found = listed(make_card(folder, int(order[0]), features="few", n=20))
    assert found == {"Most": order[some[1:]].tolist(), "Typical": order[60:].tolist()}


def test_an_object_without_a_vector_has_no_like_objects(laid_out):
    folder, order, _ = laid_out
    write_features(folder, order[1:], np.r_[np.nan, np.arange(62)], name="other")
    for object_id in order[:2].tolist():
        assert "Like it" not in make_card(folder, object_id, features="other").read_text()
    assert "Like it" in make_card(folder, int(order[2]), features="other").read_text()


def test_several_feature_sets_or_maps_must_be_named(laid_out):
    folder, order, at = laid_out
    write_features(folder, order, at, name="other")
    with pytest.raises(ValueError, match="name one of the feature sets, as there are several: line, other"):
        make_card(folder, int(order[0]))
    with pytest.raises(FileNotFoundError, match="features/absent is not complete"):
        make_card(folder, int(order[0]), features="absent")
    with pytest.raises(FileNotFoundError, match="maps/absent is not complete"):
        make_card(folder, int(order[0]), features="line", map="absent")


def test_the_object_is_shown_at_its_place_on_the_map(copy, ranked):
    folder = copy(ranked)
    opened = Ranking(folder)
    ids = opened.object_ids
    write_map(folder, ids[:-1], np.arange(126).reshape(63, 2))
    rows = opened.rows(ids[[5]])
    card = _card(opened, int(ids[5]), rows, [], "flat")
    assert card.place.tolist() == [10, 11]
    np.testing.assert_array_equal(card.background, np.arange(126).reshape(63, 2))
    assert _card(opened, int(ids[-1]), rows, [], "flat").place is None
    assert make_card(folder, int(ids[-1])).exists()


def test_an_unknown_object_is_refused(ranked):
    with pytest.raises(KeyError, match="no object 12345"):
        make_card(ranked, 12345)


def test_no_neighbors_at_all_are_refused(ranked, inputs):
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        make_card(ranked, int(inputs.object_id[0]), n=0)


def test_scores_of_other_networks_are_not_taken_apart(copy, ranked, inputs):
    folder = copy(ranked)
    training = TrainingFolder(folder / "networks" / "gan")
    training.checkpoint_path().write_bytes(training.checkpoint_path(2).read_bytes())
    with pytest.raises(ValueError, match="has digest"):
        make_card(folder, int(inputs.object_id[0]))
    assert not (folder / "cards").exists()
