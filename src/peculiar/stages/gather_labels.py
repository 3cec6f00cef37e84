"""Bring the votes of all experts together: a label, and how sure it is, of every object that was voted on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from peculiar.labels import Labels
from peculiar.run import Run, begin, finish, home_of
from peculiar.survey import Table


@dataclass(frozen=True, kw_only=True)
class GatherLabelsConfig:
    """What the stage "label" can be told."""

    experts: Annotated[tuple[str, ...], "experts whose votes count; empty: all"] = ()


def gather_labels(folder: Path, config: GatherLabelsConfig, *, name: str = "main", replace: bool = False) -> Run:
    """Fill `labels/<name>` of the atlas in `folder`, anew from all current votes.

    `table.lance` holds object_id, label (the most probable class by Dawid & Skene 1979; of equal ones the first by
    name), label_probability, label_n_votes and label_agreement (the part of the votes that are for it). They stand in
    every ranking then; those of another name as `label-NAME`.

    Raises
    ------
    ValueError
        Nobody has said anything yet, or one of the experts is not known.
    """
    from peculiar.scoring.agreement import agree_on_classes, vote_counts

    labels = Labels(folder)
    last_event = labels.last_event()  # before the votes: what comes between the two makes this stale, and is not lost
    if not last_event:
        raise ValueError(f'nobody has labelled anything in {folder} yet; "peculiar explore {folder}" is the place to')
    if unknown := set(config.experts) - set(labels.experts()):
        raise ValueError(f"no expert {', '.join(sorted(unknown))}; there are {', '.join(labels.experts())}")
    home = home_of(folder, "labels", name)
    run = begin(home, "label", config, inputs={"last_event": last_event}, replace=replace)

    import pyarrow as pa

    votes = labels.votes()
    if config.experts:
        votes = votes.filter(pa.array(np.isin(votes["expert"].to_numpy(), config.experts)))
    ids, objects = np.unique(votes["object_id"].to_numpy(), return_inverse=True)
    _, experts = np.unique(votes["expert"].to_numpy().astype(str), return_inverse=True)
    classes, said = np.unique(votes["label"].to_numpy().astype(str), return_inverse=True)
    n_classes = max(len(classes), 1)  # everything may be taken back
    agreed, counts = agree_on_classes(objects, experts, said, n_classes), vote_counts(objects, said, n_classes)
    best, rows = agreed.probability.argmax(axis=1), np.arange(len(ids))
    columns = {
        "object_id": ids,
        "label": pa.array(classes[best], pa.string()),
        "label_probability": agreed.probability[rows, best],
        "label_n_votes": agreed.n_votes,
        "label_agreement": counts[rows, best] / agreed.n_votes,
    }
    Table(home / "table.lance").overwrite([pa.record_batch(columns)])
    return finish(home, run, n_objects=len(ids), n_votes=votes.num_rows, classes=classes.tolist())
