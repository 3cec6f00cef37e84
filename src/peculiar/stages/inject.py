"""Plant oddities in copies of the survey's own images: an atlas beside the atlas, and the truth about it."""

import csv
import dataclasses
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from peculiar.run import (
    FINISHED,
    Run,
    Track,
    as_json,
    at_least,
    atomic,
    begin,
    finish,
    home_of,
    positive,
    quiet,
    read_run,
    refuse_made_anew,
    save_figure,
    write_json,
)
from peculiar.sky.oddities import INJECTED
from peculiar.survey import Survey, Table, hashed

if TYPE_CHECKING:
    import pyarrow as pa

    from peculiar.sky.injection import Planted

log = logging.getLogger(__name__)
AT_ONCE = 256  # images
COMMIT_ROWS = 2_048
WORKED = "is_judged"  # in the record: the work was done
LEAST_OBJECTS = 32  # fewer say nothing, and have too few neighbors
N_EXAMPLES = 3  # of each class, in the picture
TRUTH = ("object_id", "planted_class", "planted_kind", "planted_strength", "planted_snr", "planted_radius")


@dataclass(frozen=True, kw_only=True)
class InjectConfig:
    """What `inject` can be told."""

    n_objects: Annotated[int, "objects of the survey that are taken, at random"] = 20_000
    odd_fraction: Annotated[float, "part of them that gets an oddity"] = 0.014
    classes: Annotated[tuple[str, ...], "what is planted, in turn"] = INJECTED
    share: Annotated[tuple[float, ...], "of an astrophysical oddity: least and largest share of its host's light"] = (
        0.03,
        0.5,
    )
    depth: Annotated[tuple[float, ...], "of an artefact: least and largest, in deviations of the image's noise"] = (
        3.0,
        100.0,
    )
    scale: Annotated[tuple[float, ...], "least and largest size of an oddity, of what is usual for its host"] = (
        0.8,
        1.25,
    )
    seeing: Annotated[float, "width at half maximum of a point in the images, pixels"] = 3.5
    seed: Annotated[int, "seed of what is taken and planted"] = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        at_least(self, 1, "n_objects")
        if not 0 <= self.odd_fraction <= 1:
            raise ValueError(f"odd_fraction must be from 0 to 1, got {self.odd_fraction}")
        unknown = sorted(set(self.classes) - set(INJECTED))
        if unknown or not self.classes:
            raise ValueError(f"classes must be of {', '.join(INJECTED)}; got {', '.join(unknown) or 'none'}")
        for name in ("share", "depth", "scale"):
            low_high = getattr(self, name)
            if len(low_high) != 2 or not 0 < low_high[0] <= low_high[1]:
                raise ValueError(f"{name} must be two positive numbers, ascending, got {low_high}")
        if self.share[1] > 1:
            raise ValueError(f"share must be at most 1, all of the host's light, got {self.share[1]}")
        positive(self, "seeing")


def inject(
    folder: Path,
    config: InjectConfig,
    *,
    work: Callable[[Path, Path], dict[str, Any]] | None = None,
    reads: Mapping[str, str] | None = None,
    name: str = "main",
    replace: bool = False,
    track: Track = quiet,
) -> Run:
    """Fill `injections/<name>`: `atlas`, of a sample in which copies stand in for some objects, and the truth.

    A copy has the id and the catalog's row of its host, whose place it takes: host and copy are never both in the
    sample. `truth.csv` says what was planted: class, kind, strength, signal-to-noise, radius (pixels at 96), and
    `examples.png` shows some of it. Objects without light in the middle cannot be hosts, and stay as they are. The
    sample is that of the first time: objects that came later are not in it.

    Parameters
    ----------
    work
        What is done with the new atlas and its truth before the folder is complete; its outputs are recorded.
    reads
        Identities of the folders that the work takes from, beside the survey.

    Raises
    ------
    ImportError
        Without GalSim.
    FileNotFoundError
        The survey is not complete.
    ValueError
        The survey, or what the work takes from, was made anew since; or, with work, nothing or everything is odd.
    """
    from peculiar.sky.simulate import require_galsim

    require_galsim()
    home, ingested = home_of(folder, "injections", name), read_run(folder / "survey")
    if ingested is None:
        raise FileNotFoundError(f'the survey in {folder} is not complete; run "peculiar ingest" first')
    survey = Survey(folder / "survey" / "table.lance")
    if work is not None:
        _refuse_one_sided(min(len(survey), config.n_objects), config)
    reads = {"survey": ingested.identity, **(reads or {})}
    message = f"what {home} was made of was made anew since; inject again with --replace, or under another --name"
    refuse_made_anew(home, reads, message, replace=replace)
    before = read_run(home)
    is_done = before is not None and (work is None or WORKED in before.outputs)
    if before is not None and is_done and not replace and before.config == as_json(config):
        return before
    run = begin(home, "inject", config, inputs={"survey": survey.version}, reads=reads, replace=replace)
    child, truth = home / "atlas", home / "truth.csv"
    if not truth.exists():
        _write_truth(truth, survey, _Plan.drawn(survey, config), track)
    plan = _Plan.read(truth, config)
    _write_survey(child, survey, plan, config, track)
    if plan.hosts:
        _draw_examples(home / "examples.png", survey, Survey(child / "survey" / "table.lance"), plan)
    done = {} if work is None else work(child, truth)
    mine = {
        "n_objects": len(plan.object_id),
        "n_planted": len(plan.hosts),
        "atlas": child.relative_to(folder).as_posix(),
        "truth": truth.relative_to(folder).as_posix(),
    }
    return finish(home, run, **{**done, **mine, **({} if work is None else {WORKED: True})})


def _refuse_one_sided(n_objects: int, config: InjectConfig) -> None:
    n_hosts = round(config.odd_fraction * n_objects)
    if n_objects < LEAST_OBJECTS or not 0 < n_hosts < n_objects:
        raise ValueError(
            f"odd_fraction {config.odd_fraction:g} of {n_objects} objects gives {n_hosts} an oddity; what is found can "
            f"be said of {LEAST_OBJECTS} objects or more, of which some are odd and some are not"
        )


@dataclass(frozen=True)
class _Plan:
    """Which objects are taken, and what is planted in which; how it looks depends on its id and the seed alone."""

    config: InjectConfig
    object_id: np.ndarray
    hosts: dict[int, tuple[str, ...]]  # class first; then, once it was planted, what the truth says of it

    @classmethod
    def drawn(cls, survey: Survey, config: InjectConfig) -> "_Plan":
        """A sample of the survey, the classes in turn."""
        object_id = survey.sample(config.n_objects, seed=config.seed)
        order = np.argsort(hashed(object_id, config.seed + 1), kind="stable")
        hosts = object_id[order[: round(config.odd_fraction * len(object_id))]].tolist()
        in_turn = [config.classes[place % len(config.classes)] for place in range(len(hosts))]
        return cls(config, object_id, {each: (name,) for each, name in zip(hosts, in_turn, strict=True)})

    @classmethod
    def read(cls, truth: Path, config: InjectConfig) -> "_Plan":
        """As the truth has it, which was written once."""
        with truth.open(newline="", encoding="utf-8") as stream:
            rows = {int(row["object_id"]): tuple(row[each] for each in TRUTH[1:]) for row in csv.DictReader(stream)}
        hosts = {object_id: said for object_id, said in rows.items() if said[0]}
        return cls(config, np.array(list(rows), np.int64), hosts)

    def plant(self, object_id: int, image: np.ndarray) -> "tuple[float, Planted | None]":
        """Strength, and the copy."""
        from peculiar.sky.injection import kind_of, plant_in

        config, rng = self.config, np.random.default_rng([self.config.seed % 2**64, object_id % 2**64])
        name = self.hosts[object_id][0]
        low, high = config.share if kind_of(name) == "astrophysical" else config.depth
        strength = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        if name == "missing_band":
            strength /= high  # the deepest lacks it all over
        scale = float(np.exp(rng.uniform(*np.log(config.scale))))
        return strength, plant_in(image, name, strength, rng=rng, scale=scale, seeing=config.seeing)


def _write_truth(path: Path, survey: Survey, plan: _Plan, track: Track) -> None:
    """The truth of all objects."""
    from peculiar.sky.injection import kind_of

    hosts, said = np.array(list(plan.hosts), np.int64), {}
    with track("planting", len(hosts)) as advance:
        for start in range(0, len(hosts), AT_ONCE):
            part = hosts[start : start + AT_ONCE]
            for object_id, image in zip(part.tolist(), survey.images(part), strict=True):
                strength, planted = plan.plant(object_id, image)
                if planted is not None:
                    (name,) = plan.hosts[object_id]
                    numbers = (f"{each:.6g}" for each in (strength, planted.snr, planted.radius))
                    said[object_id] = (name, kind_of(name), *numbers)
                advance(1)
    if n_dark := len(hosts) - len(said):
        log.warning("%d objects have no light in the middle and cannot be hosts; they stay as they are", n_dark)
    with atomic(path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(TRUTH)
        for object_id in np.sort(plan.object_id).tolist():
            writer.writerow((object_id, *said.get(object_id, ("",) * (len(TRUTH) - 1))))


def _draw_examples(path: Path, parent: Survey, child: Survey, plan: _Plan) -> None:
    """Hosts beside their copies: of each class the weakest, the middle and the strongest."""
    from peculiar.figures import figure_images

    said, by_class = plan.hosts, dict[str, list[int]]()
    for object_id, (name, *_) in sorted(said.items(), key=lambda each: float(each[1][2])):
        by_class.setdefault(name, []).append(object_id)
    chosen = [
        mine[place]
        for _, mine in sorted(by_class.items())
        for place in ((0, len(mine) // 2, len(mine) - 1) if len(mine) > 2 else (0,) * N_EXAMPLES)
    ]
    hosts, copies = parent.images(chosen), child.images(chosen)
    captions = [f"{said[each][0]}\nS/N {float(said[each][3]):,.0f}" for each in chosen]
    pairs = np.stack([hosts, copies], axis=1).reshape(-1, *hosts.shape[1:])
    titles = [text for each in captions for text in ("host", each)]
    save_figure(
        figure_images(pairs, titles, n_columns=2 * N_EXAMPLES, heading="What was planted, beside its host"), path
    )


def _write_survey(child: Path, survey: Survey, plan: _Plan, config: InjectConfig, track: Track) -> None:
    """The survey of the sample, in which copies stand in for their hosts."""
    import pyarrow as pa

    home = child / "survey"
    run = begin(home, "inject", config, inputs={"survey": survey.version})
    table = Survey(home / "table.lance")
    fields = [each for each in survey.schema if each.name != "flux"]
    schema = pa.schema(fields, _without_flux(survey))
    missing = plan.object_id[~np.isin(plan.object_id, table.object_ids())]

    def batches() -> "Iterator[pa.RecordBatch]":
        for start in range(0, len(missing), AT_ONCE):
            part = missing[start : start + AT_ONCE]
            rows = survey.take(part, schema.names)
            images = survey.images_of(rows).copy()
            for place, object_id in enumerate(part.tolist()):
                if object_id in plan.hosts:
                    _, planted = plan.plant(object_id, images[place])
                    images[place] = images[place] if planted is None else planted.image
            stored = pa.FixedSizeBinaryArray.from_buffers(
                schema.field("image").type, len(images), [None, pa.py_buffer(images.tobytes())]
            )
            columns = [stored if each == "image" else rows[each].combine_chunks() for each in schema.names]
            yield pa.record_batch(columns, schema=schema)
            advance(len(part))

    with track("writing the survey", len(plan.object_id)) as advance:
        advance(len(plan.object_id) - len(missing))
        table.append_in_commits(batches(), schema, n_rows=COMMIT_ROWS)
    finish(home, run, n_objects=len(table), n_quarantined=0)


def _without_flux(survey: Survey) -> dict[bytes, bytes]:
    """Metadata of the survey's images, without flux: oddities are planted in what is shown."""
    return {**(survey.schema.metadata or {}), **dataclasses.replace(survey.form, flux_bands=0).to_metadata()}


def take_over(folder: Path, child: Path, truth: Path, *, scores: str, features: Sequence[str]) -> None:
    """Give a child its parent's networks, and what the parent computed of objects that were not touched.

    What the child has begun is left as it is.
    """
    from peculiar.io.tables import read_table

    for home in sorted((folder / "networks").iterdir()):
        trained, taken = read_run(home), child / "networks" / home.name
        if trained is not None and read_run(taken) is None:
            shutil.copytree(
                home,
                taken,
                copy_function=_link,
                ignore=shutil.ignore_patterns(".*", "events", "run.json", "state.safetensors"),
                dirs_exist_ok=True,
            )
            # What it was trained on is not here, and so cannot change.
            write_json(taken / FINISHED, dataclasses.asdict(dataclasses.replace(trained, reads={})))
    said = read_table(truth)
    is_untouched = np.array([not each for each in said["planted_class"].to_pylist()])
    untouched = np.sort(said["object_id"].to_numpy()[is_untouched])
    for place in (f"scores/{scores}", *(f"features/{each}" for each in features)):
        mine, theirs = Table(child / place / "table.lance"), Table(folder / place / "table.lance")
        if mine.exists():
            continue
        (child / place).mkdir(parents=True, exist_ok=True)
        if (pca := folder / place / "pixel_pca.safetensors").exists():
            shutil.copyfile(pca, child / place / pca.name)
        mine.append_in_commits(_rows_of(theirs, untouched), theirs.schema, n_rows=COMMIT_ROWS)


def _rows_of(table: Table, object_id: np.ndarray) -> "Iterator[pa.RecordBatch]":
    for start in range(0, len(object_id), COMMIT_ROWS):
        yield from table.take(object_id[start : start + COMMIT_ROWS], table.schema.names).to_batches()


def _link(source: str, target: str) -> None:
    """Another name of a file that is only ever replaced, never written into; a copy where disks differ."""
    Path(target).unlink(missing_ok=True)
    try:
        os.link(Path(source).resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
