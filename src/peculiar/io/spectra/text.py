"""Columns of a spectrum kept as text: commas, tabs or blanks, and one line that names them."""

import re

import numpy as np

from peculiar.io.spectra.raw import Refused
from peculiar.io.spectra.tables import SpectrumColumn


def text_columns(text: str) -> list[SpectrumColumn]:
    """Columns of text with a header line, which may stand in a comment; separated by commas, tabs or blanks."""
    lines = [line for line in text.splitlines() if line.strip()]
    comments = [line.lstrip("#% \t") for line in lines if line.lstrip().startswith(("#", "%"))]
    rows = [line for line in lines if not line.lstrip().startswith(("#", "%"))]
    if not rows:
        raise Refused("holds no row of a table; give a header line (wave, flux, err) and a line for every pixel")
    cells = [_cells(line) for line in rows]
    names = cells.pop(0) if not _is_number(cells[0][0]) else _cells(comments[-1]) if comments else []
    if not cells or len(names) != len(cells[0]) or any(map(_is_number, names)):
        raise Refused(
            f"has no header line that names its {len(cells[0]) if cells else 0} columns; "
            "begin it with one, such as: wave flux err"
        )
    for number, each in enumerate(cells, start=1):
        if len(each) != len(names):
            raise Refused(f"has {len(each)} values in row {number}, where the header names {len(names)}; mend that row")
    return [_text_column(name, [each[at] for each in cells]) for at, name in enumerate(names)]


def _text_column(name: str, words: list[str]) -> SpectrumColumn:
    """Numbers, or text as it stands; an empty cell is NaN. A unit may follow the name: ``wave [nm]``, ``wave(nm)``."""
    match = re.fullmatch(r"\s*([^\[(]+?)\s*[\[(](.*)[\])]\s*", name)
    plain, unit = match.groups() if match else (name, "")
    truth = {"true": "1", "false": "0", "": "nan", "--": "nan"}
    try:
        values = np.array([float(truth.get(word.lower(), word)) for word in words])
    except ValueError:
        values = np.array(words)
    return SpectrumColumn(name=plain, values=values, unit=unit)


def _cells(line: str) -> list[str]:
    separator = "," if "," in line else "\t" if "\t" in line else None
    return [cell.strip().strip("\"'") for cell in line.strip().split(separator)]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return word == ""
    return True
