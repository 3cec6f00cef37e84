"""Which covariates a conditional score needs, and how it should use them, on planted oddities.

    python benchmarks/conditional.py ATLAS TRUTH

ATLAS is scored; TRUTH is the truth.csv of `peculiar simulate`. Prints AUROC and average precision of score_anom, raw
and conditional, for METHOD.md's prototype (median of the 60 nearest in five measures) and for the local line, with each
covariate left out in turn; and for score_gen of parts of the image alone, from the kept reconstructions.
"""

import sys
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from peculiar import Atlas
from peculiar.io.catalogs import read_catalog
from peculiar.scoring.conditional import FLOOR, Neighborhood, log_score
from peculiar.scoring.evaluation import auroc, average_precision
from peculiar.scoring.measures import COVARIATES
from peculiar.scoring.scores import score_anom
from peculiar.survey import Table

RINGS = ((0, 24), (0, 8), (8, 16), (16, 24), (24, 34))  # pixels
PROTOTYPE = ("brightness", "spread", "radius", "core", "background")  # METHOD.md sect. 8


def prototype(covariates: np.ndarray, log_scores: np.ndarray, n_neighbors: int = 60) -> np.ndarray:
    """(log score - median) / deviation of the nearest others, in standardized covariates."""
    places = (covariates - covariates.mean(0)) / covariates.std(0)
    near = cKDTree(places).query(places, n_neighbors + 1)[1][:, 1:]
    around = log_scores[near]
    deviation = np.maximum(around.std(axis=1), FLOOR * log_scores.std())
    return (log_scores - np.median(around, axis=1)) / deviation


def by_ring(atlas: Atlas, object_id: np.ndarray) -> dict[str, np.ndarray]:
    """score_gen of the pixels between two distances from the center (96-pixel images), by the ring's name."""
    size = atlas.survey.form.size
    offsets = np.arange(size) - (size - 1) / 2
    distance = np.hypot(offsets[:, None], offsets[None, :])
    rings = {f"{low} to {high} px": (distance >= low) & (distance < high) for low, high in RINGS}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in rings}
    for start in range(0, len(object_id), 512):
        left = atlas.residuals(object_id[start : start + 512]).sum(axis=3, dtype=np.float32) / 255
        for name, is_inside in rings.items():
            parts[name].append(left[:, is_inside].sum(axis=1))
    return {name: np.concatenate(each) for name, each in parts.items()}


def main() -> None:
    table = Table(Path(sys.argv[1]) / "scores" / "main" / "table.lance")
    truth = read_catalog(Path(sys.argv[2])).table
    kinds = dict(zip(truth["object_id"].to_pylist(), truth["planted_kind"].to_pylist(), strict=True))
    object_id = table.object_ids()
    kind = np.array([kinds[int(each)] or "" for each in object_id])
    logs = log_score(score_anom(table.column("score_gen"), table.column("score_disc"), 0.3))
    measured = {name: np.log1p(table.column(name)) for name in {*PROTOTYPE, *COVARIATES}}

    def covariates(names: tuple[str, ...]) -> np.ndarray:
        return np.stack([measured[name] for name in names], axis=1)

    def line(names: tuple[str, ...], logs: np.ndarray = logs) -> np.ndarray:
        rows = covariates(names)
        return Neighborhood(object_id, rows, logs[:, None]).conditional(object_id, rows, logs[:, None])[:, 0]

    orders = {
        "raw": logs,
        "median of 60, prototype's five": prototype(covariates(PROTOTYPE), logs),
        "median of 60, ours": prototype(covariates(COVARIATES), logs),
        "line, prototype's five": line(PROTOTYPE),
        "line, ours": line(COVARIATES),
        **{f"line, ours but {name}": line(tuple(x for x in COVARIATES if x != name)) for name in COVARIATES},
    }
    for name, values in by_ring(Atlas(sys.argv[1]), object_id).items():
        orders[f"line, ours, of score_gen at {name}"] = line(COVARIATES, log_score(values))
    print(f"{len(object_id)} objects, {(kind != '').sum()} planted")
    print(f"{'score_anom, conditional by':34s} {'astrophysical':>18s} {'artefact':>18s}   (AUROC, average precision)")
    for name, values in orders.items():
        cells = []
        for which in ("astrophysical", "artefact"):
            judged = (kind == "") | (kind == which)
            scores, is_odd = values[judged], kind[judged] == which
            cells.append(f"{auroc(scores, is_odd):8.3f} {average_precision(scores, is_odd):9.3f}")
        print(f"{name:34s} {cells[0]} {cells[1]}")


if __name__ == "__main__":
    main()
