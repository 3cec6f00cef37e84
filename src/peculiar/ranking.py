"""A finished ranking opened for reading: scores, measures and catalog joined by `object_id`, and reconstructions."""

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from peculiar.checkpoint import load_pinned
from peculiar.joined import RANKED, SURVEY, Joined
from peculiar.run import NAME, Run, home_of, read_run
from peculiar.survey import Survey, Table, pixels

FIRST_SHOWN = ("score_joint", "score_anom_conditional")  # the first of these that there is; METHOD.md sect. 8
# What score_joint joins: what the generator cannot make, as a whole and in its pixels; a frame unlike all others; a
# center unlike those of its like; light that is foreign to the survey, for all and for those of its like.
JOINED = (
    *("score_anom_conditional", "score_gen_conditional"),
    *("score_neighbors_frame", "score_neighbors_center_conditional"),
    *("score_foreign_detector", "score_foreign_detector_conditional"),
)
RELATIONS = ("rankings/neighbors-frame", "rankings/neighbors-center", "rankings/features-detector")
MAKE_AT_ONCE = 256  # reconstructions made before they are handed on
TYPICAL_PERCENTILE = 50.0  # of score_anom: an object up to it is called typical


class Ranking(Joined):
    """`rankings/<name>` of the atlas in `folder`, with the scores and the survey that it was made of.

    Raises
    ------
    FileNotFoundError
        It is not complete.
    """

    def __init__(self, folder: Path, name: str = "main") -> None:
        self.folder, self.place, self.home = folder, f"rankings/{name}", home_of(folder, "rankings", name)
        run = read_run(self.home)
        if run is None:
            raise FileNotFoundError(f'rankings/{name} is not complete in {folder}; run "peculiar run {folder}" first')
        if run.stage != "rank":
            raise ValueError(
                f"rankings/{name} holds other scores, made by {run.stage}; its columns are in every ranking"
            )
        self.run: Run = run
        self.scored_in = f"scores/{run.config['scores']}"
        scores = folder / self.scored_in
        scored = read_run(scores)
        if scored is None:
            raise FileNotFoundError(f'{scores} is not complete; run "peculiar score {folder}" first')
        self.scored: Run = scored
        self.survey = Survey(folder / "survey" / "table.lance")
        self.facts, self.base = Table(scores / "table.lance"), Table(self.home / "table.lance")
        self.kept = Table(self.home / "reconstructions.lance")

    @property
    def weights(self) -> dict[str, float]:
        """The weights that every product names."""
        return {name: self.run.outputs[name] for name in ("reconstruction_weight", "combination_weight")}

    @property
    def _own(self) -> list[Table]:
        return [self.base, self.facts, self.survey]

    def _is_mine(self, run: Run) -> bool:
        if run.stage in RANKED:
            return run.config.get("ranking", self.home.name) == self.home.name
        return run.config.get("of", SURVEY) in (SURVEY, self.place)

    @property
    def first_shown(self) -> str:
        """The score that objects are ordered by where none is asked for."""
        return next(each for each in FIRST_SHOWN if each in self.schema.names)

    def percentiles(self, row: dict[str, Any], values: np.ndarray) -> dict[str, tuple[float, float]]:
        """Value and percentile of each score of a row: of the reference; of all `values` for the first shown."""
        first = self.first_shown
        mine = np.nan if row[first] is None else float(row[first])
        found = {first: (mine, 100 * float((values < mine).mean()) if np.isfinite(mine) else np.nan)}
        for name, percentile in row.items():
            score = name.removesuffix("_percentile")
            if score != name and score in row and percentile is not None and row[score] is not None:
                found[score] = (float(row[score]), float(percentile))
        return found

    def typical(self) -> np.ndarray:
        """Ids of the typical objects: the half of the reference with the lowest score_anom, and what is like it."""
        return self.object_ids[self.column("score_anom_percentile") <= TYPICAL_PERCENTILE]

    @cached_property
    def orders(self) -> list[str]:
        """Every score, raw and conditional, that objects can be ordered by."""
        from peculiar.scoring.scores import FORMS

        raw = [each for each in self.schema.names if each.startswith("score_") and not each.endswith(FORMS)]
        return [each for name in raw for each in (name, f"{name}_conditional") if each in self.schema.names]

    def reconstructions(self, object_ids: np.ndarray) -> np.ndarray:
        """What the generator makes of the objects' latents, uint8 (n, height, width, channels): kept, or made now.

        Raises
        ------
        ValueError
            They must be made, and the generator is not the file that the scores were made with.
        """
        result = np.empty((len(object_ids), *self.survey.form.shape), np.uint8)
        is_kept = np.isin(object_ids, self.kept.object_ids())
        if is_kept.any():
            column = self.kept.take(object_ids[is_kept], ["reconstruction"])["reconstruction"]
            result[is_kept] = pixels(column, np.uint8, self.survey.form.shape)
        if not is_kept.all():
            result[~is_kept] = np.concatenate([images for _, images in _in_parts(self._make, object_ids[~is_kept])])
        return result

    @cached_property
    def _make(self) -> Callable[[np.ndarray], np.ndarray]:
        """The generator, opened once for many questions."""
        return _reconstructions_by(self.folder, self.scored, self.facts, "auto")

    def residuals(self, object_ids: np.ndarray) -> np.ndarray:
        """Absolute differences of images and reconstructions, uint8 (n, height, width, channels)."""
        images = self.survey.images(object_ids).astype(np.int16)
        return np.abs(images - self.reconstructions(object_ids)).astype(np.uint8)


def reconstruct(
    folder: Path, scored: Run, facts: Table, object_ids: np.ndarray, device: str = "auto"
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ids and reconstructions, a batch at a time, by the very generator that the scores were made with."""
    yield from _in_parts(_reconstructions_by(folder, scored, facts, device), object_ids)


def _in_parts(
    make: Callable[[np.ndarray], np.ndarray], object_ids: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(object_ids), MAKE_AT_ONCE):
        part = object_ids[start : start + MAKE_AT_ONCE]
        yield part, make(part)


def residuals_by(
    folder: Path, scored: Run, facts: Table, device: str = "auto"
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A function of ids and their stored images that gives residuals, uint8 (n, height, width, channels).

    The generator is opened once, and is the very one that the scores were made with; nothing is read ahead or kept.
    """
    make = _reconstructions_by(folder, scored, facts, device)

    def residuals(object_ids: np.ndarray, images: np.ndarray) -> np.ndarray:
        return np.abs(images.astype(np.int16) - make(object_ids)).astype(np.uint8)

    return residuals


def _reconstructions_by(folder: Path, scored: Run, facts: Table, device: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function of ids that gives reconstructions, uint8 (n, height, width, channels), from stored latents."""
    from peculiar import engine

    engine.tune()
    from peculiar.networks.gan import Generator

    path = folder / scored.outputs["networks"]["gan"]
    generator = load_pinned(path, scored.inputs["gan"], "generator", Generator)
    machine = engine.machine(device)
    machine.place(generator)

    def make(object_ids: np.ndarray) -> np.ndarray:
        latent = facts.take(object_ids, ["latent"])["latent"].combine_chunks()
        flat = latent.flatten().to_numpy(zero_copy_only=False)
        return machine.reconstruct(generator, flat.reshape(len(object_ids), -1))

    return make


def columns_of(folder: Path, place: str) -> Joined:
    """The columns of "survey", "catalogs/NAME" or "rankings/NAME".

    Raises
    ------
    ValueError
        It is none of these.
    FileNotFoundError
        It is not complete.
    """
    parent, _, name = place.partition("/")
    if parent == "rankings" and NAME.fullmatch(name):
        return Ranking(folder, name)
    if place == SURVEY or (parent == "catalogs" and NAME.fullmatch(name)):
        return Joined(folder, place)
    raise ValueError(f"of must be survey, rankings/NAME or catalogs/NAME, got {place!r}")
