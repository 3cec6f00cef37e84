"""Measure the lines of a spectrum, and write what they tell beside the object in the atlas."""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from peculiar.line_report import OWN, Measured, NoRedshiftError, draw_search, measure_spectrum, write_measured
from peculiar.ranking import Ranking
from peculiar.run import FINISHED, LOCK, STARTED, Run, begin, finish, home_of, read_run, read_started
from peculiar.survey import Survey, Table

if TYPE_CHECKING:
    from peculiar.io.pages import Section

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LinesConfig:
    """What `lines` can be told."""

    spectrum: Annotated[Path, "SDSS, DESI or ESO phase 3 file, FITS, ECSV or CSV of wave, flux, ivar or error"]
    redshift: Annotated[float | None, "redshift, if it is known to 500 km/s; otherwise found by the lines"] = None
    n_components: Annotated[int, "Gaussians a line, 1 or 2; 0: chosen by BIC"] = 0
    continuum: Annotated[
        Literal["spline", "polynomial", "model"], "fitted between the lines; model: the file's own, which has the stars"
    ] = "spline"
    medium: Annotated[Literal["", "vacuum", "air"], "of the wavelengths, where the file does not say"] = ""
    wavelength_unit: Annotated[str, "angstrom, nm, um, where the file does not say"] = ""
    flux_unit: Annotated[str, "as '1e-17 erg / (Angstrom s cm2)', where the file does not say"] = ""
    resolution: Annotated[float | None, "wavelength over the instrument's FWHM, where the file does not say"] = None
    errors: Annotated[Literal["file", "scatter"], "the file's, or what the pixels' scatter shows"] = "file"
    mask_means: Annotated[Literal["", "bad", "good"], "what a mask's 1 means, where that is not plain"] = ""
    row: Annotated[str, "id or number of the spectrum in a file of many"] = ""
    size_arcsec: Annotated[float | None, "an angle to give in kpc"] = None
    stellar_mass: Annotated[float | None, "solar masses, for the specific star-formation rate"] = None
    n_monte_carlo: Annotated[int, "fits with new noise for the errors; 0: by the covariance"] = 0
    comparison: Annotated[Path, "table of galaxies' line fluxes to show in the BPT diagram; empty: none"] = field(
        default=Path(), compare=False
    )

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.n_components not in (0, 1, 2):
            raise ValueError(f"n_components must be 1, 2, or 0 to choose, got {self.n_components}")
        if self.redshift is not None and not -0.1 < self.redshift < 20:
            raise ValueError(f"redshift must be from -0.1 to 20, got {self.redshift}")


@dataclass(frozen=True, kw_only=True)
class LinesTableConfig:
    """What the table of all measured spectra of an atlas is told: nothing."""


def measure_file(config: LinesConfig, output: Path) -> Run:
    """Fill the folder `output`, anew, with what the lines of one spectrum tell; see `write_measured` for the files.

    The spectrum is measured before anything is written. In the folder only files of this stage are written over.

    Raises
    ------
    ValueError
        The file cannot be read as it was told, no line is covered, the folder holds something else, or there is no
        redshift: `redshift.png` shows why.
    """
    _refuse_others(output)
    measured = _measured(config, output)
    run = _begin(output, config, {})
    comparison = config.comparison if config.comparison != Path() else None
    write_measured(output, measured, comparison=comparison, provenance={"file": str(config.spectrum), **run.packages})
    return finish(output, run, **_outputs(measured))


def measure_object(folder: Path, config: LinesConfig, *, name: int | str, table: str = "main") -> Run:
    """Fill `spectra/<table>/objects/<object_id>` of the atlas in `folder`, and a row of `spectra/<table>/table.lance`.

    Both are made anew. The row's columns (redshift, fluxes, quantities) stand beside the object's scores then. The page
    `lines.html` joins image, scores and spectrum.
    """
    object_id = Survey(folder / "survey" / "table.lance").find(name)
    parent = home_of(folder, "spectra", table)
    home = parent / "objects" / str(object_id)
    measured = _measured(config, home)
    run = _begin(home, config, {"object_id": object_id})
    write_measured(
        home,
        measured,
        comparison=config.comparison if config.comparison != Path() else None,
        before=_looks(folder, object_id, home),
        title=f"Object {object_id}",
        provenance={"file": str(config.spectrum), "survey": folder.resolve().name, **run.packages},
    )
    run = finish(home, run, **_outputs(measured), object_id=object_id)
    _gather(folder, parent)
    return run


def _refuse_others(output: Path) -> None:
    """Refuse a folder that holds something else than this stage's work: nothing of the user's is written over."""
    if output.exists() and not output.is_dir():
        raise ValueError(f"{output} is a file; the results need a folder, give another --output")
    if not output.exists():
        return
    before = read_run(output) or read_started(output)
    others = sorted(each.name for each in output.iterdir() if each.name not in (*OWN, FINISHED, STARTED, LOCK))
    if (before is None and any(output.iterdir())) or (before is not None and before.stage != "lines"):
        held = f", {others[0]} for one" if others else ""
        raise ValueError(f"{output} holds other files{held}; give --output a folder of its own")


def _begin(home: Path, config: LinesConfig, inputs: dict[str, Any]) -> Run:
    """Begin anew: what was measured before, by whatever config, is taken away, and nothing else."""
    for each in (*OWN, FINISHED, STARTED):
        if home.is_dir():
            (home / each).unlink(missing_ok=True)
    return begin(home, "lines", config, inputs=inputs)


def _measured(config: LinesConfig, output: Path) -> Measured:
    from importlib.util import find_spec

    from peculiar.io.spectra import read_spectrum

    if find_spec("lmfit") is None:
        raise ImportError('lines are fitted by lmfit; install it by: pip install "peculiar[spectra]"')
    spectrum = read_spectrum(
        config.spectrum,
        medium=config.medium,
        wavelength_unit=config.wavelength_unit,
        flux_unit=config.flux_unit,
        resolution=config.resolution,
        errors=config.errors,
        mask_means=config.mask_means,
        row=config.row or None,
    )
    try:
        return measure_spectrum(
            spectrum,
            redshift=config.redshift,
            n_components=config.n_components,
            continuum=config.continuum,
            n_monte_carlo=config.n_monte_carlo,
            size_arcsec=config.size_arcsec,
            stellar_mass=config.stellar_mass,
        )
    except NoRedshiftError as error:
        shown = output.parent / f"{output.name}-redshift.png"
        shown.parent.mkdir(parents=True, exist_ok=True)
        draw_search(shown, spectrum, error.found)
        raise ValueError(f"{config.spectrum}: {error}; {shown} shows what was seen") from error
    except ValueError as error:
        raise ValueError(f"{config.spectrum}: {error}") from error


def _outputs(measured: Measured) -> dict[str, Any]:
    fit = measured.fit
    quality = "given" if measured.found is None else measured.found.quality
    total = fit.parts.index("total")
    seen = [line for line, is_seen in zip(fit.lines, fit.is_detected[total], strict=True) if is_seen]
    return {
        "redshift": [float(each) for each in fit.redshift],
        "redshift_error": [float(each) for each in fit.redshift_error],
        "quality": quality,
        "components": fit.summary(),
        "detected": seen,
        "notes": list(fit.notes),
        "page": "lines.html",
    }


def _gather(folder: Path, parent: Path) -> None:
    """Write the table of all objects whose spectra were measured, in one commit."""
    import pyarrow as pa

    rows: dict[int, dict[str, dict[str, Any]]] = {}
    for home in sorted((parent / "objects").iterdir()):
        if read_run(home) is not None:
            rows[int(home.name)] = json.loads((home / "result.json").read_text(encoding="utf-8"))
        else:
            log.warning("the spectrum of object %s was begun and not finished; measure it again", home.name)
    declared = {name: each for row in rows.values() for name, each in row.items()}
    own = Survey(folder / "survey" / "table.lance").schema.names
    named = {name: f"{name}_measured" if name in own else name for name in declared}  # the survey's own stay
    ids = sorted(rows)
    arrays, fields = [pa.array(ids, pa.int64())], [pa.field("object_id", pa.int64())]
    for name, said in declared.items():
        values = [rows[each].get(name, {}).get("value") for each in ids]
        kinds = {type(each) for each in values if each is not None}
        kind = {str: pa.string(), int: pa.int64(), bool: pa.bool_()}.get(next(iter(kinds), float), pa.float64())
        if not kinds and name.endswith("_limit"):
            kind = pa.string()
        arrays.append(pa.array(values, kind))
        metadata = {key: said[key] for key in ("unit", "description")}
        fields.append(pa.field(named[name], kind, metadata=metadata))
    run = begin(parent, "lines", LinesTableConfig(), inputs={}, replace=False)
    Table(parent / "table.lance").overwrite([pa.record_batch(arrays, schema=pa.schema(fields))])
    finish(parent, run, n_objects=len(ids))


def _looks(folder: Path, object_id: int, home: Path) -> "list[Section]":
    """Image and scores of the object, and its place among the survey's colors, for its page."""
    from peculiar.figures import figure_images
    from peculiar.io.pages import Picture
    from peculiar.io.pages import Table as Rows
    from peculiar.run import save_figure

    survey = Survey(folder / "survey" / "table.lance")
    images, captions = [survey.images([object_id])[0]], ["image"]
    sections: list[Section] = []
    if read_run(folder / "rankings" / "main") is not None:
        ranking = Ranking(folder)
        if object_id in ranking.object_ids:
            import numpy as np

            ids = np.array([object_id])
            images += [ranking.reconstructions(ids)[0], ranking.residuals(ids)[0]]
            captions += ["reconstruction", "residual"]
            row = ranking.rows(ids).to_pylist()[0]
            scores = ranking.percentiles(row, ranking.column(ranking.first_shown))
            told = {each: round(percentile, 2) for each, (_, percentile) in scores.items()}
            known: list[list[Any]] = [
                [each, percentile] for each, percentile in told.items() if percentile == percentile
            ]
            sections.append(Rows(heading="Scores", columns=["score", "percentile"], rows=known))
            sections += _colors(ranking, row, home)
    import numpy as np

    save_figure(figure_images(np.stack(images), captions, n_columns=3), home / "image.png")
    alt = ", ".join(captions)
    return [Picture(path=home / "image.png", alt=alt, heading="The galaxy"), *sections]


def _colors(ranking: Ranking, row: dict[str, Any], home: Path) -> "list[Section]":
    """The object among all in the plane of two colors (Storey-Fisher 2021, Fig. 12), where the survey has them."""
    import numpy as np

    from peculiar.figures.diagrams import figure_colors
    from peculiar.io.pages import Picture
    from peculiar.run import save_figure

    if row.get("g_r") is None or row.get("r_i") is None:
        return []
    x, y = ranking.column("g_r"), ranking.column("r_i")
    is_known = np.isfinite(x) & np.isfinite(y)
    point = np.array([[row["g_r"]] * 3, [row["r_i"]] * 3])
    save_figure(figure_colors({"this object": point}, comparison=(x[is_known], y[is_known])), home / "colors.png")
    alt = "r - i against g - r: this object among all"
    return [Picture(path=home / "colors.png", alt=alt, heading="Colors")]
