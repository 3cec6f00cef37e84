"""What score_joint and a hundred labels are worth, against what was planted.

    python benchmarks/worth.py ATLAS TRUTH        # a simulated survey: all metrics
    python benchmarks/worth.py ATLAS TRUTH --strong    # without the weaker half of every class, which no eye would find
    python benchmarks/worth.py ATLAS --inject 5   # any survey: copies of its own images, so many seeds, recall only

ATLAS has been through `peculiar run`. Printed, with 95 % bootstrap intervals, for each kind of oddity: AUROC, average
precision and recall of score_joint and of the baselines, and whether any baseline's interval touches; then, for made
experts, what is found among the first 100 and 200 looked at, what part of the gap between score_joint and a perfect
order is closed, and how many times as many are found.

With --inject the survey's own odd objects count as normal, so that only the injected are counted: the part of them in
the top 1 % and 5 %, and their mean percentile. Seeds are pooled; each has other hosts, and no host is beside its copy.
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from environment import machine_line
from peculiar import Atlas
from peculiar.learning import Evidence, found_by_expert
from peculiar.scoring.evaluation import descending, evaluate

BASELINES = ("brightness", "radius", "score_pca")
N_BOOTSTRAP, N_EXPERTS, SHOWN = 1_000, 5, (100, 200)
TOPS = {"recall in the top 1 %": 0.99, "recall in the top 5 %": 0.95, "mean percentile": None}
Kinds = dict[int, str]


def read_kinds(path: Path, *, is_strong: bool = False) -> Kinds:
    """Kinds by id; with `is_strong`, "weak" for the weaker half of every class."""
    with path.open() as stream:
        rows = list(csv.DictReader(stream))
    strength: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        strength[row["planted_class"]].append(float(row["planted_strength"] or 0))
    middle = {name: np.median(values) for name, values in strength.items()}

    def kind(row: dict[str, str]) -> str:
        is_weak = row["planted_kind"] and float(row["planted_strength"]) < middle[row["planted_class"]]
        return "weak" if is_strong and is_weak else row["planted_kind"]

    return {int(row["object_id"]): kind(row) for row in rows}


def say(name: str, values: np.ndarray, draws: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(draws, (0.025, 0.975))
    print(f"    {name:12s} {values:.3f} ({low:.3f} to {high:.3f})")
    return float(low), float(high)


def verdict(metric: str, ends: dict[str, tuple[float, float]]) -> None:
    touching = [each for each in BASELINES if ends[each][1] >= ends["score_joint"][0]]
    print(f"    {metric}: " + (f"touched by {', '.join(touching)}" if touching else "no baseline's interval touches"))


def judge(atlas: Atlas, kinds: Kinds) -> None:
    """All metrics of a survey whose truth is known."""
    ranking = atlas.ranking()
    kind = np.array([kinds[each] for each in ranking.object_ids.tolist()])
    for each in sorted(set(kind) - {"", "weak"}):
        is_judged = (kind == "") | (kind == each)
        is_odd = kind[is_judged] == each
        print(f"  {each}: {is_odd.sum()} in {len(is_odd):,}")
        found = {
            order: evaluate(ranking.column(order)[is_judged], is_odd, n_bootstrap=N_BOOTSTRAP)
            for order in ("score_joint", *BASELINES)
        }
        for metric in ("auroc", "average_precision", "recall_1_percent", "recall_5_percent"):
            print(f"   {metric}")
            ends = {}
            for order, got in found.items():
                ends[order] = (got[f"{metric}_low"], got[f"{metric}_high"])
                print(f"    {order:12s} {got[metric]:.3f} ({ends[order][0]:.3f} to {ends[order][1]:.3f})")
            verdict(metric, ends)


def judge_injected(atlases: list[tuple[Atlas, Kinds]]) -> None:
    """Percentiles of the injected among the untouched, all seeds together."""
    found: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    for atlas, kinds in atlases:
        ranking = atlas.ranking()
        kind = np.array([kinds[each] for each in ranking.object_ids.tolist()])
        for each in sorted(set(kind) - {""}):
            is_judged = (kind == "") | (kind == each)
            for order in ("score_joint", *BASELINES):
                places = np.empty(is_judged.sum())
                places[descending(ranking.column(order)[is_judged])] = np.arange(is_judged.sum())
                found[each][order].append(1 - places[kind[is_judged] == each] / is_judged.sum())
    random = np.random.default_rng(0)
    for each, by_order in found.items():
        pooled = {order: np.concatenate(parts) for order, parts in by_order.items()}
        n_odd = len(pooled["score_joint"])
        print(f"  {each}: {n_odd} injected, {len(atlases)} seeds together")
        rows = random.integers(n_odd, size=(N_BOOTSTRAP, n_odd))
        for metric, least in TOPS.items():
            print(f"   {metric}")
            ends = {}
            for order, percentile in pooled.items():
                values = percentile if least is None else (percentile > least).astype(float)
                ends[order] = say(order, values.mean(), values[rows].mean(axis=1))
            verdict(metric, ends)


def label(atlases: list[tuple[Atlas, Kinds]]) -> None:
    """Made experts: who seek both kinds, and who seek the astrophysical alone."""
    for sought in (("astrophysical", "artefact"), ("astrophysical",)):
        loops, orders, n_odd, n_objects = [], [], [], []
        for atlas, kinds in atlases:
            evidence = Evidence(atlas.folder, "self-supervised", "main")
            ids = np.intersect1d(evidence.ranking.object_ids, evidence.features.table.object_ids())
            ids = ids[[kinds[each] != "weak" for each in ids.tolist()]]
            is_odd = np.array([kinds[each] in sought for each in ids.tolist()])
            loop, order = found_by_expert(
                evidence,
                ids,
                is_odd,
                "score_joint",
                range(max(1, N_EXPERTS // len(atlases))),
                lambda n: None,
                model="gaussian-process",
                acquisition="upper-bound",
                n_labels=max(SHOWN),
                batch_size=20,
            )
            loops.append(loop)
            orders.append(order)
            n_odd.append(0.9 * is_odd.sum())
            n_objects.append(len(ids))
        loop, order, there = np.concatenate(loops), np.concatenate(orders), float(np.mean(n_odd))
        n_seen, who = 0.9 * np.mean(n_objects), " and ".join(sought)
        print(f"  who seek {who}: some {there:.0f} in {n_seen:,.0f}, {len(loop)} experts")
        for n in SHOWN:
            mine, first = loop[:, n - 1], order[:, n - 1]
            perfect = min(n, there)
            closed = (mine.mean() - first.mean()) / (perfect - first.mean())
            found = [f"{each.mean():.1f} ({each.min()} to {each.max()})" for each in (mine, first)]
            times = mine.mean() / max(first.mean(), 1e-9)
            print(f"    first {n}: learnt {found[0]}, score_joint {found[1]}, perfect {perfect:.0f}")
            print(f"      gap closed {closed:.2f}, {times:.1f} times as many")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("atlas")
    parser.add_argument("truth", nargs="?", type=Path)
    parser.add_argument("--strong", action="store_true")
    parser.add_argument("--inject", type=int, default=0, metavar="SEEDS")
    given = parser.parse_args()
    atlas = Atlas(given.atlas)
    print(machine_line())
    if given.truth:
        judged = [(atlas, read_kinds(given.truth, is_strong=given.strong))]
        judge(*judged[0])
    else:
        judged = []
        for seed in range(given.inject):
            made = atlas.inject(name=f"worth-{seed}", seed=seed).outputs
            judged.append((Atlas(atlas.folder / made["atlas"]), read_kinds(atlas.folder / made["truth"])))
        judge_injected(judged)
    label(judged)


if __name__ == "__main__":
    main()
