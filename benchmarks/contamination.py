"""How much oddities in the training set cost: networks trained on 0, 1, 5 and 10 % of them, judged on others.

    python benchmarks/contamination.py ATLAS [SECONDS]

Copies of the survey's own images, with oddities, stand in for this part of a sample of it; narrow networks are trained
on the sample, generator and critic for SECONDS (120), an encoder for half as many steps; then they score one and the
same other sample, in which 5 % are odd, by other random numbers. Printed: AUROC with 95 % bootstrap intervals of
score_anom and its conditional form, by kind. Everything is made in ATLAS/injections/contaminated-*.
"""

import sys
from pathlib import Path
from time import perf_counter

import numpy as np

from environment import machine_line
from peculiar import Atlas
from peculiar.checkpoint import TrainingFolder
from peculiar.scoring.evaluation import evaluate
from peculiar.stages.inject import InjectConfig, inject
from worth import read_kinds

FRACTIONS = (0.0, 0.01, 0.05, 0.1)
JUDGED_FRACTION = 0.05
N_OBJECTS = 2_000
NARROW = {"width": 8, "batch_size": 32, "preset": "small", "save_every": 10_000}
PROBE = 20  # steps that the pace is measured on


def main() -> None:
    atlas, seconds = Atlas(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 120.0
    print(machine_line())
    told = InjectConfig(n_objects=N_OBJECTS, odd_fraction=JUDGED_FRACTION, seed=1)
    inject(atlas.folder, told, name="contaminated-judged")
    home = atlas.folder / "injections"
    judged = Atlas(home / "contaminated-judged" / "atlas")
    kinds = read_kinds(home / "contaminated-judged" / "truth.csv")
    n_steps = 0
    for fraction in FRACTIONS:
        name = f"contaminated-{round(100 * fraction)}"
        inject(atlas.folder, InjectConfig(n_objects=N_OBJECTS, odd_fraction=fraction), name=name)
        sample = Atlas(home / name / "atlas")
        if not n_steps:  # the same number for all, found once
            sample.train_gan(n_steps=PROBE, **NARROW)
            began = perf_counter()
            sample.train_gan(n_steps=2 * PROBE)
            n_steps = max(2 * PROBE, round(seconds * PROBE / (perf_counter() - began)))
            print(f"{n_steps} steps each, width {NARROW['width']}", flush=True)
        sample.train_gan(n_steps=n_steps, **NARROW)
        sample.train_encoder(n_steps=n_steps // 2, **NARROW)
        for network in ("gan", "encoder"):
            target = judged.folder / "networks" / f"{network}-{round(100 * fraction)}"
            target.parent.mkdir(exist_ok=True)
            if not target.exists():
                target.symlink_to((sample.folder / "networks" / network).resolve())
            TrainingFolder(target).checkpoint_path()
        which = f"from-{round(100 * fraction)}"
        judged.score(name=which, gan=f"gan-{round(100 * fraction)}", encoder=f"encoder-{round(100 * fraction)}")
        judged.rank(name=which, scores=which)
        ranking = judged.ranking(which)
        kind = np.array([kinds[each] for each in ranking.object_ids.tolist()])
        for each in sorted(set(kind) - {""}):
            is_judged = (kind == "") | (kind == each)
            is_odd = kind[is_judged] == each
            for order in ("score_anom", "score_anom_conditional"):
                got = evaluate(ranking.column(order)[is_judged], is_odd, n_bootstrap=1_000)
                print(
                    f"trained on {fraction:.0%} odd: {each}, {is_odd.sum()} in {len(is_odd):,}, {order} AUROC "
                    f"{got['auroc']:.3f} ({got['auroc_low']:.3f} to {got['auroc_high']:.3f}), average precision "
                    f"{got['average_precision']:.3f}",
                    flush=True,
                )
    print(f"in {Path(home)}")


if __name__ == "__main__":
    main()
