"""What could be found at best: a network that was shown thousands of the simulator's own oddities, and told of each.

    peculiar simulate taught --n-objects 10000 --odd-fraction 0.5 --seed 91
    peculiar ingest taught/atlas --images taught/cutouts --catalog taught/objects.fits --bands HSC-I,HSC-R,HSC-G
    python benchmarks/ceiling.py taught/atlas taught/truth.csv ATLAS TRUTH

What works without labels, or with hundreds of them, can hardly be expected to find more of what was planted in ATLAS
than a network that learnt from 5,000 examples of the same kinds and strengths. Printed: AUROC, average precision and
how many are found among the first 100 and 200, of both kinds and of the astrophysical, of all and without the weaker
half of every class. It reads all images of both at once: 830 MB for 30,000 of 96 pixels.
"""

import argparse
import math
from itertools import islice
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from environment import machine_line
from peculiar import Atlas, engine
from peculiar.networks.blocks import N_HALVINGS, N_SYMMETRIES, residual_layers, symmetries
from peculiar.scoring.evaluation import auroc, average_precision
from worth import SHOWN, Kinds, read_kinds

KINDS = ("", "artefact", "astrophysical")
WIDTH, BATCH, RATE, DECAY, AVERAGED = 16, 128, 2e-3, 1e-3, 0.995
AT_ONCE = 256


class Told(nn.Module):
    """Logits of the kinds: from each response's highest place, and its mean."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem, self.blocks = residual_layers(channels, WIDTH)
        n = WIDTH * 2**N_HALVINGS
        self.here, self.judge = nn.Conv2d(n, n, 1), nn.Linear(2 * n, len(KINDS))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        responses = functional.relu(self.here(self.blocks(self.stem(images * 2 - 1))))
        logits: torch.Tensor = self.judge(torch.cat([responses.amax((2, 3)), responses.mean((2, 3))], dim=1))
        return logits.float()


def read(atlas: Atlas, kinds: Kinds) -> tuple[np.ndarray, np.ndarray]:
    """Images, and the place of each one's kind in `KINDS`."""
    ids = atlas.survey.object_ids()
    images = np.concatenate([atlas.survey.images(ids[at : at + AT_ONCE]) for at in range(0, len(ids), AT_ONCE)])
    return images, np.array([KINDS.index(kinds[each]) for each in ids.tolist()])


def taught(images: np.ndarray, kind: np.ndarray, minutes: float, machine: engine.Machine) -> nn.Module:
    """The average of a network trained for so long."""
    torch.manual_seed(0)
    random, network = np.random.default_rng(0), Told(images.shape[-1])
    machine.place(network)
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGED), use_buffers=True
    )
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    began, part, step = perf_counter(), 0.0, 0
    while part < 1:
        rows = random.choice(len(images), BATCH, replace=False)
        turned, _ = next(islice(symmetries(machine.tensor(images[rows])), int(random.integers(N_SYMMETRIES)), None))
        optimizer.param_groups[0]["lr"] = RATE * min(1, (step + 1) / 50) * (1 + math.cos(math.pi * part)) / 2
        with machine.precision():
            logits = network(turned)
        functional.cross_entropy(logits, torch.from_numpy(kind[rows]).to(logits.device)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update_parameters(network)
        part, step = (perf_counter() - began) / 60 / minutes, step + 1
    print(f"told of {(kind > 0).sum():,} oddities in {len(images):,} objects; {step:,} steps of {BATCH} images")
    return average.eval()


@torch.no_grad()
def chances(network: nn.Module, images: np.ndarray, machine: engine.Machine) -> np.ndarray:
    """Of each kind, the mean over the symmetries of the square, (n, 3)."""
    found = []
    for start in range(0, len(images), AT_ONCE):
        with machine.precision():
            views = [network(each) for each, _ in symmetries(machine.tensor(images[start : start + AT_ONCE]))]
        found.append(torch.stack(views).softmax(2).mean(0))
    return torch.cat(found).cpu().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("taught", "taught_truth", "atlas", "truth"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--minutes", type=float, default=12.0)
    given = parser.parse_args()
    engine.tune()
    print(machine_line())
    machine = engine.machine("auto")
    network = taught(*read(Atlas(given.taught), read_kinds(given.taught_truth)), given.minutes, machine)
    atlas = Atlas(given.atlas)
    images, kind = read(atlas, read_kinds(given.truth))
    strong = read_kinds(given.truth, is_strong=True)
    is_weak = np.array([strong[each] == "weak" for each in atlas.survey.object_ids().tolist()])
    chance = chances(network, images, machine)
    for kept, said in ((np.ones_like(is_weak), "all"), (~is_weak, "without the weaker half")):
        for values, is_odd, who in (
            (1 - chance[:, 0], kind > 0, "both kinds"),
            (chance[:, KINDS.index("astrophysical")], kind == KINDS.index("astrophysical"), "astrophysical"),
        ):
            order = np.argsort(-values[kept], kind="stable")
            found = ", ".join(f"{is_odd[kept][order[:n]].sum()} in the first {n}" for n in SHOWN)
            metrics = f"AUROC {auroc(values[kept], is_odd[kept]):.3f}, "
            metrics += f"average precision {average_precision(values[kept], is_odd[kept]):.3f}"
            print(f"  {said}, {who}: {metrics}; {found}, of {is_odd[kept].sum()}")


if __name__ == "__main__":
    main()
