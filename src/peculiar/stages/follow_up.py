"""Make a target list of selected objects: finding charts, when they are up, and tables for observing tools."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from peculiar.ranking import Ranking
from peculiar.run import Run, Track, atomic, begin, finish, home_of, quiet, save_figure
from peculiar.survey import Survey

if TYPE_CHECKING:
    from astropy.table import Table

    from peculiar.figures.follow_up import Slit
    from peculiar.io.pages import Section
    from peculiar.spectra.visibility import Night, Season

log = logging.getLogger(__name__)
MAX_TARGETS = 500
SHOWN = ("score_joint", "score_anom_conditional", "score_disc_sigma", "score_gen_sigma", "interest", "label")


@dataclass(frozen=True, kw_only=True)
class FollowUpConfig:
    """What `follow-up` can be told."""

    objects: Annotated[tuple[str, ...], "ids or sources, comma-separated, the first first; empty: the first n"] = ()
    where: Annotated[str, "of those that pass this filter, as 'label = \"merger\" and dec > -20'"] = ""
    by: Annotated[str, "the largest of this first; empty: the order first shown"] = ""
    n: Annotated[int, "how many, at most"] = 20
    ranking: Annotated[str, "name of the ranking"] = "main"
    magnitudes: Annotated[tuple[str, ...], "columns to list; empty: those that end in _mag"] = ()
    observatory: Annotated[str, "name, or LON,LAT,HEIGHT (east degrees, degrees, m); empty: no visibility"] = ""
    date: Annotated[str, "the night that begins on this date, as 2026-12-01; empty: tonight"] = ""
    until: Annotated[str, "and the season until this date"] = ""
    min_altitude: Annotated[float, "degrees from which a target can be observed; 30: airmass 2"] = 30.0
    slit: Annotated[tuple[float, ...], "WIDTH,LENGTH of a slit to draw, arcsec"] = (1.0, 10.0)
    angle: Annotated[float | None, "its position angle, degrees, north through east; none: no slit"] = None
    through: Annotated[tuple[float, ...], "or X1,Y1,X2,Y2: two points of the image that it goes through, pixels"] = ()
    north: Annotated[float, "where north is in the images, degrees from up, counterclockwise"] = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 1 <= self.n <= MAX_TARGETS or len(self.objects) > MAX_TARGETS:
            raise ValueError(f"n must be from 1 to {MAX_TARGETS}, got {max(self.n, len(self.objects))}")
        if len(self.slit) != 2 or not all(each > 0 for each in self.slit):
            raise ValueError(f"slit must be WIDTH,LENGTH, both above 0 arcsec, got {self.slit}")
        if self.through and (len(self.through) != 4 or len(self.objects) != 1):
            raise ValueError(f"through must be X1,Y1,X2,Y2 for one object of --objects, got {self.through}")
        if self.through and self.angle is not None:
            raise ValueError("give the slit's angle, or two points that it goes through, not both")
        if not -5 <= self.min_altitude < 90:
            raise ValueError(f"min_altitude must be from -5 to 90 degrees, got {self.min_altitude}")
        if not self.observatory and (self.date or self.until):
            raise ValueError("date and until need an observatory; give --observatory")


def follow_up(
    folder: Path, config: FollowUpConfig, *, name: str = "main", replace: bool = False, track: Track = quiet
) -> Run:
    """Fill `follow-up/<name>` of the atlas in `folder`.

    `targets.ecsv` has units and all that is known, `targets.csv` the same as plain text, `targets_tom.csv` what the TOM
    Toolkit takes, `starlist.txt` what Keck's telescopes do; `charts/` a finding chart an object; `targets.html` shows
    all. With an observatory: `night.png`, `season.png`, and the dark hours of each target.

    Raises
    ------
    ValueError
        No object is selected, or none of those has a position; the observatory or a date is not understood.
    """
    ranking = Ranking(folder, config.ranking)
    ids = _chosen(ranking, config)
    table = _targets(ranking, ids, config)
    slits = _slits(ranking, table, config)
    night, season = _visibility(table, config)
    home = home_of(folder, "follow-up", name)
    run = begin(home, "follow-up", config, inputs={"tables": ranking.versions}, replace=replace)
    if night is not None:
        table["dark_hours"] = np.round(night.hours, 2)
        table["dark_hours"].unit = "h"
        table["moon_distance"] = np.round(night.moon_distance, 1)
        table["moon_distance"].unit = "deg"
    _write_tables(table, home)
    _draw_charts(ranking, table, slits, home, config, track)
    _draw_visibility(table, night, season, home, config)
    _write_page(folder, table, night, season, home, config)
    return finish(home, run, n_objects=len(table), n_without_position=len(ids) - len(table))


def _chosen(ranking: Ranking, config: FollowUpConfig) -> np.ndarray:
    if config.objects:
        survey = Survey(ranking.folder / "survey" / "table.lance")
        return np.array(list(dict.fromkeys(survey.find(each) for each in config.objects)), np.int64)
    order = ranking.order(config.by)
    if config.where:
        order = order[ranking.select(config.where)[order]]
    if not len(order):
        raise ValueError(f"no object passes {config.where!r}; take another filter")
    return ranking.object_ids[order[: config.n]]


def _targets(ranking: Ranking, ids: np.ndarray, config: FollowUpConfig) -> "Table":
    """A row a target that has a position, in the order of priority."""
    from astropy.table import MaskedColumn, Table

    from peculiar.spectra.targets import sexagesimal, target_name

    rows = ranking.rows(ids)
    ra, dec = (rows[each].to_numpy(zero_copy_only=False).astype(float) for each in ("ra", "dec"))
    is_placed = np.isfinite(ra) & np.isfinite(dec)
    if not is_placed.any():
        raise ValueError("none of these objects has a position, ra and dec; a telescope needs one")
    if not is_placed.all():
        log.warning("%d objects without a position are left out", (~is_placed).sum())
    given = config.magnitudes or tuple(each for each in ranking.numbers if each.endswith("_mag"))
    missing = [each for each in given if each not in ranking.numbers]
    if missing:
        raise KeyError(f"no column {', '.join(missing)} of numbers; there are {', '.join(ranking.numbers)}")
    known = [*given, *(each for each in SHOWN if each in ranking.schema.names)]
    ra, dec, ids = ra[is_placed], dec[is_placed], ids[is_placed]
    places = [sexagesimal(*each) for each in zip(ra, dec, strict=True)]
    table = Table(
        {
            "priority": np.arange(1, len(ids) + 1),
            "name": [target_name(*each) for each in zip(ra, dec, strict=True)],
            "object_id": ids,
            "ra": ra,
            "dec": dec,
            "ra_hms": [each for each, _ in places],
            "dec_dms": [each for _, each in places],
        }
    )
    table["ra"].unit = table["dec"].unit = "deg"
    for each in known:
        column = rows[each].filter(is_placed)
        is_text = each not in ranking.numbers
        values = [value if value is not None else ("" if is_text else np.nan) for value in column.to_pylist()]
        table[each] = MaskedColumn(values, mask=[value is None for value in column.to_pylist()])
        if each.endswith("_mag"):
            table[each].unit = "mag"
    table.meta = {"frame": "ICRS", "epoch": "J2000", "atlas": ranking.folder.resolve().name}
    return table


def _slits(ranking: Ranking, table: "Table", config: FollowUpConfig) -> "list[Slit | None]":
    """A slit a target; none where none is asked for, or the pixel scale is not known."""
    from peculiar.figures.follow_up import Slit
    from peculiar.spectra.targets import slit_through

    form = ranking.survey.form
    if config.angle is None and not config.through:
        return [None] * len(table)
    if form.pixel_scale is None:
        raise ValueError(
            "a slit needs the arcseconds of a pixel, which the survey does not know; ingest says --pixel-scale"
        )
    width, length = config.slit
    if config.angle is not None:
        table["slit_angle"] = np.full(len(table), config.angle % 180)
        table["slit_angle"].unit = "deg"
        return [Slit(angle=config.angle % 180, width=width, length=length)] * len(table)
    one, other = np.array(config.through[:2]), np.array(config.through[2:])
    found = slit_through(one, other, shape=(form.size, form.size), pixel_scale=form.pixel_scale, north=config.north)
    for name, value, unit in zip(
        ("slit_angle", "slit_east", "slit_north"), found, ("deg", "arcsec", "arcsec"), strict=True
    ):
        table[name] = [round(value, 2)]
        table[name].unit = unit
    angle, east, up = found
    return [Slit(angle=angle, width=width, length=length, east=east, north=up)]


def _visibility(table: "Table", config: FollowUpConfig) -> "tuple[Night | None, Season | None]":
    from datetime import UTC, datetime
    from importlib.util import find_spec

    if not config.observatory:
        return None, None
    if find_spec("astroplan") is None:
        raise ImportError('visibility is astroplan\'s; install it by: pip install "peculiar[spectra]"')
    from peculiar.spectra.visibility import night_of, season_of

    date = config.date or datetime.now(UTC).date().isoformat()
    ra, dec = np.asarray(table["ra"]), np.asarray(table["dec"])
    night = night_of(ra, dec, config.observatory, date, min_altitude=config.min_altitude)
    season = None
    if config.until:
        season = season_of(ra, dec, config.observatory, date, config.until, min_altitude=config.min_altitude)
    return night, season


def _write_tables(table: "Table", home: Path) -> None:
    """The target list in the forms that observing tools read."""
    from astropy.table import Table

    tom = Table({"name": table["name"], "type": ["SIDEREAL"] * len(table), "ra": table["ra"], "dec": table["dec"]})
    tom["epoch"] = 2000.0
    for stem, content, form in (
        ("targets.ecsv", table, "ascii.ecsv"),
        ("targets.csv", table, "ascii.csv"),
        ("targets_tom.csv", tom, "ascii.csv"),
    ):
        with atomic(home / stem) as partial:
            content.write(partial, format=form, overwrite=True)
    lines = [
        f"{row['name'][:15]:<15} {row['ra_hms'].replace(':', ' ')} {row['dec_dms'].replace(':', ' ')} 2000.0 "
        f"priority={row['priority']}"
        for row in table
    ]
    with atomic(home / "starlist.txt") as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _draw_charts(
    ranking: Ranking, table: "Table", slits: "list[Slit | None]", home: Path, config: FollowUpConfig, track: Track
) -> None:
    from peculiar.figures.follow_up import figure_finding

    (home / "charts").mkdir(exist_ok=True)
    form = ranking.survey.form
    with track("drawing charts", len(table)) as advance:
        for row, slit in zip(table, slits, strict=True):
            image = ranking.survey.images([int(row["object_id"])])[0]
            figure = figure_finding(
                image,
                heading=f"{row['priority']}   {row['name']}",
                lines=_said(row, slit, form.size, form.pixel_scale),
                pixel_scale=form.pixel_scale,
                north=config.north,
                slit=slit,
            )
            save_figure(figure, home / "charts" / f"{row['object_id']}.png")
            advance(1)


def _said(row: Any, slit: "Slit | None", size: int, scale: float | None) -> list[str]:
    """The lines below a chart."""
    magnitudes = [f"{name.removesuffix('_mag')} {row[name]:.2f}" for name in row.colnames if name.endswith("_mag")]
    field = f'{size * scale:.1f}" across' if scale else f"{size} pixels across"
    drawn = f'slit {slit.width:g}" x {slit.length:g}" at {slit.angle:.1f} degrees' if slit is not None and scale else ""
    return [
        f"{row['ra_hms']}  {row['dec_dms']}   (ICRS)",
        f"object {row['object_id']}" + "".join(f"   {each} mag" for each in magnitudes[:3]),
        f"{field}   {drawn}",
    ]


def _draw_visibility(
    table: "Table", night: "Night | None", season: "Season | None", home: Path, config: FollowUpConfig
) -> None:
    from peculiar.figures.follow_up import figure_night, figure_season

    names = [str(each) for each in table["name"]]
    if night is not None:
        moon = f"Moon {100 * night.moon_illumination:.0f} % lit"
        title = f"{config.observatory}, the night of {config.date or 'today'}; {moon}"
        curves = (night.mjd, night.altitude, night.is_dark, night.moon_altitude)
        save_figure(figure_night(names, *curves, title=title, min_altitude=config.min_altitude), home / "night.png")
    if season is not None:
        title = f"{config.observatory}: hours of night above {config.min_altitude:g} degrees"
        save_figure(figure_season(names, season.mjd, season.hours, title=title), home / "season.png")


def _write_page(
    folder: Path, table: "Table", night: "Night | None", season: "Season | None", home: Path, config: FollowUpConfig
) -> None:
    from peculiar.io.pages import Picture, Text, write_page
    from peculiar.io.pages import Table as Rows

    names = [each for each in table.colnames if each not in ("ra", "dec")]
    rows = [[_cell(row[each]) for each in names] for row in table]
    sections: list[Section] = [Rows(heading="Targets", columns=names, rows=rows)]
    if night is not None:
        alt = "altitude of each target against time"
        sections.append(Picture(path=home / "night.png", alt=alt, heading="The night"))
    if season is not None:
        alt = "dark hours a night of each target against date"
        sections.append(Picture(path=home / "season.png", alt=alt, heading="The season"))
    sections.append(
        Text(
            heading="Finding charts",
            body=f"North is {config.north:g} degrees from up, counterclockwise; east 90 degrees on: so it was told; "
            "the atlas does not know. Check one chart against the sky before the night.",
        )
    )
    for row in table:
        path = home / "charts" / f"{row['object_id']}.png"
        sections.append(Picture(path=path, alt=f"finding chart of {row['name']}"))
    subtitle = (
        "targets.ecsv has units; targets.csv, targets_tom.csv (TOM Toolkit) and starlist.txt (Keck) are for tools"
    )
    write_page(home / "targets.html", f"{folder.resolve().name}: targets", sections, subtitle=subtitle)


def _cell(value: Any) -> Any:
    if np.ma.is_masked(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
