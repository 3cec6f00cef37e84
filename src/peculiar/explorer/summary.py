"""What has been labelled so far, by whom, how far experts agree, and how many of interest were found."""

import json
from typing import Any

import numpy as np

from peculiar.explorer.opened import Opened
from peculiar.labels import Labels
from peculiar.learning import BORING
from peculiar.run import home_of, read_run

MOST_POINTS = 400  # of the curve


def summary(opened: Opened, labels: Labels, expert: str, *, is_blind: bool) -> dict[str, Any]:
    """Votes by expert and class, kappas, disputed objects, and the curve of found against looked at.

    Blind, experts are told of their own votes alone, and not of what all votes have taught the model: asked before and
    after somebody's vote, that would tell it.
    """
    from peculiar.scoring.agreement import summarize

    votes = labels.votes(expert) if is_blind else labels.votes()
    names = [np.array(votes[name].to_pylist(), dtype=str) for name in ("expert", "label")]
    found = summarize(votes["object_id"].to_numpy(), *names)
    pairs = [
        {"experts": list(each.experts), "n_objects": each.n_objects, "kappa": _number(each.kappa)}
        for each in found.pairs
    ]
    return {
        "experts": found.experts,
        "classes": found.classes,
        "n_votes": found.n_votes.tolist(),
        "n_labelled": found.n_objects,
        "n_shared": found.n_shared,
        "pairs": pairs,
        "kappa": _number(found.kappa),
        "class_kappa": [_number(each) for each in found.class_kappa],
        "disputed": [str(each) for each in found.disputed[:50].tolist()],
        "curve": _curve(labels, expert if is_blind else None),
        "interest": None if is_blind else _interest(opened),
    }


def _curve(labels: Labels, expert: str | None) -> dict[str, list[int]]:
    """How many of interest were found after each object that was looked at, in the order of the first word on it."""
    events = labels.events().to_pylist()
    last: dict[int, str | None] = {}
    for each in events:
        if expert is None or each["expert"] == expert:
            last[each["object_id"]] = each["label"]  # a dict keeps the place of the first word
    said = [label for label in last.values() if label is not None]
    found = np.cumsum([label.casefold() not in BORING for label in said], dtype=np.int64)
    at = (
        np.unique(np.linspace(0, len(found) - 1, MOST_POINTS).astype(np.int64)) if len(found) else np.empty(0, np.int64)
    )
    return {"looked": (at + 1).tolist(), "found": found[at].tolist()}


def _interest(opened: Opened) -> dict[str, Any] | None:
    """What the model of interest learnt from, and expects to be found still; None before it has learnt."""
    home = home_of(opened.folder, "interest", "main")
    run = read_run(home)
    if run is None:
        return None
    progress = json.loads((home / "progress.json").read_text(encoding="utf-8"))
    return {
        "n_labelled": run.outputs["n_labelled"],
        "finished": run.finished,
        "still_to_find": {name: _number(value) for name, value in progress["still_to_find"].items()},
        "control": progress["control"],
    }


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
