"""The routes that read: what the page asks for. No path and no SQL comes from a client."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import numpy as np
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from peculiar.explorer.exporting import MEDIA, Form, cutout, export
from peculiar.explorer.opened import Opened, Order
from peculiar.explorer.queues import Kind, queue
from peculiar.explorer.search import find
from peculiar.explorer.served import ERRORS, InServed, Looked, ObjectId, Pinned, Served, Text, Who, file_of
from peculiar.explorer.sheets import MAX_OBJECTS, lossless, parsed_ids, sheet
from peculiar.explorer.summary import summary
from peculiar.io.exports import write_labels

if TYPE_CHECKING:
    import pyarrow as pa

MAX_ROWS = 500  # of one page of the table
MAX_QUEUE = 5_000
ARROW = "application/vnd.apache.arrow.stream"
LATE = "what others said is told when your own label is in"
FOREVER = "private, max-age=31536000, immutable"  # an address with a digest always has the same answer
router = APIRouter(prefix="/api", responses=ERRORS)


@router.get("/atlas")
def atlas(served: InServed, who: Who) -> dict[str, Any]:
    """The atlas, its columns and maps, the classes, and who asks."""
    told = served.opened.as_json()
    if served.options.is_blind:
        told["columns"] = [each for each in told["columns"] if not _is_told_late(each["name"])]  # type: ignore[attr-defined]
    asks = {"expert": who, "is_read_only": served.options.is_read_only, "is_blind": served.options.is_blind}
    asks["has_samp"] = served.options.has_samp
    return {**told, **asks, "classes": [asdict(each) for each in served.labels.classes()]}


def _is_told_late(name: str) -> bool:
    """Whether a column would tell what others said."""
    return name == "label" or name.startswith(("label_", "label-"))  # "label-second" is of labels/second


def _refuse_late(served: Served, *names: str) -> None:
    if served.options.is_blind and any(_is_told_late(each) for each in names):
        raise HTTPException(403, LATE)


@router.get(
    "/columns/{name:path}", response_class=Response, responses={**file_of(ARROW), 304: {"description": "unchanged"}}
)
def column(request: Request, served: InServed, opened: Pinned, name: str) -> Response:
    """One column over all objects, in the order of rows, as an Arrow stream; `object_id` as text."""
    _refuse_late(served, name)
    found = opened.arrow(name)
    tag = f'"{opened.version_of(name)}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"etag": tag, "cache-control": "private, no-cache"})
    return _arrow(found, {"etag": tag, "cache-control": "private, no-cache"})


def _order(
    served: InServed,
    opened: Pinned,
    by: Annotated[str, Query(max_length=200)] = "",
    descending: bool = True,
    where: Text = "",
    sample: Annotated[int, Query(ge=0, le=2**31)] = 0,
    seed: Annotated[int, Query(ge=0, le=2**53)] = 0,
) -> Order:
    """What is asked for, unless it would tell what others said."""
    _refuse_late(served, *_columns_read(opened, by, where))
    return Order(by=by, descending=descending, where=where, sample=sample, seed=seed)


def _columns_read(opened: Opened, by: str, where: str) -> tuple[str, ...]:
    """Columns that an order by a column, of those that pass a filter, reads."""
    return by, *(opened.ranking.parse(where).columns if where.strip() else ())


Ordered: TypeAlias = Annotated[Order, Depends(_order)]


@router.get("/rows", response_class=Response, responses=file_of(ARROW))
def rows(opened: Pinned, order: Ordered) -> Response:
    """Rows in an order, those alone that pass a filter, as an Arrow stream of uint32."""
    import pyarrow as pa

    return _arrow(pa.table({"row": opened.rows(order)}), {})


@router.get("/table")
def table(
    served: InServed, opened: Pinned, ids: str, names: Annotated[str, Query(max_length=10_000)] = ""
) -> dict[str, Any]:
    """Rows of the table: object_id as text, then the columns of these names."""
    wanted = parsed_ids(ids, MAX_ROWS)
    columns = [each for each in dict.fromkeys(names.split(",")) if each and each != "object_id"]
    unknown = [each for each in columns if each not in opened.info_of]
    if unknown:
        raise KeyError(f"no column {unknown[0]!r}")
    _refuse_late(served, *columns)
    _refuse_unknown(opened, wanted)
    found = opened.ranking.rows(wanted)
    values = [_as_json(found[name].to_pylist()) for name in columns]
    return {
        "columns": ["object_id", *columns],
        "rows": [list(each) for each in zip(map(str, wanted.tolist()), *values, strict=True)],
    }


@router.get("/sheet", response_class=Response, responses=file_of("image/jpeg"))
def sheets(
    served: InServed,
    opened: Pinned,
    look: Looked,
    ids: str,
    size: Annotated[int, Query(ge=4, le=512)] = 64,
    columns: Annotated[int, Query(ge=1, le=MAX_OBJECTS)] = 16,
) -> Response:
    """Many objects as one JPEG, `columns` in a row, each `size` pixels; "triple" is three times as wide."""
    wanted = parsed_ids(ids, MAX_OBJECTS)
    _refuse_unknown(opened, wanted)
    key = (opened.digest, wanted.tobytes(), size, columns, look)
    made = served.sheets.of(key, lambda: sheet(opened.ranking, wanted, look, size=size, columns=columns))
    return Response(made, media_type="image/jpeg", headers={"cache-control": FOREVER})


@router.get("/image/{object_id}", response_class=Response, responses=file_of("image/png"))
def image(opened: Pinned, look: Looked, object_id: ObjectId) -> Response:
    """One object as a PNG, pixel by pixel as it is stored."""
    wanted = parsed_ids(object_id, 1)
    _refuse_unknown(opened, wanted)
    return Response(lossless(opened.ranking, int(wanted[0]), look), media_type="image/png", headers=_kept(opened))


@router.get("/cutout/{object_id}", response_class=Response, responses=file_of("application/fits"))
def cutouts(opened: Pinned, object_id: ObjectId) -> Response:
    """One object as FITS: flux where it is kept, else the image."""
    wanted = parsed_ids(object_id, 1)
    _refuse_unknown(opened, wanted)
    name = f'attachment; filename="{int(wanted[0])}.fits"'
    made = cutout(opened, int(wanted[0]))
    return Response(made, media_type="application/fits", headers={"content-disposition": name})


@router.get("/export", response_class=FileResponse, responses=file_of(*MEDIA.values()))
def exported(served: InServed, opened: Pinned, form: Form, order: Ordered) -> Response:
    """The objects of an order as a file: a table, regions for DS9, a zip of images, or Python that selects the same."""
    is_told = (lambda name: not _is_told_late(name)) if served.options.is_blind else (lambda name: True)
    return _handed_out(form, "selection", lambda path: export(opened, order, form, path, is_told))


def _handed_out(form: Form, stem: str, write: Callable[[Path], object]) -> Response:
    """A file that is made now, and is gone when it was sent."""
    handle, name = tempfile.mkstemp(prefix="peculiar-", suffix=f".{form}")
    os.close(handle)
    path = Path(name)
    try:
        write(path)
    except BaseException:
        path.unlink()
        raise
    return FileResponse(path, media_type=MEDIA[form], filename=f"{stem}.{form}", background=BackgroundTask(path.unlink))


@router.get("/object/{object_id}")
def one_object(served: InServed, opened: Pinned, who: Who, object_id: ObjectId) -> dict[str, Any]:
    """Scores, percentiles, catalog row, rank, addresses of sky viewers, and votes that may be told."""
    wanted = parsed_ids(object_id, 1)
    _refuse_unknown(opened, wanted)
    told = served.evidence.of(wanted)[0]
    if served.options.is_blind:
        told["row"] = {name: value for name, value in told["row"].items() if not _is_told_late(name)}
    votes = served.labels.visible_votes_on(int(wanted[0]), who, is_blind=served.options.is_blind)
    return {**told, "votes": votes.select(["expert", "label", "at"]).to_pylist()}


@router.get("/object/{object_id}/neighbors")
def neighbors(
    served: InServed,
    opened: Pinned,
    object_id: ObjectId,
    features: Annotated[str, Query(max_length=100)] = "",
    n: Annotated[int, Query(ge=1, le=200)] = 24,
    typical: bool = False,
) -> list[dict[str, Any]]:
    """The objects most like one, in a feature set; of the typical ones alone where that is asked for."""
    wanted = parsed_ids(object_id, 1)
    _refuse_unknown(opened, wanted)
    ids, distances = served.evidence.neighbors(int(wanted[0]), features, n, is_typical=typical)
    pairs = zip(ids.tolist(), distances.tolist(), strict=True)
    return [{"object_id": str(each), "distance": far} for each, far in pairs]


@router.get("/find")
def found(opened: Pinned, q: Text) -> dict[str, Any]:
    """Objects that a text names: ids, a source, or a place on the sky with a radius."""
    result = find(opened, q)
    return {"what": result.what, "said": result.said, "ids": [str(each) for each in result.object_ids.tolist()]}


@router.get("/filter")
def understood(served: InServed, opened: Pinned, where: Text) -> dict[str, Any]:
    """Whether a filter is one, and how many objects pass it."""
    _refuse_late(served, *_columns_read(opened, "", where))
    return {"n": len(opened.rows(Order(where=where)))}


@router.get("/labels")
def my_labels(served: InServed, who: Who) -> dict[str, Any]:
    """The current labels of who asks."""
    votes = served.labels.votes(who)
    pairs = zip(map(str, votes["object_id"].to_pylist()), votes["label"].to_pylist(), strict=True)
    return {"expert": who, "labels": [list(each) for each in pairs]}


@router.get("/labels/summary")
def labels_summary(served: InServed, who: Who) -> dict[str, Any]:
    """Votes by expert and class, agreement, what was found against what was looked at."""
    return summary(served.opened, served.labels, who, is_blind=served.options.is_blind)


@router.get("/labels/export", response_class=FileResponse, responses=file_of(*MEDIA.values()))
def exported_labels(served: InServed, who: Who, form: Literal["csv", "parquet", "vot"] = "csv") -> Response:
    """The current votes, those that may be told, as a table of object_id, label, expert and time."""
    votes = served.labels.visible_votes(who, is_blind=served.options.is_blind)
    if not len(votes):
        raise ValueError("nothing has been labelled; a file would be empty")
    return _handed_out(form, "labels", lambda path: write_labels(path, votes))


@router.get("/queue")
def next_objects(
    served: InServed,
    opened: Pinned,
    who: Who,
    kind: Kind = "top",
    by: Annotated[str, Query(max_length=200)] = "",
    where: Text = "",
    n: Annotated[int, Query(ge=1, le=MAX_QUEUE)] = 500,
) -> dict[str, list[str]]:
    """Objects to look at next, none of which who asks has labelled."""
    _refuse_late(served, *_columns_read(opened, by, where))
    if kind == "disagreement" and served.options.is_blind:
        raise HTTPException(403, LATE)
    found = queue(opened, served.labels, who, kind, n=n, by=by, where=where)
    return {"ids": [str(each) for each in found.tolist()]}


@router.get("/learn")
def learning(served: InServed) -> dict[str, Any]:
    """Where the learning of interest stands."""
    told = asdict(served.teacher.learning)
    is_counted = served.options.is_blind and told["state"] == "done"  # "12 objects, 3 of interest": of all votes
    return {**told, "said": "" if is_counted else told["said"]}


# Answers.


def _arrow(found: "pa.Table", headers: dict[str, str]) -> Response:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, found.schema) as writer:
        writer.write_table(found.combine_chunks())
    return Response(sink.getvalue().to_pybytes(), media_type=ARROW, headers=headers)


def _kept(opened: Opened) -> dict[str, str]:
    return {"cache-control": FOREVER, "etag": f'"{opened.digest}"'}


def _as_json(values: list[Any]) -> list[Any]:
    """NaN and infinity are null; whole numbers too large for JavaScript are texts."""
    return [
        None if isinstance(each, float) and not np.isfinite(each) else str(each) if _is_long(each) else each
        for each in values
    ]


def _is_long(value: Any) -> bool:
    return isinstance(value, int) and abs(value) > 2**53


def _refuse_unknown(opened: Opened, wanted: np.ndarray) -> None:
    is_known = opened.known(wanted)
    if not is_known.all():
        raise KeyError(f"no object {wanted[~is_known][0]} in this atlas")
