"""Make a bundle for citizen science: thumbnails, manifests and a key, the most anomalous mixed with others."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from peculiar.joined import SURVEY, Joined
from peculiar.ranking import Ranking, columns_of
from peculiar.run import (
    Run,
    Track,
    as_json,
    atomic,
    begin,
    finish,
    home_of,
    quiet,
    read_run,
    read_started,
    refuse_made_anew,
    save_figure,
)
from peculiar.survey import Survey

if TYPE_CHECKING:
    from peculiar.io.pages import Cell, Section

IMAGES_AT_ONCE = 64
N_SHOWN = 30  # subjects on the page's contact sheet
SIZES = (32, 1024)  # pixels
MOST_IN_FOLDER = 10_000  # also what Zooniverse lets an account upload before it asks


@dataclass(frozen=True, kw_only=True)
class BundleConfig:
    """What `bundle` can be told."""

    of: Annotated[str, "objects: survey, or rankings/NAME"] = "rankings/main"
    where: Annotated[str, "filter on the first; empty: all objects"] = ""
    by: Annotated[str, "column whose largest values are the first; empty: the order first shown"] = ""
    n: Annotated[int, "how many first"] = 1000
    n_control: Annotated[
        int, "how many others at random are mixed in, so that votes have something to compare with"
    ] = 0
    control_where: Annotated[str, "filter on those at random; empty: all that are not among the first"] = ""
    size: Annotated[int, "height and width of an image, pixels"] = 424
    format: Annotated[Literal["png", "jpeg"], "of the images; jpeg is about five times smaller"] = "png"
    is_triple: Annotated[bool, "image, reconstruction and residual beside each other; needs a ranking"] = False
    columns: Annotated[tuple[str, ...], "columns of the manifest that volunteers may see"] = ()
    hidden: Annotated[tuple[str, ...], "columns of the manifest that nobody is shown"] = ()
    prefix: Annotated[str, "what the subjects' names begin with, letters only"] = "object"
    n_in_folder: Annotated[int, "subjects in one folder at most"] = MOST_IN_FOLDER
    seed: Annotated[int, "seed of the draw and of the order"] = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.n < 0 or self.n_control < 0 or self.n + self.n_control == 0:
            raise ValueError(f"n and n_control must not be negative, nor both 0, got {self.n} and {self.n_control}")
        if not SIZES[0] <= self.size <= SIZES[1]:
            raise ValueError(f"size must be from {SIZES[0]} to {SIZES[1]} pixels, got {self.size}")
        if self.format not in ("png", "jpeg"):
            raise ValueError(f"format must be png or jpeg, got {self.format!r}")
        if not 1 <= self.n_in_folder <= MOST_IN_FOLDER:
            raise ValueError(f"n_in_folder must be from 1 to {MOST_IN_FOLDER}, got {self.n_in_folder}")
        if not re.fullmatch("[A-Za-z]{1,40}", self.prefix):
            raise ValueError(f"prefix must be 1 to 40 letters, so that the name has one number, got {self.prefix!r}")
        if both := set(self.columns) & set(self.hidden):
            raise ValueError(f"columns and hidden both name {', '.join(sorted(both))}; leave one of them")


@dataclass(frozen=True)
class _Chosen:
    """The subjects in the order of the bundle, which tells nothing of their scores."""

    object_ids: np.ndarray
    rank: np.ndarray  # 1 the first; 0 of those at random
    value: np.ndarray  # of the column that the first are first by

    @property
    def digest(self) -> str:
        return hashlib.blake2b(self.object_ids.tobytes() + self.rank.tobytes(), digest_size=16).hexdigest()


def bundle(
    folder: Path, config: BundleConfig, *, name: str = "main", replace: bool = False, track: Track = quiet
) -> Run:
    """Fill `bundles/<name>` of the atlas in `folder`: parts to upload, `README.md`, `key.csv` and `bundle.html`.

    Each `part-NN` holds images, named by their object, and a `manifest.csv` beside them. `key.csv` says what each
    subject is (first or control, its rank and value), and stays at home. The order is a seeded shuffle. Images that are
    there are not made again, so that an interrupted run goes on.

    Raises
    ------
    ValueError
        A filter is none, passes no object or too few for the controls; the ranking or what it is filtered by has
        changed since the bundle was begun; or an image is larger than Zooniverse takes.
    KeyError
        A column is not there.
    """
    objects = _opened(folder, config)
    _refuse_unknown(objects, config)
    chosen = _choose(objects, config)
    home, reads = home_of(folder, "bundles", name), {config.of: objects.run.identity}
    _refuse_others(home, chosen, config, reads, replace=replace)
    run = begin(home, "bundle", config, inputs={"chosen": chosen.digest}, reads=reads, replace=replace)
    parts = [slice(start, start + config.n_in_folder) for start in range(0, len(chosen.object_ids), config.n_in_folder)]
    names = [f"part-{number:02d}" for number in range(1, len(parts) + 1)]
    n_made = 0
    with track("making images", len(chosen.object_ids)) as advance:
        for part, where in zip(names, parts, strict=True):
            ids = chosen.object_ids[where]
            for n_done, n_new in _write_images(objects, home / part, ids, config):
                n_made += n_new
                advance(n_done)
            _write_manifest(objects, home / part, ids, config)
    _write_key(home, chosen, config, names)
    from peculiar.io.bundles import write_readme

    write_readme(
        home / "README.md", atlas=folder.name or str(folder), name=name, parts=names, n_subjects=len(chosen.object_ids)
    )
    counts = {
        "n_objects": len(chosen.object_ids),
        "n_first": int((chosen.rank > 0).sum()),
        "n_control": int((chosen.rank == 0).sum()),
        "n_parts": len(names),
        "n_bytes": sum(each.stat().st_size for part in names for each in (home / part).iterdir()),
    }
    by = config.by or objects.first_shown
    page = _write_page(objects, home, chosen, config, counts).relative_to(folder).as_posix()
    return finish(home, run, **counts, n_made=n_made, by=by, parts=names, page=page)


def _opened(folder: Path, config: BundleConfig) -> Joined:
    if config.of.startswith("catalogs/"):
        raise ValueError(f"{config.of} has no images; of must be survey or rankings/NAME")
    if config.is_triple and config.of == SURVEY:
        raise ValueError("is_triple needs reconstructions, which a ranking has; give --of rankings/NAME")
    return columns_of(folder, config.of)


def _refuse_unknown(objects: Joined, config: BundleConfig) -> None:
    unknown = [each for each in (*config.columns, *config.hidden) if each not in objects.schema.names]
    if unknown:
        known = ", ".join(objects.schema.names)
        raise KeyError(f"{config.of} has no column {', '.join(unknown)} for the manifest; it has: {known}")


def _choose(objects: Joined, config: BundleConfig) -> _Chosen:
    """The first, others at random, and an order that is of neither."""
    ids, order = objects.object_ids, objects.order(config.by)
    by = config.by or objects.first_shown
    values = np.full(len(ids), np.nan) if by == "object_id" else objects.column(by)
    passes = objects.select(config.where) if config.where else np.ones(len(ids), bool)
    first = order[passes[order]][: config.n]
    if config.n and not len(first):
        raise ValueError(f"no object of {config.of} passes the filter {config.where!r}; take another")
    is_other = objects.select(config.control_where) if config.control_where else np.ones(len(ids), bool)
    others = np.setdiff1d(np.flatnonzero(is_other), first)
    if len(others) < config.n_control:
        raise ValueError(f"n_control is {config.n_control}, and there are {len(others)} others; ask for fewer")
    others = others[np.argsort(ids[others])]  # the draw is of ids, whatever the order of rows
    random = np.random.default_rng(config.seed % 2**64)
    control = random.choice(others, config.n_control, replace=False)
    together = np.concatenate([first, control])
    together = together[np.argsort(ids[together])]
    together = together[random.permutation(len(together))]
    rank = np.zeros(len(ids), np.int64)
    rank[first] = np.arange(1, len(first) + 1)
    return _Chosen(ids[together], rank[together], values[together])


def _refuse_others(home: Path, chosen: _Chosen, config: BundleConfig, reads: dict[str, str], *, replace: bool) -> None:
    """Images of another choice must not stand beside these."""
    remedy = "give --replace to make it anew, or another --name to keep both"
    before = read_run(home) or read_started(home)
    is_same_config = before is not None and before.config == as_json(config)  # begin refuses another
    if not replace and is_same_config and before is not None and before.inputs["chosen"] != chosen.digest:
        raise ValueError(f"{home} was begun with other objects: {config.of} has changed since; {remedy}")
    if config.is_triple:
        message = f"{home} has reconstructions of an earlier {config.of}, which was made anew since; {remedy}"
        refuse_made_anew(home, reads, message, replace=replace)


def _file_of(object_id: int, config: BundleConfig) -> str:
    from peculiar.io.bundles import SUFFIXES, subject_name

    return subject_name(object_id, config.prefix) + SUFFIXES[config.format]


def _write_images(
    objects: Joined, part: Path, object_ids: np.ndarray, config: BundleConfig
) -> Iterator[tuple[int, int]]:
    """Make the images that are not there yet, a batch at a time; how many it has, and how many were made."""
    from peculiar.io.bundles import encode_subject

    part.mkdir(exist_ok=True)
    for partial in part.glob(".partial-*"):  # left by a kill; the whole folder is uploaded
        partial.unlink()
    there = {each.name for each in part.iterdir()}
    survey = Survey(objects.folder / "survey" / "table.lance")
    for start in range(0, len(object_ids), IMAGES_AT_ONCE):
        batch = object_ids[start : start + IMAGES_AT_ONCE].tolist()
        missing = [each for each in batch if _file_of(each, config) not in there]
        ids = np.array(missing, np.int64)
        shown = [survey.images(ids)] if len(ids) else []
        if len(ids) and config.is_triple and isinstance(objects, Ranking):
            made = objects.reconstructions(ids)
            shown += [made, np.abs(shown[0].astype(np.int16) - made).astype(np.uint8)]
        for row, each in enumerate(missing):
            content = encode_subject([images[row] for images in shown], config.size, config.format)
            with atomic(part / _file_of(each, config)) as partial:
                partial.write_bytes(content)
        yield len(batch), len(missing)


def _write_manifest(objects: Joined, part: Path, object_ids: np.ndarray, config: BundleConfig) -> None:
    from peculiar.io.bundles import FIRST_COLUMNS, HIDDEN, subject_name, write_manifest

    names = (*config.columns, *config.hidden)

    def rows() -> Iterator[tuple[object, ...]]:
        for start in range(0, len(object_ids), IMAGES_AT_ONCE * 16):
            ids = object_ids[start : start + IMAGES_AT_ONCE * 16]
            others = objects.rows(ids).select(list(names)).to_pylist() if names else [{}] * len(ids)
            for each, other in zip(ids.tolist(), others, strict=True):
                own = (_file_of(each, config), each, subject_name(each, config.prefix))
                yield (*own, *(other[name] for name in names))

    columns = (*FIRST_COLUMNS, *config.columns, *(f"{HIDDEN}{each}" for each in config.hidden))
    write_manifest(part / "manifest.csv", columns, rows())


def _write_key(home: Path, chosen: _Chosen, config: BundleConfig, parts: list[str]) -> None:
    """What each subject is: for whoever reads the votes, not for whoever votes."""
    import pyarrow as pa

    from peculiar.io.exports import write_csv

    ids = chosen.object_ids.tolist()
    table = pa.table(
        {
            "object_id": pa.array(ids, pa.int64()),
            "part": [parts[place // config.n_in_folder] for place in range(len(ids))],
            "filename": [_file_of(each, config) for each in ids],
            "sample": ["first" if rank else "control" for rank in chosen.rank.tolist()],
            "rank": pa.array(chosen.rank, mask=chosen.rank == 0),
            "value": pa.array(chosen.value, from_pandas=True),
        }
    )
    write_csv(home / "key.csv", table.schema, table.to_batches())


def _write_page(objects: Joined, home: Path, chosen: _Chosen, config: BundleConfig, counts: dict[str, int]) -> Path:
    from peculiar.figures.galleries import figure_gallery
    from peculiar.io.pages import Facts, Picture, Text, write_page

    ids, rank = chosen.object_ids[:N_SHOWN], chosen.rank[:N_SHOWN]
    captions = [
        f"{each}\n{f'place {place:,}' if place else 'at random'}"
        for each, place in zip(ids.tolist(), rank.tolist(), strict=True)
    ]
    images = Survey(objects.folder / "survey" / "table.lance").images(ids)
    heading = f"The first {len(ids)} of the bundle, as they are shuffled"
    save_figure(figure_gallery(images, captions, heading, n_columns=6), home / "sheet.png")
    by = config.by or objects.first_shown
    facts: dict[str, Cell] = {
        "subjects": counts["n_objects"],
        f"first by {by}": counts["n_first"],
        "at random": counts["n_control"],
        "folders": counts["n_parts"],
        "megabytes": f"{counts['n_bytes'] / 1e6:,.1f}",
    }
    text = "README.md says how to upload the folders and what to ask. key.csv and this page tell which subjects were "
    text += "chosen by score: they are not for volunteers."
    sections: list[Section] = [
        Facts(items=facts, heading="In short"),
        Text(body=text),
        Picture(path=home / "sheet.png", alt="images of subjects", heading="Some of them"),
    ]
    path = home / "bundle.html"
    title = f"{objects.folder.resolve().name}: a bundle for citizen science"
    write_page(path, title, sections, subtitle=f"of {config.of}", provenance={**objects.weights})
    return path
