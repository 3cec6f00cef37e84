"""Ways to choose objects beside filters: by a place on the sky, by what was said, from a list, or as ordinary ones."""

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from peculiar.joined import Joined
from peculiar.labels import Labels
from peculiar.learning import ids_of
from peculiar.survey import first_few

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)
CONTROL_SIGMA = (-1.0, 1.5)  # the sample that is compared with the anomalous one, in deviations of a score
CONTROL_SCORE = "score_disc"


def in_cone(objects: Joined, ra: float, dec: float, radius_arcsec: float) -> np.ndarray:
    """Which objects are within a radius, up to 180 degrees, of a place: bool; those without a position are not.

    Raises
    ------
    ValueError
        The objects have no columns ra and dec.
    """
    from peculiar.catalog.sphere import chord_of, unit_vectors

    if missing := [each for each in ("ra", "dec") if each not in objects.numbers]:
        raise ValueError(f"{objects.place} has no column {', '.join(missing)} to look around a place by")
    center = unit_vectors(np.array([ra]), np.array([dec]))
    apart = np.linalg.norm(unit_vectors(objects.column("ra"), objects.column("dec")) - center, axis=1)
    return apart <= chord_of(radius_arcsec)


def labeled(objects: Joined, label: str) -> np.ndarray:
    """Which objects some expert's current vote gives this class: bool.

    Raises
    ------
    KeyError
        There is no such class; those that there are are named.
    """
    labels = Labels(objects.folder)
    if label not in (known := labels.every_class()):
        raise KeyError(f"no class {label!r}; there are {', '.join(known)}")
    votes = labels.votes()
    is_it = np.array([each == label for each in votes["label"].to_pylist()], bool)
    return np.isin(objects.object_ids, votes["object_id"].to_numpy()[is_it])


def ordinary(objects: Joined, by: str = "") -> np.ndarray:
    """Which objects are in the control sample: above -1 and below 1.5 deviations in a score, score_disc if not told."""
    by = by or CONTROL_SCORE
    sigma = objects.column(by if by.endswith("_sigma") else f"{by}_sigma")
    return (sigma > CONTROL_SIGMA[0]) & (sigma < CONTROL_SIGMA[1])


def listed(objects: Joined, path: Path) -> np.ndarray:
    """Which objects a file names: bool. A table's column object_id, or source; or, of .txt, either in each line.

    Rows that are none of the objects are told in the log.

    Raises
    ------
    ValueError
        The file cannot be read, has neither column, or names none of the objects.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    object_id, has_id, names = _named_in(path)
    known = objects.texts("source") if "source" in objects.text_columns else pa.array([], pa.string())
    is_object = has_id & np.isin(object_id, objects.object_ids)
    is_object |= np.asarray(pc.is_in(names, known)) & np.asarray(names.is_valid())
    if not is_object.any():
        raise ValueError(f"no row of {path} is an object of {objects.place}; check its ids")
    if not is_object.all():
        said = [str(number) if is_id else name for number, is_id, name in zip(object_id, has_id, names, strict=True)]
        unknown = np.array(said, object)[~is_object]
        log.warning("%d rows of %s are no object of %s: %s", len(unknown), path, objects.place, first_few(unknown))
    passes = np.isin(objects.object_ids, object_id[has_id])
    return passes | np.asarray(pc.is_in(known, names)) if len(known) else passes


def _named_in(path: Path) -> "tuple[np.ndarray, np.ndarray, pa.Array]":
    """Of every row the id, int64, whether it has one, and the source, null where it is an id."""
    import pyarrow as pa

    from peculiar.io.ids import find_column, ids_and_presence
    from peculiar.io.tables import read_table

    if path.suffix.lower() == ".txt":
        lines = [each.strip() for each in path.read_text(encoding="utf-8").splitlines()]
        names = [each for each in lines if each and not each.startswith("#")]
        digits = [each if re.fullmatch("[+-]?[0-9]{1,19}", each) else None for each in names]
        ids = ids_and_presence(pa.chunked_array([pa.array(digits, pa.string())]), str(path))
        return *ids, pa.array(names, pa.string())  # digits may be a source too
    table = read_table(path, text_columns=("source",))
    if (column := find_column(table.column_names, ["source"])) is None:
        return *ids_of(table, path), pa.nulls(len(table), pa.string())
    sources = table[column].cast(pa.string()).combine_chunks()
    return np.zeros(len(table), np.int64), np.zeros(len(table), bool), sources
