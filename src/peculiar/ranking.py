"""A finished ranking opened for reading: scores, measures and catalog joined by `object_id`, and reconstructions."""

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from peculiar.checkpoint import load_pinned
from peculiar.run import Run, read_run
from peculiar.survey import Survey, Table, pixels

if TYPE_CHECKING:
    import pyarrow as pa


FIRST_SHOWN = "score_anom_conditional"  # METHOD.md sect. 8
NOT_NUMBERS = ("image", "flux", "latent", "source")
MAKE_AT_ONCE = 256  # reconstructions made before they are handed on


class Ranking:
    """`rankings/<name>` of the atlas in `folder`, with the scores and the survey that it was made of.

    Raises
    ------
    FileNotFoundError
        It is not complete.
    """

    def __init__(self, folder: Path, name: str = "main") -> None:
        self.folder, self.home = folder, folder / "rankings" / name
        run = read_run(self.home)
        if run is None:
            raise FileNotFoundError(f'rankings/{name} is not complete in {folder}; run "peculiar run {folder}" first')
        if run.stage != "rank":
            raise ValueError(
                f"rankings/{name} holds other scores, made by {run.stage}; its columns are in every ranking"
            )
        self.run: Run = run
        scores = folder / "scores" / run.config["scores"]
        scored = read_run(scores)
        if scored is None:
            raise FileNotFoundError(f'{scores} is not complete; run "peculiar score {folder}" first')
        self.scored: Run = scored
        self.survey = Survey(folder / "survey" / "table.lance")
        self.facts, self.relative = Table(scores / "table.lance"), Table(self.home / "table.lance")
        self.kept = Table(self.home / "reconstructions.lance")

    @property
    def weights(self) -> dict[str, float]:
        """The weights that every product names."""
        return {name: self.run.outputs[name] for name in ("reconstruction_weight", "combination_weight")}

    def __len__(self) -> int:
        return len(self.relative)

    @cached_property
    def others(self) -> list[Table]:
        """Tables with the forms of other scores, as `relate` makes them; objects may be missing there."""
        homes = sorted(path.parent for path in (self.folder / "rankings").glob("*/run.json"))
        return [Table(home / "table.lance") for home in homes if (run := read_run(home)) and run.stage == "relate"]

    @cached_property
    def _sources(self) -> dict[str, Table]:
        """Which table a column is read from; scores before measures before the catalog's."""
        found: dict[str, Table] = {}
        for table in (self.relative, self.facts, *self.others, self.survey):
            for name in table.schema.names:
                found.setdefault(name, table)
        return found

    @property
    def schema(self) -> "pa.Schema":
        """Columns of `rows`: ids and position, scores, measures, then the catalog's own."""
        import pyarrow as pa

        first = ("object_id", "source", "ra", "dec")
        names = [*first, *(name for name in self._sources if name not in (*first, "image", "flux", "latent"))]
        return pa.schema([self._sources[name].schema.field(name) for name in names])

    def rows(self, object_ids: np.ndarray) -> "pa.Table":
        """All columns but pixels and latents of these objects, in the order asked for."""
        import pyarrow as pa

        schema = self.schema
        columns: dict[str, pa.ChunkedArray] = {}
        for table in (self.relative, self.facts, *self.others, self.survey):
            mine = [name for name in schema.names if self._sources[name] is table]
            taken = table.take(object_ids, mine, is_complete=table not in self.others)
            columns |= {name: taken[name] for name in mine}
        return pa.table([columns[name] for name in schema.names], schema=schema)

    def column(self, name: str) -> np.ndarray:
        """One numeric column over all ranked objects, float64, in the order of `object_ids`."""
        if name not in self._sources or name in NOT_NUMBERS:
            raise KeyError(f"no number {name!r} to order by; there are {', '.join(self.schema.names)}")
        table = self._sources[name]
        values = table.column(name)
        if values.dtype.kind not in "iufb":
            raise KeyError(f"{name} holds no numbers to order by")
        if table is self.relative:
            return values.astype(np.float64)
        ids = table.object_ids()
        order = np.argsort(ids, kind="stable")
        place = order[np.minimum(np.searchsorted(ids, self.object_ids, sorter=order), len(ids) - 1)]
        return np.where(ids[place] == self.object_ids, values.astype(np.float64)[place], np.nan)

    @cached_property
    def object_ids(self) -> np.ndarray:
        """Ids of all ranked objects, int64, in the table's order."""
        return self.relative.object_ids()

    def order(self, by: str = FIRST_SHOWN) -> np.ndarray:
        """Places of `object_ids` from the largest value down; NaN last, equal values by id."""
        return np.lexsort((self.object_ids, -np.nan_to_num(self.column(by), nan=-np.inf)))

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
            made = reconstruct(self.folder, self.scored, self.facts, object_ids[~is_kept])
            result[~is_kept] = np.concatenate([images for _, images in made])
        return result

    def residuals(self, object_ids: np.ndarray) -> np.ndarray:
        """Absolute differences of images and reconstructions, uint8 (n, height, width, channels)."""
        images = self.survey.images(object_ids).astype(np.int16)
        return np.abs(images - self.reconstructions(object_ids)).astype(np.uint8)


def reconstruct(
    folder: Path, scored: Run, facts: Table, object_ids: np.ndarray, device: str = "auto"
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ids and reconstructions, a batch at a time, by the very generator that the scores were made with."""
    make = _reconstructions_by(folder, scored, facts, device)
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
