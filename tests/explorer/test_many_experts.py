"""Twenty experts at once, and a server that is killed in between: nothing that was acknowledged is lost or doubled."""

import importlib.util
import shutil
from pathlib import Path

from peculiar import Atlas

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "explorer_labels.py"


def test_nothing_acknowledged_is_lost_when_the_server_is_killed(explored, tmp_path):
    spec = importlib.util.spec_from_file_location("explorer_labels", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    folder = shutil.copytree(explored, tmp_path / "atlas")
    object_ids = Atlas(folder).ranking().object_ids.tolist()
    found = benchmark.label_all(folder, tmp_path / "server.log", object_ids, n_labels=4_000)
    assert found["n_acknowledged"] == found["n_events"] == 4_000
    assert found["n_sent_again"] > 0
    assert found["n_pairs"] > 20 * 60
