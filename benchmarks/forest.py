"""What an Extended Isolation Forest costs, and how well it finds what was planted, beside scikit-learn's standard one.

    python benchmarks/forest.py [N_OBJECTS]
    python benchmarks/forest.py --figure docs/forest.png      # score maps instead: the bias of axis-parallel cuts

Prints seconds to grow, and to score 100,000 vectors of 64 components (or N_OBJECTS) by 100 trees of 256 in full
extension, on one thread and two; the best of three. Then AUROC on planted sets, each forest with five seeds: oddities
that are wider, that break the likeness of pairs of components, and that are odd in one component.
"""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from sklearn.ensemble import IsolationForest

from environment import machine_line
from peculiar.scoring.evaluation import auroc
from peculiar.scoring.forest import Forest, grow

N_FEATURES, N_TREES, SAMPLE_SIZE, N_ODD = 64, 100, 256, 0.02


def samples_of(vectors: np.ndarray, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.stack([vectors[random.choice(len(vectors), SAMPLE_SIZE, replace=False)] for _ in range(N_TREES)])


def planted(kind: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    is_odd = random.random(n) < N_ODD
    first = random.normal(size=(n, N_FEATURES // 2))
    vectors = np.concatenate([first, first + 0.5 * random.normal(size=first.shape)], axis=1)
    n_odd = int(is_odd.sum())
    if kind == "wider":
        vectors[is_odd] *= 1.3
    elif kind == "pairs broken":
        vectors[is_odd, : first.shape[1]] = random.normal(size=(n_odd, first.shape[1]))
    else:
        vectors[np.flatnonzero(is_odd), random.integers(N_FEATURES, size=n_odd)] += 10
    return vectors.astype(np.float32), is_odd


def best(work: Callable[[], object]) -> float:
    found = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def in_threads(forest: Forest, vectors: np.ndarray, n_threads: int) -> float:
    with ThreadPoolExecutor(n_threads) as threads:
        return best(lambda: list(threads.map(forest.score, np.array_split(vectors, n_threads))))


def draw(path: str) -> None:
    """Score maps of samples in a plane, after Hariri et al. 2019."""
    from peculiar.figures.forests import figure_score_maps

    random = np.random.default_rng(1)
    along = random.uniform(0, 10, 600)
    samples = {
        "one blob": random.normal(0, 1, (600, 2)),
        "two blobs": np.concatenate([random.normal((0, 10), 1, (300, 2)), random.normal((10, 0), 1, (300, 2))]),
        "a wave": np.stack([along, 3 * np.sin(along) + random.normal(0, 0.3, 600)], axis=1),
    }
    maps, extents = {}, {}
    for name, places in samples.items():
        left, bottom = places.min(axis=0) - 3
        right, top = places.max(axis=0) + 3
        x, y = np.meshgrid(np.linspace(left, right, 120), np.linspace(bottom, top, 120))
        grid = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
        grown_on = samples_of(places.astype(np.float32), 0)
        maps[name] = {
            title: grow(grown_on, extension_level=level, is_standardized=False, seed=0).score(grid).reshape(x.shape)
            for title, level in (("standard", 0), ("extended", -1))
        }
        extents[name] = (left, right, bottom, top)
    figure_score_maps(samples, maps, extents).savefig(path, dpi=90)


def main() -> None:
    if "--figure" in sys.argv:
        draw(sys.argv[sys.argv.index("--figure") + 1])
        return
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    print(machine_line())
    vectors = np.random.default_rng(0).normal(size=(n, N_FEATURES)).astype(np.float32)
    samples = samples_of(vectors, 0)
    print(f"{n} x {N_FEATURES}, {N_TREES} trees x {SAMPLE_SIZE}; seconds, best of three")
    forest = grow(samples, extension_level=-1, seed=0)
    start = time.perf_counter()
    forest.score(vectors[:1])
    print(f"  compile or load   {time.perf_counter() - start:6.2f}")
    print(f"  grow              {best(lambda: grow(samples, extension_level=-1, seed=0)):6.2f}")
    for n_threads in (1, 2):
        print(f"  score, {n_threads} thread(s) {in_threads(forest, vectors, n_threads):7.2f}")
    standard = grow(samples, extension_level=0, seed=0)
    print(f"  score, level 0    {in_threads(standard, vectors, 1):6.2f}")
    theirs = IsolationForest(n_estimators=N_TREES, max_samples=SAMPLE_SIZE, random_state=0).fit(vectors)
    print(f"  scikit-learn      {best(lambda: theirs.score_samples(vectors)):6.2f}")

    print(f"AUROC, {N_ODD:.0%} planted in 10,000, mean and deviation of five forests")
    print(f"  {'':14s}{'full extension':>18s}{'level 0':>18s}{'scikit-learn':>18s}")
    for kind in ("wider", "pairs broken", "one component"):
        areas: dict[str, list[float]] = {"full": [], "level 0": [], "scikit-learn": []}
        for seed in range(5):
            vectors, is_odd = planted(kind, 10_000, seed)
            samples = samples_of(vectors, seed)
            for name, level in (("full", -1), ("level 0", 0)):
                areas[name].append(auroc(grow(samples, extension_level=level, seed=seed).score(vectors), is_odd))
            theirs = IsolationForest(n_estimators=N_TREES, max_samples=SAMPLE_SIZE, random_state=seed).fit(vectors)
            areas["scikit-learn"].append(auroc(-theirs.score_samples(vectors), is_odd))
        print(f"  {kind:14s}" + "".join(f"{np.mean(each):11.3f} {np.std(each):6.3f}" for each in areas.values()))


if __name__ == "__main__":
    main()
