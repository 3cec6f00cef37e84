"""What to look at next: lists of objects that an expert has not labelled yet."""

import json
from typing import Literal, get_args

import numpy as np

from peculiar.explorer.opened import Opened, Order
from peculiar.labels import Labels
from peculiar.run import home_of, read_run
from peculiar.survey import hashed

Kind = Literal["top", "unlabelled", "control", "disagreement", "interest"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def queue(
    opened: Opened, labels: Labels, expert: str, kind: Kind, *, n: int, by: str = "", where: str = ""
) -> np.ndarray:
    """Ids of the next `n` objects, int64, none of which this expert has labelled.

    Parameters
    ----------
    kind
        "top": the largest of the column `by`. "unlabelled": the same, of those that nobody has labelled. "control": at
        random, always the same ones, so that experts meet and rates are known. "disagreement": those that others
        disagree most on. "interest": what the model of interest asks for, then the largest interest, of those that
        nobody has labelled.
    where
        A filter that they pass.

    Raises
    ------
    FileNotFoundError
        No interest has been learnt yet.
    """
    rows = opened.rows(Order(by=_column(opened, kind, by), where=where))
    ids = opened.object_ids[rows]
    if kind == "control":
        ids = ids[np.argsort(hashed(ids, 0), kind="stable")]
    elif kind == "disagreement":
        ids = _disputed(labels, ids)
    elif kind == "interest":
        asked = _asked(opened)
        ids = np.concatenate([asked[np.isin(asked, ids)], ids[~np.isin(ids, asked)]])
    is_by_anybody = kind in ("unlabelled", "interest")  # the model has learnt from all
    seen = labels.votes()["object_id"].to_numpy() if is_by_anybody else labels.seen_by(expert)
    return ids[~np.isin(ids, seen)][:n]


def _column(opened: Opened, kind: Kind, by: str) -> str:
    if kind == "interest":
        if "interest" not in opened.info_of:
            raise FileNotFoundError('no interest is learnt yet; label some objects, and press "learn"')
        return "interest"
    return by if kind in ("top", "unlabelled") else ""


def _asked(opened: Opened) -> np.ndarray:
    """What the model asks for next."""
    home = home_of(opened.folder, "interest", "main")
    if read_run(home) is None or not (home / "next.json").exists():
        return np.empty(0, np.int64)
    asked = json.loads((home / "next.json").read_text(encoding="utf-8"))
    return np.array([int(each["object_id"]) for each in asked if each.get("is_next")], np.int64)


def _disputed(labels: Labels, ids: np.ndarray) -> np.ndarray:
    """Those that votes disagree on, the most disputed first."""
    from peculiar.scoring.agreement import summarize

    votes = labels.votes()
    if not len(votes):
        return np.empty(0, np.int64)
    names = (np.array(votes[name].to_pylist(), dtype=str) for name in ("expert", "label"))
    disputed = summarize(votes["object_id"].to_numpy(), *names).disputed
    return disputed[np.isin(disputed, ids)]
