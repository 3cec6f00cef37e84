import json
import math

import pytest

from peculiar import Atlas
from peculiar.stages.recover import BASELINES, RecoverConfig, recover


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


def test_what_was_planted_is_counted_where_it_stands(planted):
    folder, truth, _ = planted
    run = recover(folder, RecoverConfig(truth=truth, n_bootstrap=10))
    assert (run.outputs["n_objects"], run.outputs["n_planted"]) == (64, 4)
    assert run.outputs["by_class"] == {  # 1 % of 64 is one object, 5 % are three
        "ring": {"kind": "astrophysical", "planted": 3, "top_1_percent": 1, "top_5_percent": 2},
        "trail": {"kind": "artefact", "planted": 1, "top_1_percent": 0, "top_5_percent": 0},
    }
    assert (folder / run.outputs["page"]).exists()
    assert (folder / "recovery" / "main" / "recovery.png").exists()


def test_each_kind_is_judged_among_the_normal_objects_alone(planted):
    folder, truth, _ = planted
    recover(folder, RecoverConfig(truth=truth, n_bootstrap=0))
    written = json.loads((folder / "recovery" / "main" / "recovery.json").read_text())
    orders = [f"score_{name}{form}" for name in ("gen", "disc", "anom") for form in ("", "_conditional")]
    assert set(written["metrics"]) == {"astrophysical", "artefact"}
    astrophysical = written["metrics"]["astrophysical"]["score_anom_conditional"]
    assert astrophysical["auroc"] == pytest.approx((60 + 60 + 32) / 180)  # the trail at the end is left out
    assert astrophysical["average_precision"] == pytest.approx((1 + 1 + 3 / 31) / 3)
    assert written["metrics"]["artefact"]["score_anom_conditional"]["auroc"] == 0
    assert set(written["metrics"]["artefact"]) == set(written["by_class"]) == {*orders, *BASELINES}
    assert list(written["by_class"])[-3:] == list(BASELINES)
    assert written["rank_correlation"]["brightness"]["brightness"] == pytest.approx(1)
    assert all(math.isfinite(each) for each in written["rank_correlation"]["score_anom"].values())


def test_a_truth_of_other_objects_is_refused(planted, tmp_path):
    folder, truth, ids = planted
    lines = truth.read_text().splitlines()
    few = tmp_path / "few.csv"
    few.write_text("\n".join(lines[:-2]) + "\n")
    with pytest.raises(ValueError, match="the truth knows nothing of 2 of 64 objects"):
        recover(folder, RecoverConfig(truth=few))
    none = tmp_path / "none.csv"
    none.write_text("\n".join([lines[0], *(f"{each},,," for each in ids)]) + "\n")
    with pytest.raises(ValueError, match="nothing was planted"):
        recover(folder, RecoverConfig(truth=none), replace=True)


def test_a_negative_number_of_draws_is_refused(tmp_path):
    with pytest.raises(ValueError, match="n_bootstrap must not be negative, got -1"):
        RecoverConfig(truth=tmp_path, n_bootstrap=-1)
