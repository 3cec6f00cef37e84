import csv
import json
import math

import numpy as np
import pytest

from peculiar import Atlas
from peculiar.judging import BASELINES
from peculiar.stages.bench import BenchConfig, bench


@pytest.fixture
def planted(copy, ranked, tmp_path):
    """An atlas, and a truth that knows two rings at the head of the order, one in the middle, a trail at the end."""
    folder = copy(ranked)
    opened = Atlas(folder).ranking()
    ids = opened.object_ids[opened.order()].tolist()
    planted = {ids[0]: ("ring", "astrophysical", 3.0), ids[1]: ("ring", "astrophysical", 2.0)}
    planted |= {ids[30]: ("ring", "astrophysical", 1.0), ids[-1]: ("trail", "artefact", 5.0)}
    lines = ["object_id,planted_class,planted_kind,planted_strength"]
    for each in sorted(ids):
        name, kind, strength = planted.get(each, ("", "", ""))
        lines.append(f"{each},{name},{kind},{strength}")
    (tmp_path / "truth.csv").write_text("\n".join(lines) + "\n")
    return folder, tmp_path / "truth.csv", ids


def table(folder):
    with (folder / "bench" / "main" / "bench.csv").open() as stream:
        return {(row["by"], row["subset"], row["order"], row["metric"]): row for row in csv.DictReader(stream)}


def described(folder):
    """The atlas in a folder, with small self-supervised features."""
    atlas = Atlas(folder)
    atlas.train_features(width=2, n_features=4, side=16, batch_size=16, n_steps=2)
    atlas.make_features("self-supervised")
    return atlas


def by_class(folder):
    return json.loads((folder / "bench" / "main" / "bench.json").read_text())["by_class"]


def test_what_was_planted_is_counted_where_it_stands(planted):
    folder, truth, _ = planted
    run = bench(folder, BenchConfig(truth=truth, n_bootstrap=10))
    assert (run.outputs["n_objects"], run.outputs["n_odd"]) == (64, 4)
    assert run.outputs["by_class"] == {  # 1 % of 64 is one object, 5 % are three
        "ring": {"kind": "astrophysical", "there": 3, "top_1_percent": 1, "top_5_percent": 2},
        "trail": {"kind": "artefact", "there": 1, "top_1_percent": 0, "top_5_percent": 0},
    }
    home = folder / "bench" / "main"
    assert (folder / run.outputs["page"]) == home / "bench.html"
    pictures = {"orders.png", "classes.png", "completeness-astrophysical.png", "completeness-artefact.png"}
    assert {path.name for path in home.glob("*.png")} == pictures


def test_each_kind_is_judged_among_the_normal_objects_alone(planted):
    folder, truth, _ = planted
    bench(folder, BenchConfig(truth=truth, n_bootstrap=0, n_top=(2,)))
    found = table(folder)
    orders = [f"score_{name}{form}" for name in ("gen", "disc", "anom") for form in ("", "_conditional")]
    judged = [order for by, kind, order, metric in found if (by, kind, metric) == ("kind", "artefact", "auroc")]
    assert set(judged[:-4]) == set(orders)
    assert judged[-4:] == list(BASELINES)
    mine = ("kind", "astrophysical", "score_anom_conditional")
    assert float(found[*mine, "auroc"]["value"]) == pytest.approx((60 + 60 + 32) / 180, abs=1e-6)  # no trail
    assert float(found[*mine, "average_precision"]["value"]) == pytest.approx((1 + 1 + 3 / 31) / 3, abs=1e-6)
    assert float(found[*mine, "rank_weighted_at_2"]["value"]) == 1
    assert (found[*mine, "auroc"]["n"], found[*mine, "auroc"]["n_odd"], found[*mine, "auroc"]["low"]) == (
        "63",
        "3",
        "nan",
    )
    assert found["kind", "artefact", "score_anom_conditional", "auroc"]["value"] == "0"
    assert found["class", "trail", "score_anom_conditional", "auroc"]["value"] == "0"
    written = json.loads((folder / "bench" / "main" / "bench.json").read_text())
    assert written["rank_correlation"]["brightness"]["brightness"] == pytest.approx(1)
    assert all(math.isfinite(each) for each in written["rank_correlation"]["score_anom"].values())


def test_thirds_of_a_column_are_judged_apart(planted):
    folder, truth, ids = planted
    bench(folder, BenchConfig(truth=truth, n_bootstrap=0, split=("magnitude",)))
    found = table(folder)
    parts = {subset: row for (by, subset, order, metric), row in found.items() if by == "magnitude"}
    n_odd = sum(int(row["n_odd"]) for subset, row in parts.items() if "astrophysical" in subset)
    opened = Atlas(folder).ranking()
    magnitude = opened.column("magnitude")
    known = np.isfinite(magnitude[np.isin(opened.object_ids, [ids[0], ids[1], ids[30]])]).sum()
    assert n_odd == known
    assert all(int(row["n"]) < 40 for row in parts.values())


def test_a_plain_table_of_labels_is_a_truth(planted, tmp_path):
    folder, _, ids = planted
    lines = [f"{each},{'Merger' if place in (0, 5, 9) else 'normal'}" for place, each in enumerate(ids[:40])]
    path = tmp_path / "labels.csv"
    path.write_text("object_id,label\n" + "\n".join([*lines, f"{ids[41]},artefact"]) + "\n")
    run = bench(folder, BenchConfig(truth=path, n_bootstrap=0))
    assert (run.outputs["n_objects"], run.outputs["n_odd"]) == (41, 3)
    assert list(run.outputs["kinds"]) == ["odd"]
    liked = bench(folder, BenchConfig(truth=path, like=("artefact",), n_bootstrap=0), replace=True)
    assert liked.outputs["n_odd"] == 1


def test_a_truth_that_judges_nothing_is_refused(planted, tmp_path):
    folder, truth, ids = planted
    head, *lines = truth.read_text().splitlines()

    def refused(rows, message, **told):
        path = tmp_path / "refused.csv"
        path.write_text("\n".join(rows) + "\n")
        with pytest.raises(ValueError, match=message):
            bench(folder, BenchConfig(truth=path, **told), replace=True)

    refused([head, *(f"{each},,," for each in ids)], "nothing in .* is odd")
    refused([head, *(f"{each},ring,astrophysical,1" for each in ids)], "no object in .* is normal")
    refused([head, "12,ring,astrophysical,1"], "says nothing of the objects of this atlas")
    refused([head, *lines], "has no column shape; it has object_id, planted_class", column="shape")
    refused([head, *lines], "like names cow", like=("cow",))


def test_objects_that_the_truth_does_not_know_are_left_out(planted, caplog):
    folder, truth, _ = planted
    truth.write_text("\n".join(truth.read_text().splitlines()[:-2]) + "\n")
    run = bench(folder, BenchConfig(truth=truth, n_bootstrap=0))
    assert run.outputs["n_objects"] == 62
    assert "says nothing of 2 of 64 objects" in caplog.text


def test_sets_and_made_experts_are_judged_where_there_are_features(planted, tmp_path):
    folder, _, ids = planted
    described(folder)
    truth = tmp_path / "many.csv"
    names = ["ring", "arc", "", "", ""]
    lines = [f"{each},{names[place % 5]}" for place, each in enumerate(ids)]
    truth.write_text("object_id,label\n" + "\n".join(lines) + "\n")
    run = bench(folder, BenchConfig(truth=truth, n_bootstrap=0, n_labels=30, n_experts=2))
    written = json.loads((folder / "bench" / "main" / "bench.json").read_text())
    found = written["feature_sets"]["self-supervised"]
    assert found["n_features"] == 8  # two looks
    assert 0 <= found["own_class"] <= 1
    assert found["own_class_by_chance"] == pytest.approx(12 / 25)  # 13 of each; 12 others among 25
    assert {"auroc", "learnt_found", "learnt_among"} <= set(found["kinds"]["odd"])
    experts = written["experts"]["odd"]
    assert set(experts) == {"score_anom_conditional", "gaussian-process", "logistic", "forest"}
    for counts in experts.values():
        assert np.shape(counts) == (2, 30)
        assert (np.diff(counts) >= 0).all()
    assert experts["gaussian-process"][0][:20] == experts["score_anom_conditional"][0][:20]  # the first batch
    assert (folder / "bench" / "main" / "experts-odd.png").exists()
    assert run.outputs["n_odd"] == 26


def test_interest_is_judged_without_the_objects_it_was_told_of(planted, tmp_path):
    folder, truth, ids = planted
    atlas = described(folder)
    labels = tmp_path / "labels.csv"
    labels.write_text("object_id,label\n" + f"{ids[0]},ring\n{ids[5]},normal\n")
    atlas.learn(labels)
    bench(folder, BenchConfig(truth=truth, n_bootstrap=0, n_labels=0))
    found = table(folder)
    mine = found["kind", "astrophysical", "interest", "auroc"]
    assert (mine["n"], mine["n_odd"]) == ("61", "2")  # of 63 and 3
    assert found["kind", "astrophysical", "brightness", "auroc"]["n"] == "63"
    assert by_class(folder)["interest"]["ring"]["there"] == 2
    labels.write_text("object_id,label\n" + f"{ids[0]},ring\n")
    bench(folder, BenchConfig(truth=truth, n_bootstrap=0, n_labels=0), replace=True)
    assert not any(order == "interest" for _, _, order, _ in table(folder))  # the labels are others now
    labels.unlink()
    bench(folder, BenchConfig(truth=truth, n_bootstrap=0, n_labels=0), replace=True)
    assert not any(order == "interest" for _, _, order, _ in table(folder))


def test_names_of_any_kind_are_no_paths_and_no_mathematics(planted, tmp_path):
    folder, _, ids = planted
    names = ["a/../b", r"$\frac$ and x_{$^^$", "<script>alert(1)</script>", "r" * 300, "", ""]
    kinds = ["/etc/passwd", "k" * 300, "../up", "", "", ""]
    lines = [f'{each},"{names[place % 6]}","{kinds[place % 6]}"' for place, each in enumerate(ids)]
    path = tmp_path / "names.csv"
    path.write_text("object_id,Label,planted_kind\n" + "\n".join(lines) + "\n")
    run = bench(folder, BenchConfig(truth=path, n_bootstrap=0))
    assert set(run.outputs["kinds"]) == {"/etc/passwd", "k" * 300, "../up", "odd"}
    home = folder / "bench" / "main"
    assert len(list(home.glob("completeness-*.png"))) == 4
    assert "<script>" not in (home / "bench.html").read_text()


def test_odd_objects_without_a_kind_are_odd_all_the_same(planted, tmp_path):
    folder, _, ids = planted
    path = tmp_path / "kinds.csv"
    lines = [f"{each},{'ring' if place < 8 else ''},{'a' if place < 4 else ''}" for place, each in enumerate(ids)]
    path.write_text("object_id,label,planted_kind\n" + "\n".join(lines) + "\n")
    run = bench(folder, BenchConfig(truth=path, n_bootstrap=0))
    assert run.outputs["n_odd"] == 8
    assert {kind: by["random"]["n"] for kind, by in run.outputs["kinds"].items()} == {"a": 60, "odd": 60}


def test_what_cannot_be_judged_leaves_the_result_of_before(planted):
    folder, truth, _ = planted
    bench(folder, BenchConfig(truth=truth, n_bootstrap=0))
    before = (folder / "bench" / "main" / "bench.html").read_bytes()
    for told in ({"split": ("nope",)}, {"features": "a/b"}, {"column": "nope"}):
        with pytest.raises((ValueError, KeyError)):
            bench(folder, BenchConfig(truth=truth, n_bootstrap=0, **told), replace=True)
        assert (folder / "bench" / "main" / "bench.html").read_bytes() == before
    bench(folder, BenchConfig(truth=truth, n_bootstrap=2, seed=-1), replace=True)


def test_a_bench_is_stale_once_what_it_judged_was_made_anew(planted):
    folder, truth, _ = planted
    atlas = described(folder)
    atlas.measure_neighbors("frame")
    atlas.relate("neighbors/frame")
    atlas.bench(truth, n_bootstrap=0, n_labels=0)
    assert {each.folder: each.state for each in atlas.status()}["bench/main"] == "complete"
    atlas.relate("neighbors/frame", replace=True)
    assert {each.folder: each.state for each in atlas.status()}["bench/main"] == "stale"


def test_a_truth_that_says_two_things_is_said_to(planted, tmp_path, caplog):
    folder, truth, ids = planted
    path = tmp_path / "twice.csv"
    path.write_text(truth.read_text() + f"{ids[5]},ring,astrophysical,1\n")
    run = bench(folder, BenchConfig(truth=path, n_bootstrap=0))
    assert run.outputs["n_odd"] == 4
    assert f"says two things of object {ids[5]}" in caplog.text


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"n_bootstrap": -1}, "n_bootstrap must not be negative, got -1"),
        ({"n_labels": -1}, "n_labels must not be negative, got -1"),
        ({"n_experts": 0}, "n_experts and n_top must be at least 1, got 0"),
        ({"n_top": (0,)}, "n_experts and n_top must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(told, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        BenchConfig(truth=tmp_path, **told)
