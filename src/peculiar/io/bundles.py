"""Bundles for citizen science: images, the manifest that Zooniverse reads, how to upload; and ids on the way back."""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from peculiar.figures.images import as_color
from peculiar.io.catalogs import ID_NAMES
from peculiar.io.ids import LIMIT, id_in_name
from peculiar.io.plain import placed

Format = Literal["png", "jpeg"]
SUFFIXES: dict[Format, str] = {"png": ".png", "jpeg": ".jpg"}
MAX_BYTES = 1024 * 1024  # of a file: panoptes-cli, commands/subject_set.py, MAX_UPLOAD_FILE_SIZE
JPEG_QUALITY = 90
GAP = 8  # black pixels between the images of one subject
# Column names that begin with # are shown to nobody, with ! not while classifying (panoptes-cli, README).
HIDDEN, LATER = "#", "!"
# The file is named first: upload-subjects -f 1 takes it from there.
FIRST_COLUMNS = ("filename", f"{HIDDEN}object_id", f"{LATER}subject_name")
NAMES = ("subject_name", "filename", "file", "image")  # of a subject, which may have the whole id in them

EXACT_DIGITS = 15  # that a spreadsheet program, and a float64, keep of a number
LARGEST = 20  # decimal places of an id, with some to spare
WHOLE = re.compile("[+-]?[0-9]{1,40}")
NUMBER = re.compile("[+-]?[0-9]+([.,][0-9]*)?([eE][+-]?[0-9]+)?")
ROUNDED = "the id was rounded, by a spreadsheet program or a float; export again and do not open it in one"
NO_ID = "there is no object_id, nor a name with one"
MAX_SHOWN = 200  # characters of what is refused


def subject_name(object_id: int, prefix: str = "object") -> str:
    """Name a subject by a text that holds its whole id: ``object_43158859342174406``.

    A spreadsheet program turns 17 digits into 4.31589E+16, quoted or not; a text with a letter it leaves as it is.
    """
    return f"{prefix}_{object_id}"


def encode_subject(images: Sequence[UInt8[np.ndarray, "_ _ _"]], size: int, kind: Format = "png") -> bytes:
    """Enlarge images of one object, put them beside each other, and encode them as one file.

    Parameters
    ----------
    images
        uint8 (height, width, channels), one at least; shown by the rule of `as_color`.
    size
        Height and width of each afterwards, pixels.
    kind
        PNG, or JPEG of quality 90 with colors at full resolution.

    Notes
    -----
    Bicubic: about a saturated star Lanczos undershoots further, and volunteers take dark rings for a find.

    Raises
    ------
    ValueError
        The file is larger than Zooniverse takes.
    """
    parts = [_enlarged(as_color(image[None])[0], size) for image in images]
    gap = np.zeros((size, GAP, 3), np.uint8)
    beside = [each for part in parts for each in (gap, part)][1:]
    stream = BytesIO()
    options = {"quality": JPEG_QUALITY, "subsampling": 0} if kind == "jpeg" else {}
    Image.fromarray(np.concatenate(beside, axis=1)).save(stream, kind.upper(), **options)
    if stream.tell() > MAX_BYTES:
        raise ValueError(
            f"an image of size {size} takes {stream.tell():,} bytes as {kind}, and Zooniverse takes {MAX_BYTES:,} at "
            "most; give --size a smaller number, or --format jpeg"
        )
    return stream.getvalue()


def _enlarged(color: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(color).resize((size, size), Image.Resampling.BICUBIC))


def write_manifest(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    """Write a subject manifest, CSV with every cell in quotes; return the number of rows. None is an empty cell.

    Raises
    ------
    ValueError
        A row has another number of cells than there are columns.
    """
    n_rows = 0
    with placed(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            if len(row) != len(columns):
                raise ValueError(f"a row needs {len(columns)} cells ({', '.join(columns)}), got {len(row)}")
            writer.writerow(["" if each is None else str(each) for each in row])
            n_rows += 1
    return n_rows


def write_readme(path: Path, *, atlas: str, name: str, parts: Sequence[str], n_subjects: int) -> None:
    """Write what is to be done with a bundle: upload, the question to ask, and the way back of what was said.

    Parameters
    ----------
    atlas, name
        The atlas's folder and the bundle's name, for the command that brings the votes back.
    parts
        Names of the folders that hold a manifest and its images.
    """
    manifests = " ".join(f"{part}/manifest.csv" for part in parts)
    text = _README.format(atlas=atlas, name=name, manifests=manifests, n_subjects=f"{n_subjects:,}")
    with placed(path) as part:
        part.write_text(text, encoding="utf-8")


def bare_name(name: str) -> str:
    """A column's name without what hides it (#, !, %) and in small letters."""
    return name.strip().lstrip("#!%/ ").casefold()


class UncountableError(ValueError):
    """Why a classification cannot be counted, and the text it is about."""

    def __init__(self, reason: str, text: object = "") -> None:
        super().__init__(reason)
        self.reason, self.text = reason, str(text)[:MAX_SHOWN]


def object_id_of(subject: Mapping[str, Any]) -> tuple[int, bool]:
    """The id of a subject by its metadata, exact, and whether it was read from the name because it had been rounded.

    The column object_id holds it; what hides the column (#, !) does not count. Where that is empty or was rounded, the
    id in the name or in the file's name is taken, if it rounds to what is left of it.

    Raises
    ------
    ValueError
        There is none, or it was rounded and no name has it.
    """
    plain = {bare_name(key): " ".join(str(value).split()) for key, value in subject.items() if value not in (None, "")}
    given = next((plain[each] for each in ID_NAMES if each in plain), "")
    named = next((each for name in NAMES if (each := id_in_name(plain.get(name, ""))) is not None), None)
    if WHOLE.fullmatch(given):
        if not -LIMIT <= int(given) < LIMIT:
            raise UncountableError("the id is beyond 64 bits", given)
        is_cut = named is not None and named != int(given) and _rounds_to(named, given)
        return (named, True) if named is not None and is_cut else (int(given), False)
    if not given:
        if named is None:
            raise UncountableError(NO_ID)
        return named, False
    if named is None or not _rounds_to(named, given):
        raise UncountableError(ROUNDED if NUMBER.fullmatch(given) else "the id is no integer", given)
    return named, True


def _rounds_to(whole: int, given: str) -> bool:
    """Whether `given` is what a spreadsheet program or a float64 makes of a long id, and no longer the id itself."""
    try:
        left = Decimal(given.replace(",", "."))
    except InvalidOperation:
        return False
    if not left.is_finite() or left.adjusted() > LARGEST:
        return False
    if len(str(abs(whole))) <= EXACT_DIGITS or left == whole:
        return left == whole and not WHOLE.fullmatch(given)
    parts = left.normalize().as_tuple()
    step = Decimal(10) ** max(int(parts.exponent), 0)  # of the last digit that is not 0
    if len(parts.digits) <= EXACT_DIGITS:  # spreadsheet programs cut, others round
        return abs(left - whole) <= step
    return float(left) == float(whole) and int(float(left)) == left  # an odd neighbor is no float's: it is an id


_README = """# {n_subjects} subjects for a citizen-science project

`key.csv` says which objects were chosen by their score and which at random. Do not upload it: volunteers are not to
know.

## Upload to Zooniverse

    pip install panoptescli
    panoptes configure
    panoptes subject-set create PROJECT_ID "{name}"
    panoptes subject-set upload-subjects -f 1 SUBJECT_SET_ID {manifests}
    panoptes workflow add-subject-sets WORKFLOW_ID SUBJECT_SET_ID

`-f 1` says that the first column names the file; without it an empty cell is taken for one. An upload that breaks off
can be saved and gone on with; it asks. In the browser (Lab, Subject Sets, Upload subjects) choose the images of one
part and its `manifest.csv` together.

Do not open and save `manifest.csv` in a spreadsheet program: ids of 17 digits become 4.31589E+16. Were it done, the
file's name and `!subject_name` still have the whole id, and the way back reads it there. Columns that begin with `#`
are shown to nobody, with `!` only after classifying.

## The question

One task, one answer: *Is there anything unusual in this image?* **Interesting** / **Not interesting**. Show three
examples of each in the tutorial, and say what satellites, bright stars and missing colors look like. Retire a subject
after 10 to 20 classifications: where all say yes, the 95 % lower bound of the interesting part is 0.72 with 10, 0.84
with 20. Upload ten subjects to a set of their own first, classify them yourself, and bring these votes back.

## The way back

    panoptes project download --generate PROJECT_ID classifications.csv
    peculiar import-classifications {atlas} classifications.csv --bundle {name}
"""
