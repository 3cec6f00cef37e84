import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

from peculiar import Atlas
from peculiar.run import begin, finish, read_run
from peculiar.stages.cluster import MOST_SHOWN, ClusterConfig, cluster
from peculiar.survey import Survey, Table

CONFIG = ClusterConfig(of="features/look", min_size=8, min_samples=3)


def vectors_of(place):
    """Two far groups, by the last digit of the place, which the catalog's magnitude is made of; place 7 has none."""
    place = np.asarray(place)
    random = np.random.default_rng(0)
    noise = random.normal(0, 0.3, (64, 4))[place]
    vectors = (noise + np.where(place % 10 < 4, 10, 0)[:, None]).astype(np.float32)
    vectors[place == 7] = np.nan
    return vectors


def write_features(folder, object_id, vectors, *, replace=False):
    schema = pa.schema([("object_id", pa.int64()), ("vector", pa.list_(pa.float32(), vectors.shape[1]))])
    packed = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    rows = pa.record_batch([pa.array(object_id), packed], schema=schema)
    home = folder / "features" / "look"
    run = begin(home, "features", CONFIG, inputs={}, replace=replace)
    Table(home / "table.lance").append_in_commits([rows], schema, n_rows=10**6)
    finish(home, run)


def rows_of(folder, name="look"):
    """The table's columns, by ascending id."""
    whole = Table(folder / "clusters" / name / "table.lance").open().to_table().sort_by("object_id")
    return {column: whole[column].to_numpy() for column in whole.column_names}


def cards_of(folder, name="look"):
    return json.loads((folder / "clusters" / name / "cards.json").read_text())


@pytest.fixture(scope="module")
def clustered(tmp_path_factory, ranked, inputs):
    """An atlas with vectors of all objects, and their clusters. Not to be changed."""
    folder = shutil.copytree(ranked, tmp_path_factory.mktemp("clustered") / "atlas")
    write_features(folder, inputs.object_id, vectors_of(np.arange(64)))
    cluster(folder, CONFIG, name="look")
    return folder


def test_every_object_has_its_cluster_by_its_id(clustered, inputs):
    rows = rows_of(clustered)
    place = {int(each): number for number, each in enumerate(inputs.object_id)}
    truth = np.array([1 if place[int(each)] % 10 < 4 else 0 for each in rows["object_id"]])
    is_in = rows["cluster"] >= 0
    assert_array_equal(np.sort(rows["object_id"]), np.sort(inputs.object_id))
    assert_array_equal(rows["cluster"][is_in], truth[is_in])
    assert is_in.mean() > 0.9
    assert rows["cluster"][rows["object_id"] == inputs.object_id[7]] == -1
    assert ((rows["hint_artefact"] > 0) & (rows["hint_artefact"] < 1)).all()


def test_a_card_says_what_sets_its_cluster_apart(clustered, inputs):
    rows, cards = rows_of(clustered), cards_of(clustered)
    assert [card["cluster"] for card in cards] == [0, 1]
    for card in cards:
        is_mine = rows["cluster"] == card["cluster"]
        assert card["n_objects"] == is_mine.sum()
        assert set(card["typical"]) <= set(map(str, rows["object_id"][is_mine]))
        assert len(card["typical"]) == 9
        assert card["hint_artefact"] == pytest.approx(rows["hint_artefact"][is_mine].mean(), rel=1e-5)
        first = card["sets_apart"][0]
        assert first["column"] == "magnitude"
        assert first["n_missing"] == 1  # object 4 has none
        assert first["p_corrected"] < 1e-4
        strongest = rows["strength"][is_mine].max()
        assert rows["strength"][rows["object_id"] == int(card["typical"][0])] == strongest
    assert cards[1]["sets_apart"][0]["effect"] < 0.1
    assert not any(row["column"].startswith(("score_", "object_id")) for card in cards for row in card["sets_apart"])


def test_the_page_shows_every_cluster_with_pictures_that_are_there(clustered):
    home = clustered / "clusters" / "look"
    page = (home / "clusters.html").read_text()
    pictures = re.findall('img src="([^"]+)"', page)
    assert len(pictures) == len(cards_of(clustered)) <= MOST_SHOWN
    assert all((home / each).stat().st_size > 1_000 for each in pictures)
    assert "magnitude" in page
    assert "a hint, no verdict" in page
    assert str(cards_of(clustered)[0]["typical"][0]) in page


def test_the_order_of_rows_changes_nothing(copy, ranked, clustered, inputs):
    folder = copy(ranked)
    order = np.random.default_rng(2).permutation(64)
    write_features(folder, inputs.object_id[order], vectors_of(order))
    cluster(folder, CONFIG, name="look")
    for name, values in rows_of(clustered).items():
        assert_array_equal(rows_of(folder)[name], values)
    assert cards_of(folder) == cards_of(clustered)


def test_later_objects_join_and_move_no_other(copy, ranked, inputs):
    folder = copy(ranked)
    write_features(folder, inputs.object_id[:50], vectors_of(np.arange(50)))
    cluster(folder, CONFIG, name="look")
    before, cards = rows_of(folder), cards_of(folder)
    write_features(folder, inputs.object_id[50:], vectors_of(np.arange(50, 64)))
    run = cluster(folder, CONFIG, name="look")
    after = rows_of(folder)
    is_old = np.isin(after["object_id"], before["object_id"])
    for name, values in before.items():
        assert_array_equal(after[name][is_old], values)
    place = {int(each): number for number, each in enumerate(inputs.object_id)}
    truth = np.array([1 if place[int(each)] % 10 < 4 else 0 for each in after["object_id"][~is_old]])
    joined = after["cluster"][~is_old]
    assert_array_equal(joined[joined >= 0], truth[joined >= 0])
    assert (joined >= 0).sum() > 7
    assert (run.outputs["n_objects"], run.outputs["n_fitted"]) == (64, 50)
    for old, new in zip(cards, cards_of(folder), strict=True):
        assert new["typical"] == old["typical"]
        assert new["sets_apart"] == old["sets_apart"]
        assert new["n_objects"] > old["n_objects"]


def test_one_interrupted_goes_on_to_the_same_end(copy, clustered):
    folder = copy(clustered)
    home = folder / "clusters" / "look"
    table = Table(home / "table.lance")
    half = table.open().to_table().slice(0, 20)
    shutil.rmtree(table.path)
    table.append(half.to_batches(), half.schema)
    (home / "run.json").rename(home / "started.json")
    (home / "cards.json").unlink()
    cluster(folder, CONFIG, name="look")
    for name, values in rows_of(clustered).items():
        assert_array_equal(rows_of(folder)[name], values)
    assert cards_of(folder) == cards_of(clustered)
    assert read_run(home) is not None


def test_only_a_sample_is_fitted_and_the_others_join(copy, clustered):
    folder = copy(clustered)
    config = ClusterConfig(of="features/look", min_size=8, min_samples=3, n_objects=40)
    run = cluster(folder, config, name="sampled")
    rows, whole = rows_of(folder, "sampled"), rows_of(folder)
    assert (run.outputs["n_objects"], run.outputs["n_fitted"]) == (64, 40)
    both = (rows["cluster"] >= 0) & (whole["cluster"] >= 0)
    assert both.sum() > 50
    assert_array_equal(rows["cluster"][both], whole["cluster"][both])


def test_places_on_a_map_are_clustered_and_drawn(copy, ranked, inputs):
    folder = copy(ranked)
    places = np.delete(vectors_of(np.arange(64))[:, :2], 7, axis=0)  # a map leaves out what has no vector
    columns = {"object_id": np.delete(inputs.object_id, 7), "map_x": places[:, 0], "map_y": places[:, 1]}
    rows = pa.record_batch({name: pa.array(values) for name, values in columns.items()})
    run = begin(folder / "maps" / "look", "map", CONFIG, inputs={})
    Table(folder / "maps" / "look" / "table.lance").append_in_commits([rows], rows.schema, n_rows=10**6)
    finish(folder / "maps" / "look", run)
    done = cluster(folder, ClusterConfig(of="maps/look", min_size=8, min_samples=3), name="look")
    assert (done.outputs["n_objects"], done.outputs["n_clusters"]) == (63, 2)
    assert (folder / "clusters" / "look" / "figures" / "map.png").stat().st_size > 1_000


def test_objects_that_are_not_ranked_have_a_hint_and_no_card(copy, clustered, inputs):
    folder = copy(clustered)
    known = cards_of(folder)[0]["typical"][0]
    for table in ("scores/main", "rankings/main"):
        Table(folder / table / "table.lance").open().delete(f"object_id = {known}")
    cluster(folder, CONFIG, name="look", replace=True)
    rows = rows_of(folder)
    assert np.isfinite(rows["hint_artefact"]).all()
    cards = cards_of(folder)
    assert known not in cards[0]["typical"]
    assert cards[0]["n_compared"] == (rows["cluster"] == 0).sum() - 1


def test_without_clusters_the_page_says_so(copy, clustered):
    folder = copy(clustered)
    run = cluster(folder, ClusterConfig(of="features/look", min_size=60), name="none")
    assert (run.outputs["n_clusters"], run.outputs["n_in_none"]) == (0, 64)
    assert cards_of(folder, "none") == []
    assert "clusters" in (folder / "clusters" / "none" / "clusters.html").read_text()


def test_vectors_made_anew_are_refused_until_replace(copy, clustered, inputs):
    folder = copy(clustered)
    write_features(folder, inputs.object_id, vectors_of(np.arange(64)), replace=True)
    with pytest.raises(ValueError, match="made anew"):
        cluster(folder, CONFIG, name="look")
    cluster(folder, CONFIG, name="look", replace=True)


def test_another_table_is_refused_and_not_ignored(clustered):
    with pytest.raises(FileNotFoundError, match="maps/other is not complete"):
        Atlas(clustered).cluster("maps/other", name="look")


def test_clusters_and_hints_are_columns_of_the_ranking_and_not_compared(clustered, inputs):
    rows, opened = rows_of(clustered), Atlas(clustered).ranking()
    found = opened.rows(rows["object_id"])
    assert_array_equal(found["cluster_look"].to_numpy(), rows["cluster"])
    assert_array_equal(found["hint_artefact"].to_numpy(), rows["hint_artefact"])
    assert opened.column("hint_artefact").shape == (64,)


@pytest.mark.parametrize("of", ["look", "scores/look", "features/", "maps/../features"])
def test_other_places_are_refused(of):
    with pytest.raises(ValueError, match="of must be"):
        ClusterConfig(of=of)


@pytest.mark.parametrize("wrong", [{"min_size": 1}, {"min_samples": 0}, {"n_objects": 20}])
def test_ranges_are_checked(wrong):
    with pytest.raises(ValueError, match="must be"):
        ClusterConfig(of="maps/look", **wrong)


@pytest.mark.parametrize("of", ["features/none", "maps/none"])
def test_what_is_not_there_is_named(ranked, of):
    with pytest.raises(FileNotFoundError, match=of):
        cluster(ranked, ClusterConfig(of=of), name="none")
    assert not (ranked / "clusters").exists()


def test_the_survey_and_the_ranking_stay_as_they_are(clustered, ranked):
    for folder in (clustered, ranked):
        assert Survey(folder / "survey" / "table.lance").version == Survey(ranked / "survey" / "table.lance").version
    assert read_run(clustered / "rankings" / "main") == read_run(ranked / "rankings" / "main")
