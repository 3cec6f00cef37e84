"""The routes that write: labels, classes, learning. A server that is read-only has none of them."""

from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from peculiar.atlas import Atlas
from peculiar.explorer.served import ERRORS, ID, InServed, Who
from peculiar.labels import LabelClass, Said

MAX_SAID = 1_000  # labels in one request
router = APIRouter(prefix="/api", responses=ERRORS)


class SaidIn(BaseModel):
    """One label, or one taken back."""

    model_config = ConfigDict(extra="forbid")
    event_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
    object_id: Annotated[str, Field(pattern=ID)]
    label: Annotated[str | None, Field(max_length=40)]
    said_at: Annotated[str, Field(max_length=40)]


class LabelsIn(BaseModel):
    """Labels, in the order in which they were said."""

    model_config = ConfigDict(extra="forbid")
    said: Annotated[list[SaidIn], Field(max_length=MAX_SAID)]


class ClassIn(BaseModel):
    """A class that labels can name."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(max_length=40)]
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
    key: Annotated[str, Field(pattern=r"^[0-9]?$")] = ""
    description: Annotated[str, Field(max_length=500)] = ""


class ClassesIn(BaseModel):
    """All classes, in the place of those that there are."""

    model_config = ConfigDict(extra="forbid")
    classes: Annotated[list[ClassIn], Field(max_length=40)]


@router.post("/labels")
def say(served: InServed, who: Who, given: LabelsIn) -> dict[str, Any]:
    """Store labels; what was stored before, by its event_id, is acknowledged again and not stored twice."""
    ids = np.array([_int64(each.object_id) for each in given.said], np.int64)
    is_known = served.opened.known(ids)
    said, refused = [], []
    for each, object_id, is_there in zip(given.said, ids.tolist(), is_known, strict=True):
        if is_there:
            said.append(Said(each.event_id, object_id, each.label, each.said_at))
        else:
            refused.append({"event_id": each.event_id, "why": f"no object {object_id} in this atlas"})
    stored: list[tuple[Said, int]] = []
    try:
        stored += zip(said, served.labels.add(who, said), strict=True)
    except ValueError:  # one of them is at fault: the others are stored all the same
        for one in said:
            try:
                stored += zip([one], served.labels.add(who, [one]), strict=True)
            except ValueError as error:
                refused.append({"event_id": one.event_id, "why": str(error)})
    events = [{"event_id": one.event_id, "event": number} for one, number in stored]
    return {"stored": events, "refused": refused}


@router.post("/classes")
def define(served: InServed, who: Who, given: ClassesIn) -> dict[str, Any]:
    """Put other classes in the place of those that there are; labels of a class that is left out are kept."""
    served.labels.set_classes([LabelClass(**each.model_dump()) for each in given.classes], who)
    return {"classes": [asdict(each) for each in served.labels.classes()]}


@router.post("/labels/gather")
def gather(served: InServed, who: Who) -> dict[str, Any]:
    """Bring all votes together as columns, label and others, for all who look."""
    if not served.labels.last_event():
        raise ValueError("columns are made of labels, and there are none; label some objects first")
    run = Atlas(served.folder).gather_labels()
    served.reopen()
    return {"n_objects": run.outputs["n_objects"]}


@router.post("/learn")
def learn(served: InServed, who: Who) -> dict[str, Any]:
    """Learn interest anew from all labels, in the background."""
    if not served.labels.last_event():
        raise ValueError("interest is learnt from labels, and there are none; label some objects first")
    return asdict(served.teacher.start())


def _int64(text: str) -> int:
    number = int(text)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"ids have 64 bits, got {text}")
    return number
