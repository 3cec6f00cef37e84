"""In what form self-supervised features say most: as learnt, in principal components, of one length.

    python benchmarks/components.py ATLAS TRUTH

The network of `networks/self-supervised` is applied to all images; TRUTH is what `peculiar simulate` wrote. For each
form: AUROC of the mean distance to the 10 nearest for each kind of oddity among the normal objects, and the part of
its own class among the 10 nearest planted neighbors of a planted object.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow.csv
import torch
from sklearn.metrics import roc_auc_score

from environment import machine_line
from peculiar import Atlas, engine
from peculiar.checkpoint import TrainingFolder, load_network
from peculiar.networks.contrastive import LOOKS, ContrastiveEncoder
from peculiar.scoring.neighbors import mean_distance, nearest


def learnt(atlas: Atlas) -> tuple[np.ndarray, np.ndarray]:
    """Ids, and what the network has learnt of their images, (looks, n, n_learnt)."""
    path = TrainingFolder(atlas.folder / "networks" / "self-supervised").checkpoint_path()
    network, machine = load_network(path, "encoder", ContrastiveEncoder), engine.machine()
    machine.place(network)
    ids, parts = [], []
    with torch.no_grad():
        for batch in atlas.survey.scan(["object_id", "image"], batch_size=512):
            ids.append(batch["object_id"].to_numpy())
            with machine.precision():
                parts.append(network.learnt(machine.tensor(atlas.survey.images_of(batch))).cpu().numpy())
    return np.concatenate(ids), np.concatenate(parts, axis=1).astype(np.float64)


def forms(vectors: np.ndarray) -> dict[str, np.ndarray]:
    """Every form by its name."""
    centered = vectors - vectors.mean(axis=0)
    spread, directions = np.linalg.eigh(np.cov(centered.T))
    whitened = (centered @ directions / np.sqrt(spread))[:, ::-1]
    found = {"as learnt, standardized": centered / centered.std(axis=0)}
    found["as learnt, of one length"] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for n in (32, 64, 128):
        part = whitened[:, :n]
        found[f"{n} components"] = part
        found[f"{n} components, of one length"] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return found


def main() -> None:
    atlas, truth = Atlas(sys.argv[1]), pyarrow.csv.read_csv(Path(sys.argv[2]))
    ids, vectors = learnt(atlas)
    order = np.searchsorted(truth["object_id"].to_numpy(), ids, sorter=np.argsort(truth["object_id"].to_numpy()))
    rows = np.argsort(truth["object_id"].to_numpy())[order]
    kind, name = (
        np.array([each or "" for each in truth[column].to_pylist()])[rows]
        for column in ("planted_kind", "planted_class")
    )
    planted = np.flatnonzero(name != "")
    print(machine_line())
    for look, learnt_of in zip(LOOKS, vectors, strict=True):
        for label, made in forms(learnt_of).items():
            distance = mean_distance(made, made, 10, own_rows=np.arange(len(made)))
            parts = []
            for each in sorted(set(kind) - {""}):
                judged = (kind == "") | (kind == each)
                parts.append(f"{each} {roc_auc_score(kind[judged] == each, distance[judged]):.3f}")
            among, _ = nearest(made[planted], made[planted], 10, own_rows=np.arange(len(planted)))
            own = (name[planted][among] == name[planted][:, None]).mean()
            print(f"{look:8s} {label:32s} {' '.join(parts)} own class {own:.3f}", flush=True)


if __name__ == "__main__":
    main()
