"""Do kinds of planted oddities lie together? Every feature set of an atlas against raw pixels.

    python benchmarks/kinds.py ATLAS TRUTH [--strong]

TRUTH is what `peculiar simulate` wrote. For each feature set, standardized, and for raw pixels: of the 10 nearest
neighbors of every planted object, how many are of its own class, among all objects of the survey and among the planted
alone; of its own kind (astrophysical or artefact) among the planted; and the adjusted mutual information of classes,
and of kinds, with k-means clusters of the planted, as many as there are classes or kinds. By class for each set.
--strong leaves out the weaker half of every class, which no eye would find. Intervals are 95 % bootstraps over the
planted.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.csv
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score

from environment import machine_line
from peculiar import Atlas
from peculiar.feature_set import feature_sets
from peculiar.scoring.neighbors import Scale, nearest, nearest_in_blocks

N_NEAREST, N_SEEDS, N_BOOTSTRAP = 10, 10, 1_000
Blocks = Iterator[tuple[np.ndarray, np.ndarray]]


def planted(path: Path, is_strong: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, classes and kinds of what was planted."""
    truth = pyarrow.csv.read_csv(path)
    names = np.array([each or "" for each in truth["planted_class"].to_pylist()])
    strength = truth["planted_strength"].to_numpy()
    is_chosen = names != ""
    if is_strong:
        for name in set(names) - {""}:
            is_chosen &= (names != name) | (strength >= np.median(strength[names == name]))
    kinds = np.array([each or "" for each in truth["planted_kind"].to_pylist()])
    return truth["object_id"].to_numpy()[is_chosen], names[is_chosen], kinds[is_chosen]


def pixel_blocks(atlas: Atlas) -> Blocks:
    for batch in atlas.survey.scan(["object_id", "image"], batch_size=1_024):
        images = atlas.survey.images_of(batch)
        yield batch["object_id"].to_numpy(), images.reshape(len(images), -1).astype(np.float32)


def interval(values: np.ndarray) -> str:
    random = np.random.default_rng(0)
    means = values[random.integers(0, len(values), (N_BOOTSTRAP, len(values)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


def information(vectors: np.ndarray, labels: np.ndarray) -> float:
    """Adjusted mutual information of k-means and labels, the mean over seeds."""
    k = len(set(labels))
    found = [KMeans(k, n_init=5, random_state=seed).fit_predict(vectors) for seed in range(N_SEEDS)]
    return float(np.mean([adjusted_mutual_info_score(labels, each) for each in found]))


def judge(
    name: str, blocks: Blocks, queries: np.ndarray, ids: np.ndarray, classes: np.ndarray, kinds: np.ndarray
) -> None:
    found, _ = nearest_in_blocks(blocks, queries, N_NEAREST + 1)
    others = np.array([[each for each in row if each != own][:N_NEAREST] for row, own in zip(found, ids, strict=True)])
    class_of = dict(zip(ids.tolist(), classes.tolist(), strict=True))
    is_same = np.array(
        [[class_of.get(each) == own for each in row] for row, own in zip(others.tolist(), classes, strict=True)]
    )
    among, _ = nearest(queries, queries, N_NEAREST, own_rows=np.arange(len(queries)))
    same_class, same_kind = classes[among] == classes[:, None], kinds[among] == kinds[:, None]
    print(f"\n{name}: {queries.shape[1]} numbers an object")
    print(f"  of its class among all objects   {interval(is_same.mean(axis=1))}")
    print(f"  of its class among the planted   {interval(same_class.mean(axis=1))}")
    print(f"  of its kind among the planted    {interval(same_kind.mean(axis=1))}")
    with_classes, with_kinds = information(queries, classes), information(queries, kinds)
    print(f"  mutual information with classes  {with_classes:.3f}, with kinds {with_kinds:.3f}")
    for each in np.unique(classes):
        mine = classes == each
        print(
            f"    {each:18s} {mine.sum():3d}   all {is_same[mine].mean():.3f}   planted {same_class[mine].mean():.3f}",
            flush=True,
        )


def main() -> None:
    arguments = [each for each in sys.argv[1:] if not each.startswith("--")]
    atlas = Atlas(arguments[0])
    ids, classes, kinds = planted(Path(arguments[1]), "--strong" in sys.argv)
    print(machine_line())
    by_chance = np.mean([np.mean(classes == each) for each in classes])
    print(f"{len(ids)} planted in {len(atlas.survey):,}; of one class among the planted by chance {by_chance:.3f}")
    for name in feature_sets(atlas.folder):
        opened = atlas.features(name)
        scale = Scale.of(vectors for _, vectors in opened.scan())
        blocks = ((each, scale.standardized(vectors)) for each, vectors in opened.scan())
        judge(name, blocks, scale.standardized(opened.take(ids)), ids, classes, kinds)
    pixels = atlas.images(ids).reshape(len(ids), -1).astype(np.float32)
    judge("raw pixels", pixel_blocks(atlas), pixels, ids, classes, kinds)


if __name__ == "__main__":
    main()
