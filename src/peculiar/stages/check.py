"""Check an atlas: ids agree, networks are those that scored, scores come out the same again."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from peculiar.checkpoint import file_digest, load_network
from peculiar.ranking import Ranking
from peculiar.reference import read_reference
from peculiar.survey import Table

if TYPE_CHECKING:
    import torch

N_CHECKED = 32  # objects that are scored again
TOLERANCE = 1e-4  # relative; the score is a float32 sum over tens of thousands of values


@dataclass(frozen=True)
class Finding:
    """One question and its answer."""

    question: str
    is_right: bool
    detail: str


def check(folder: Path, *, ranking: str = "main") -> list[Finding]:
    """Ask every question of a complete ranking; nothing is changed."""
    opened = Ranking(folder, ranking)
    return [*_ids(opened), *_products(opened), *_networks(opened), _reference(opened), *_scores_again(opened)]


def _ids(opened: Ranking) -> Iterator[Finding]:
    tables: dict[str, Table] = {"survey": opened.survey, "scores": opened.facts, "ranking": opened.base}
    ids = {name: table.object_ids() for name, table in tables.items()}
    for name, each in ids.items():
        n_twice = len(each) - len(np.unique(each))
        yield Finding(f"every object_id stands once in the {name}", n_twice == 0, f"{len(each)} rows, {n_twice} again")
    for name in ("scores", "ranking"):
        n_alien = int((~np.isin(ids[name], ids["survey"])).sum())
        n_absent = len(ids["survey"]) - len(ids[name]) + n_alien
        detail = f"{n_alien} unknown to the survey, {n_absent} of it missing"
        yield Finding(f"the {name} and the survey have the same objects", n_alien == n_absent == 0, detail)


def _products(opened: Ranking) -> Iterator[Finding]:
    """Features, forests, maps, clusters, indices: each object once, and none that the survey does not have."""
    known = opened.survey.object_ids()
    for parent in ("features", "forests", "maps", "clusters", "indices"):
        for path in sorted((opened.folder / parent).glob("*/run.json")):
            ids = Table(path.parent / "table.lance").object_ids()
            n_twice, n_alien = len(ids) - len(np.unique(ids)), int((~np.isin(ids, known)).sum())
            question = f"{parent}/{path.parent.name} has objects of the survey, each once"
            yield Finding(question, n_twice == n_alien == 0, f"{len(ids)} rows, {n_twice} again, {n_alien} unknown")


def _networks(opened: Ranking) -> Iterator[Finding]:
    for which, place in opened.scored.outputs["networks"].items():
        pinned, question = opened.scored.inputs[which], f"{place} is the file that scored"
        try:
            found = file_digest(opened.folder / place)
        except FileNotFoundError:
            yield Finding(question, False, "the file is gone")
            continue
        yield Finding(question, found == pinned, f"digest {found}, recorded {pinned}")


def _reference(opened: Ranking) -> Finding:
    question = "the ranking was made with its reference"
    try:
        found = read_reference(opened.home).digest
    except (OSError, ValueError, KeyError) as error:
        return Finding(question, False, str(error))
    used = (opened.base.schema.metadata or {}).get(b"reference", b"").decode()
    recorded = opened.run.outputs["reference"]
    return Finding(question, found == used == recorded, f"digest {found}, used {used}, recorded {recorded}")


def _scores_again(opened: Ranking) -> Iterator[Finding]:
    """Score some objects at their stored latents, and compare with what is written."""
    from peculiar import engine

    engine.tune()
    import torch

    from peculiar.networks.gan import Critic, Generator
    from peculiar.scoring.reconstruction import anomaly_terms, in_batches

    path = opened.folder / opened.scored.outputs["networks"]["gan"]
    try:
        generator, critic = load_network(path, "generator", Generator), load_network(path, "critic", Critic)
    except (FileNotFoundError, ValueError, KeyError, RuntimeError) as error:
        yield Finding("the networks can be loaded", False, str(error))
        return
    machine = engine.machine()
    for network in (generator, critic):
        machine.place(network)
    ids = opened.facts.sample(N_CHECKED, seed=1)
    ids = ids[np.isin(ids, opened.survey.object_ids())]
    if not len(ids):
        return
    facts = opened.facts.take(ids, ["latent", "score_gen", "score_disc"])
    latent = torch.from_numpy(np.stack(facts["latent"].to_numpy())).to(machine.device)

    @torch.no_grad()
    def terms(images: "torch.Tensor", at: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
        return anomaly_terms(images, critic.features(images), generator(at), critic.features)

    again = in_batches(terms, machine.tensor(opened.survey.images(ids)), latent)
    for name, values in zip(("score_gen", "score_disc"), again, strict=True):
        written = facts[name].to_numpy()
        worst = float(np.max(np.abs(values.cpu().numpy() - written) / np.maximum(written, 1e-6)))
        yield Finding(f"{name} of {len(ids)} objects comes out again", worst < TOLERANCE, f"to {worst:.1e} relative")
