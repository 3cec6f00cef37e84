"""What score_joint joins, and how: every join, and what is joined, against what was planted.

    python benchmarks/orders.py ATLAS TRUTH

ATLAS has been through `peculiar run`; TRUTH is what `peculiar simulate` wrote. AUROC with a 95 % bootstrap interval,
average precision likewise, recall among the first 1 % and 5 %, for each kind of oddity among the normal objects. And
how many of those that `peculiar significance` counts were planted.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow.csv
from scipy.stats import norm, rankdata

from environment import machine_line
from peculiar import Atlas
from peculiar.scoring.evaluation import evaluate
from peculiar.scoring.scores import Distribution, joint


def orders(atlas: Atlas) -> dict[str, np.ndarray]:
    """Every order by its name, over the ranking's objects."""
    ranking = atlas.ranking()
    names = {
        "a": "score_anom_conditional",
        "g": "score_gen_conditional",
        "f": "score_neighbors_frame",
        "ff": "score_neighbors_frame_conditional",
        "c": "score_neighbors_center",
        "cc": "score_neighbors_center_conditional",
        "d": "score_foreign_detector",
        "dd": "score_foreign_detector_conditional",
        "brightness": "brightness",
    }
    found = {key: ranking.column(name) for key, name in names.items()}
    part = {key: (rankdata(values) - 0.5) / len(values) for key, values in found.items()}

    def fisher(keys: str) -> np.ndarray:
        values = np.stack([found[key] for key in keys.split("+")], axis=1)
        return joint([Distribution.of(each) for each in values.T], values)

    for keys in (
        "a+f",
        "a+cc",
        "f+cc",
        "a+f+ff",
        "a+c+cc",
        "a+f+cc",
        "a+f+ff+c+cc",
        "g+f+cc",
        "a+g+f+cc",
        "d+dd",
        "a+g+f+cc+d",
        "a+g+f+cc+dd",
        "a+g+f+cc+d+dd",
    ):
        found[f"Fisher {keys}"] = fisher(keys)
    for keys in ("a+f+cc",):
        found[f"sum of ranks {keys}"] = sum(part[key] for key in keys.split("+"))
        found[f"sum of normal deviations {keys}"] = sum(norm.ppf(part[key]) for key in keys.split("+"))
    return found


def main() -> None:
    atlas, truth = Atlas(sys.argv[1]), pyarrow.csv.read_csv(Path(sys.argv[2]))
    kinds = dict(zip(truth["object_id"].to_pylist(), truth["planted_kind"].to_pylist(), strict=True))
    kind = np.array([kinds[each] or "" for each in atlas.ranking().object_ids.tolist()])
    print(machine_line())
    for by in ("score_anom_conditional", "score_gen_conditional"):
        found = atlas.significance(by)
        is_planted = np.array([bool(kinds[each]) for each in found["object_id"].tolist()])
        for level in (0.05, 0.1, 0.2):
            is_found = np.asarray(found["false_discovery_rate"]) <= level
            print(
                f"{by} at a false-discovery rate of {level:g}: {is_found.sum()}, planted {is_planted[is_found].sum()}"
            )
    print("a, g: conditional score_anom, score_gen; f, c: neighbor distance of frame and center; ff, cc: conditional")
    for name, values in orders(atlas).items():
        for each in sorted(set(kind) - {""}):
            is_judged = (kind == "") | (kind == each)
            got = evaluate(values[is_judged], kind[is_judged] == each, n_bootstrap=200, seed=0)
            shown = " ".join(
                f"{key} {got[key]:.3f} ({got[f'{key}_low']:.3f} to {got[f'{key}_high']:.3f})"
                for key in ("auroc", "average_precision", "recall_1_percent", "recall_5_percent")
            )
            print(f"{name:32s} {each:14s} {shown}", flush=True)


if __name__ == "__main__":
    main()
