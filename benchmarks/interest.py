"""Interest at 100,000 objects of 128 features and 3 scores: seconds to learn and to predict, and peak memory.

    python benchmarks/interest.py [ATLAS TRUTH]

On made numbers, with 200, 2,000 and 10,000 labels. With an atlas and its truth, also `peculiar learn` as a whole on 200
labels of it, reading and writing included; and what a model that has seen all labels would find.
"""

import resource
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow.csv

from environment import machine_line
from peculiar.scoring.interest import AT_ONCE, InterestModel

N_OBJECTS, N_FEATURES, N_SCORES = 100_000, 128, 3


def made() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(N_OBJECTS, N_FEATURES)).astype(np.float32)
    scores = random.normal(size=(N_OBJECTS, N_SCORES)).astype(np.float32)
    grades = (features[:, 0] + scores[:, 0] > 1).astype(float)
    for n_labels in (200, 2_000, 10_000):
        began = perf_counter()
        model = InterestModel.fit(features[:n_labels], scores[:n_labels], grades[:n_labels])
        learnt = perf_counter()
        for start in range(0, N_OBJECTS, AT_ONCE):
            model.predict(features[start : start + AT_ONCE], scores[start : start + AT_ONCE])
        done = perf_counter()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{n_labels:6,} labels: learnt in {learnt - began:.2f} s, {N_OBJECTS:,} predicted in "
            f"{done - learnt:.2f} s; peak {peak:,.0f} MiB",
            flush=True,
        )


def of_atlas(folder: str, truth: Path) -> None:
    from peculiar import Atlas

    table = pyarrow.csv.read_csv(truth)
    kinds = [each or "normal" for each in table["planted_kind"].to_pylist()]
    chosen = np.random.default_rng(0).permutation(len(kinds))[:200]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "labels.csv"
        ids = table["object_id"].to_pylist()
        path.write_text("object_id,label\n" + "".join(f"{ids[each]},{kinds[each]}\n" for each in chosen))
        atlas = Atlas(folder)
        for _ in range(2):  # the second is what an explorer that stays open has
            began = perf_counter()
            run = atlas.learn(path, name="benchmark", like=("astrophysical", "artefact"), replace=True)
            print(
                f"learn, {run.outputs['n_objects']:,} objects, 200 labels: {perf_counter() - began:.2f} s", flush=True
            )


def of_all_labels(folder: str, truth: Path) -> None:
    """What a model that has seen the whole truth finds, cross-validated: what the features hold, however learnt."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    from peculiar.learning import Evidence

    evidence, table = Evidence(Path(folder), "self-supervised", "main"), pyarrow.csv.read_csv(truth)
    kinds = dict(zip(table["object_id"].to_pylist(), table["planted_kind"].to_pylist(), strict=True))
    ids = evidence.ranking.object_ids
    kind = np.array([kinds[each] or "" for each in ids.tolist()])
    rows = np.concatenate([evidence.vectors_of(ids), evidence.scores_of(ids)], axis=1)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    for name, is_one in (("astrophysical", kind == "astrophysical"), ("both kinds", kind != "")):
        line = LogisticRegression(C=0.01, max_iter=3_000)
        chance = cross_val_predict(line, rows, is_one, cv=folds, method="predict_proba")[:, 1]
        order = np.argsort(-chance)
        found = ", ".join(f"{is_one[order[:n]].sum()} in the first {n}" for n in (50, 100, 200))
        print(f"logistic regression on all labels, {name}, {is_one.sum()} in all: {found}", flush=True)


if __name__ == "__main__":
    print(machine_line())
    made()
    if len(sys.argv) > 2:
        of_atlas(sys.argv[1], Path(sys.argv[2]))
        of_all_labels(sys.argv[1], Path(sys.argv[2]))
