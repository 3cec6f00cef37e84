"""Add the labels of a table, from elsewhere or exported before, to those that were said to the atlas."""

import logging
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from peculiar.checkpoint import file_digest
from peculiar.labels import LabelClass, Labels, Said
from peculiar.learning import classes_of, ids_of
from peculiar.survey import Survey, first_few

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)
COLORS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#cc79a7", "#d55e00")  # as of the default classes


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What came of a table of labels."""

    n_rows: int
    n_added: int
    n_known: int  # added before, by this very file
    n_empty: int  # without an id or a label
    n_unknown: int  # of objects that the survey does not have
    classes_added: tuple[str, ...]


def import_labels(folder: Path, path: Path, *, expert: str = "", add_classes: bool = False) -> Imported:
    """Add the rows of a table (object_id, label, perhaps expert and at, a time) to `labels.sqlite` of the atlas.

    An event_id is made of the file's content, the expert and the row, so that the same file again adds nothing, also
    after it was interrupted. Classes are known by their names whatever the case.

    Parameters
    ----------
    expert
        Who said what no row names an expert of.
    add_classes
        Add classes that are not known to the list, instead of refusing them.

    Raises
    ------
    ValueError
        The table has no labels; a row has no expert and none is given; or a class is not known.
    """
    from peculiar.io.tables import read_table

    table = read_table(path, text_columns=("label", "expert", "at"))
    object_id, has_id = ids_of(table, path)
    given, who, times = (_texts(table, each) for each in ("label", "expert", "at"))
    if given is None:
        raise ValueError(f"{path} has no column label; it has {', '.join(table.column_names)}")
    labels = Labels(folder)
    is_said = has_id & np.array([each != "" for each in given], bool)
    is_here = np.isin(object_id, Survey(folder / "survey" / "table.lance").object_ids())
    if (is_said & ~is_here).any():
        log.warning("not of this survey: %s", first_few(object_id[is_said & ~is_here]))
    rows = np.flatnonzero(is_said & is_here).tolist()
    experts = [each or expert for each in who or [""] * len(given)]
    if any(not experts[row] for row in rows):
        raise ValueError(f"{path} does not say whose labels these are; give --expert NAME")
    known, added = _classes(labels, {given[row] for row in rows}, add_classes)
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    said: dict[str, list[Said]] = defaultdict(list)
    digest = file_digest(path)
    for row in rows:
        event_id = f"file:{digest}:{experts[row]}:{row}"
        at = (times[row] if times else "") or now
        said[experts[row]].append(Said(event_id, int(object_id[row]), known[given[row]], at))
    if added:
        labels.set_classes([*labels.classes(), *added], experts[rows[0]])
    before = labels.last_event()
    n_new = sum(number > before for name, each in said.items() for number in labels.add(name, each))
    return Imported(
        n_rows=table.num_rows,
        n_added=n_new,
        n_known=len(rows) - n_new,
        n_empty=int((~is_said).sum()),
        n_unknown=int((is_said & ~is_here).sum()),
        classes_added=tuple(each.name for each in added),
    )


def _texts(table: "pa.Table", name: str) -> list[str] | None:
    """A column as text, empty where nothing; None if it is not there."""
    from peculiar.io.ids import find_column

    found = find_column(table.column_names, [name])
    return None if found is None else [unicodedata.normalize("NFC", each) for each in classes_of(table[found])]


def _classes(labels: Labels, given: set[str], add_classes: bool) -> tuple[dict[str, str], list[LabelClass]]:
    """The class that each given name means, and those that are new."""
    now = labels.classes()
    # Of spellings that differ in case, that of the newest list.
    by_case = {each.casefold(): each for each in (*labels.every_class(), *(each.name for each in now))}
    unknown = sorted({each for each in given if each.casefold() not in by_case})
    if unknown and not add_classes:
        raise ValueError(
            f"no class {', '.join(unknown)}; there are {', '.join(sorted(by_case.values()))}; --add-classes adds them"
        )
    names = {each.casefold(): each for each in reversed(unknown)}
    added = [LabelClass(name, COLORS[(len(now) + place) % len(COLORS)]) for place, name in enumerate(names.values())]
    by_case |= names
    return {each: by_case[each.casefold()] for each in given}, added
