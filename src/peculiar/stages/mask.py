"""Say which objects are inside masks: of bright stars, of a survey's borders, of whatever shapes are drawn around."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from peculiar.checkpoint import file_digest
from peculiar.joined import MASK, Joined
from peculiar.ranking import columns_of
from peculiar.run import Run, Track, begin, finish, home_of, quiet, read_run, save_figure
from peculiar.survey import Table, hashed

if TYPE_CHECKING:
    from peculiar.catalog.masks import Fraction

SCORES = ("score_disc", "score_gen", "score_anom")  # METHOD.md sect. 5: samples are what is above 3 sigma in each
THRESHOLD_SIGMA = 3.0
N_DRAWN = 20_000  # objects on the map of the sky, drawn at random where there are more
FLAG, REGIONS, MOC = "flag", "region file", "MOC"
ALL = "all"


@dataclass(frozen=True, kw_only=True)
class MaskConfig:
    """What `mask` can be told."""

    flags: Annotated[tuple[str, ...], "columns of flags; true, or any number but zero, is inside, null is not"] = ()
    regions: Annotated[tuple[Path, ...], "region files of DS9 (.reg) or CASA (.crtf), in sky coordinates"] = ()
    mocs: Annotated[tuple[Path, ...], "MOC files: FITS, JSON or ASCII"] = ()
    combine: Annotated[
        Literal["any", "all"], "masked is what is inside any of them, or inside all (S18A: a file of each band)"
    ] = "any"
    samples: Annotated[
        str,
        "samples whose fraction inside is told, as filters, NAME: FILTER; NAME: FILTER ...; empty: above 3 sigma in "
        "each of the three scores that there are",
    ] = ""
    of: Annotated[str, "what to mask: survey, rankings/NAME, or catalogs/NAME (imported)"] = "survey"

    def __post_init__(self) -> None:
        """Check the choices."""
        if self.combine not in ("any", "all"):
            raise ValueError(f"combine must be any or all, got {self.combine!r}")


def mask(folder: Path, config: MaskConfig, *, name: str = "main", replace: bool = False, track: Track = quiet) -> Run:
    """Fill `masks/<name>` of the atlas in `folder`, anew from all positions and the files as they are now.

    `table.lance` holds object_id and the columns `MASK`: whether the object is masked, and in how many of the masks,
    each flag and file being one, it is. Objects without a position are null where a file was given. `mask.html` tells
    the fractions inside, of all and by sample, of objects for which it is known.

    Raises
    ------
    FileNotFoundError
        The survey, the ranking, the catalog or a file is not there.
    ValueError
        No mask is given; a flag is no column of numbers; a file cannot be read or understood, see `read_regions` and
        `inside_moc`; no object has a position; a sample is not written as it must be, or is of no object.
    ImportError
        A file needs `regions` or `mocpy`, the extra `catalog`.
    """
    objects, home = columns_of(folder, config.of), home_of(folder, "masks", name)
    given = _given(config)
    for flag in config.flags:
        if flag not in objects.numbers:
            raise ValueError(f"{config.of} has no flag {flag!r}; of numbers it has: {', '.join(objects.numbers)}")
    reads = {config.of: objects.run.identity} | _flags_from(objects, config.flags, f"masks/{name}")
    samples = _samples(objects, config.samples)
    ra, dec = _positions(objects, is_needed=len(given) > len(config.flags))
    is_placed = np.isfinite(ra) & np.isfinite(dec)
    is_known = is_placed if len(given) > len(config.flags) else np.ones(len(ra), bool)
    n_masks, told = np.zeros(len(ra), np.int64), []
    inputs = {"files": {str(each): file_digest(each) for _, each in given if isinstance(each, Path)}}
    # Before the folder is opened: what cannot be read leaves the mask that stands there as it is.
    with track("masks", len(given)) as advance:
        for kind, each in given:
            is_inside, n_shapes = _inside(objects, kind, each, ra, dec)
            n_masks += is_inside
            told.append({"kind": kind, "mask": str(each), "n_shapes": n_shapes, "n_inside": int(is_inside.sum())})
            advance(1)
    is_masked = n_masks >= (len(given) if config.combine == "all" else 1)
    fractions = _fractions(is_masked, is_known, samples)
    run = begin(home, "mask", config, inputs=inputs, reads=reads, replace=replace)
    _write_table(home, objects.object_ids, is_masked, n_masks, is_known)
    if is_placed.any():
        _draw(objects.object_ids, ra, dec, is_masked, home / "sky.png")
    _write_page(objects, home, run, told, fractions)
    return finish(
        home,
        run,
        n_objects=len(ra),
        n_masked=int((is_masked & is_known).sum()),
        n_without_position=int((~is_known).sum()),
        masks=told,
        fractions={sample: _recorded(asdict(each)) for sample, each in fractions.items()},
    )


def _given(config: MaskConfig) -> list[tuple[str, str | Path]]:
    """What each mask is, and its column or file."""
    given: list[tuple[str, str | Path]] = [
        *((FLAG, each) for each in config.flags),
        *((REGIONS, Path(each)) for each in config.regions),
        *((MOC, Path(each)) for each in config.mocs),
    ]
    if not given:
        raise ValueError("no mask is given; name columns by flags, region files by regions, or MOC files by mocs")
    for place, (_, each) in enumerate(given):
        if isinstance(each, Path) and not each.is_file():
            raise FileNotFoundError(f"there is no file {each}; regions and mocs are files")
        if each in [other for _, other in given[:place]]:
            raise ValueError(f"each mask is given once, got {each} twice")
    return given


def _flags_from(objects: Joined, flags: tuple[str, ...], own: str) -> dict[str, str]:
    """Identities, by place, of what later stages made and flags are read from."""
    found = {}
    for table in objects.versions:
        place = Path(table).parent.as_posix()
        run, names = read_run(objects.folder / place), Table(objects.folder / table).schema.names
        named = [flag for flag in flags if flag in names or flag.removesuffix(f"-{Path(place).name}") in names]
        if run is None or not named:
            continue
        if _is_made_of(objects.folder, place, own):
            raise ValueError(f"flag {named[0]} is made of {own} itself; take another name for this mask")
        found[place] = run.identity
    return found


def _is_made_of(folder: Path, place: str, of: str) -> bool:
    run = read_run(folder / place)
    return place == of or (run is not None and any(_is_made_of(folder, each, of) for each in run.reads))


def _samples(objects: Joined, text: str) -> dict[str, np.ndarray]:
    """Samples by name: which objects are in them."""
    if not text:
        sigmas = {each: f"{each}_sigma" for each in SCORES if f"{each}_sigma" in objects.numbers}
        return {each: objects.column(sigma) > THRESHOLD_SIGMA for each, sigma in sigmas.items()}
    found: dict[str, np.ndarray] = {}
    for part in filter(None, (each.strip() for each in text.split(";"))):
        name, colon, where = (each.strip() for each in part.partition(":"))
        if not colon or not name or name in (ALL, *found):
            raise ValueError(f"a sample is written NAME: FILTER, each of another name, none of them all; got {part!r}")
        found[name] = objects.select(where)
        if not found[name].any():
            raise ValueError(f"no object passes the filter of sample {name}, {where!r}; take another")
    return found


def _positions(objects: Joined, *, is_needed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Right ascension and declination, degrees; NaN where there are none."""
    there = objects.numbers
    ra, dec = (objects.column(each) if each in there else np.full(len(objects), np.nan) for each in ("ra", "dec"))
    if is_needed and not (np.isfinite(ra) & np.isfinite(dec)).any():
        raise ValueError(f"no object of {objects.place} has a position, ra and dec, to be inside anything")
    return ra, dec


def _inside(
    objects: Joined, kind: str, given: str | Path, ra: np.ndarray, dec: np.ndarray
) -> tuple[np.ndarray, int | None]:
    """Which objects are inside one mask, and of how many shapes that is made, where it is of shapes."""
    from peculiar.catalog.masks import flagged, inside_shapes
    from peculiar.io.regions import inside_moc, read_regions

    if isinstance(given, str):
        return flagged(objects.column(given)), None
    if kind == MOC:
        return inside_moc(given, ra, dec), None
    shapes = read_regions(given)
    return inside_shapes(ra, dec, shapes), len(shapes)


def _fractions(is_masked: np.ndarray, is_known: np.ndarray, samples: dict[str, np.ndarray]) -> "dict[str, Fraction]":
    """The fraction that is masked, of all and of each sample, among objects of which it is known."""
    from peculiar.catalog.masks import fraction_of

    return {name: fraction_of(is_masked[is_in & is_known]) for name, is_in in {ALL: is_known, **samples}.items()}


def _write_table(
    home: Path, object_ids: np.ndarray, is_masked: np.ndarray, n_masks: np.ndarray, is_known: np.ndarray
) -> None:
    import pyarrow as pa

    columns = (pa.array(is_masked, mask=~is_known), pa.array(n_masks, mask=~is_known))
    rows = {"object_id": pa.array(object_ids), **dict(zip(MASK, columns, strict=True))}
    Table(home / "table.lance").overwrite([pa.record_batch(rows)])


def _draw(object_ids: np.ndarray, ra: np.ndarray, dec: np.ndarray, is_masked: np.ndarray, path: Path) -> None:
    """Draw objects inside and outside on the sky; those of smallest hash where there are many."""
    from peculiar.figures.style import FRAME, RED, plot_figure, quiet_axes

    shown = np.argsort(hashed(object_ids, 0), kind="stable")[:N_DRAWN]
    shown = shown[np.isfinite(ra[shown]) & np.isfinite(dec[shown])]
    figure = plot_figure(7.0, 4.0)
    axes = figure.subplots()
    turned = _unwrapped(ra[shown])
    for label, is_in, color in (("outside", ~is_masked[shown], FRAME), ("inside", is_masked[shown], RED)):
        size = 12 if len(shown) < 2_000 else 2
        axes.scatter(turned[is_in], dec[shown][is_in], s=size, c=color, label=label, linewidths=0, rasterized=True)
    quiet_axes(axes, x="right ascension (degrees)", y="declination (degrees)")
    axes.invert_xaxis()
    axes.xaxis.set_major_formatter(lambda value, _: f"{value % 360:g}")
    figure.legend(loc="outside upper right", ncols=2, markerscale=2, frameon=False, fontsize=8.5)
    save_figure(figure, path)


def _unwrapped(ra: np.ndarray) -> np.ndarray:
    """Right ascension that goes on beyond 0 or 360 degrees, cut where the largest gap is."""
    turned = np.mod(ra, 360)
    ordered = np.unique(turned)
    gaps = np.diff(ordered, append=ordered[0] + 360)
    start = ordered[(np.argmax(gaps) + 1) % len(ordered)]
    return start + np.mod(turned - start, 360) - (360 if start > 180 else 0)


def _write_page(
    objects: Joined,
    home: Path,
    run: Run,
    told: list[dict[str, Any]],
    fractions: "dict[str, Fraction]",
) -> None:
    from peculiar.io.pages import Facts, Picture, Section, write_page
    from peculiar.io.pages import Table as Rows

    everything = fractions[ALL]
    rule = "any of them" if run.config["combine"] == "any" else "all of them"
    sections: list[Section] = [
        Facts(
            items={
                "objects": len(objects),
                "masked": everything.n_inside,
                "of all that are known": everything.fraction,
                "without a position": len(objects) - everything.n,
            }
        ),
        Rows(
            heading="Fraction inside",
            columns=["sample", "objects", "inside", "fraction", "low", "high"],
            rows=[
                [name, each.n, each.n_inside, each.fraction, each.low, each.high] for name, each in fractions.items()
            ],
            caption="Low and high bound the 68 % interval of the fraction (Wilson 1927). Objects of which it is not "
            "known whether they are inside, those without a position, are left out.",
        ),
        Rows(
            heading="Masks",
            columns=["mask", "kind", "shapes", "objects inside"],
            rows=[[each["mask"], each["kind"], each["n_shapes"], each["n_inside"]] for each in told],
            caption=f"Masked is an object inside {rule}.",
        ),
    ]
    if (home / "sky.png").exists():
        caption = f"{N_DRAWN:,} objects at most, drawn at random. East is to the left."
        picture = Picture(
            path=home / "sky.png", alt="objects inside and outside", heading="On the sky", caption=caption
        )
        sections.append(picture)
    digests = {f"digest of {path}": digest for path, digest in run.inputs["files"].items()}
    column = MASK[0] if home.name == "main" else f"{MASK[0]}-{home.name}"
    subtitle = f"{run.config['of']}; filters know what is inside as {column} = 1"
    title = f"{objects.folder.resolve().name}: what is inside masks"
    write_page(home / "mask.html", title, sections, subtitle=subtitle, provenance=digests)


def _recorded(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers as JSON can hold them."""
    return {key: value if np.isfinite(value) else None for key, value in row.items()}
