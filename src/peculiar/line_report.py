"""One spectrum from its file to a page: redshift, lines, what they tell, figures. METHOD.md sect. 7."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from peculiar.run import atomic, save_figure, write_json

if TYPE_CHECKING:
    from peculiar.io.pages import Section
    from peculiar.spectra.line_fit import LineFit
    from peculiar.spectra.quantities import Quantity
    from peculiar.spectra.redshift import RedshiftResult
    from peculiar.spectra.spectrum import Spectrum

N_DRAWS = 4_000
TOO_WIDE = 0.97  # of the widest that is fitted: at the bound, or next to it
CGS = "1e-17 erg / (s cm2)"  # what line fluxes are in, in a table of many objects
# What a column of many objects is; a description of one of them says more, of that one.
DESCRIPTIONS = {
    "size_kpc": "Size of the angle that was given, at the redshift",
    "electron_density": "Electron density from [SII] 6718 / 6733 at 10,000 K (Sanders et al. 2016)",
    "bpt_nii": "Class in the diagram of [NII]: Kewley 2001, Kauffmann 2003, Schawinski 2007",
    "bpt_sii": "Class in the diagram of [SII]: Kewley 2001, 2006",
    "bpt_oi": "Class in the diagram of [OI]: Kewley 2001, 2006",
}
OWN = (
    *("spectrum.ecsv", "lines.ecsv", "quantities.ecsv", "result.json", "lines.html"),
    *("spectrum.png", "redshift.png", "bpt.png", "image.png", "colors.png"),
)
MIN_SN = 3.0  # of each of the four lines of a comparison sample; Storey-Fisher 2021, sect. 5
# Columns of the four lines in a comparison sample: ours, and those of SDSS's galSpecLine.
BPT_LINES = {
    "NII_6585": ("nii_6585", "flux_nii_6585", "nii_6584_flux"),
    "H_alpha": ("h_alpha", "flux_h_alpha", "h_alpha_flux"),
    "OIII_5008": ("oiii_5008", "flux_oiii_5008", "oiii_5007_flux"),
    "H_beta": ("h_beta", "flux_h_beta", "h_beta_flux"),
}
BPT_PLACES = ("log_nii_ha", "log_oiii_hb")
Method = Literal["spline", "polynomial", "model"]


class NoRedshiftError(ValueError):
    """No redshift was given, and the lines tell of none; `found` is what was looked at."""

    def __init__(self, message: str, found: "RedshiftResult") -> None:
        super().__init__(message)
        self.found = found


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """What was measured of a spectrum; `quantities` by part of the fit, `found` None where a redshift was given."""

    spectrum: "Spectrum"
    found: "RedshiftResult | None"
    fit: "LineFit"
    quantities: "dict[str, list[Quantity]]"

    def row(self) -> dict[str, tuple[Any, str, str]]:
        """Return what a table of objects holds of it: value, unit and description by column.

        Fluxes and quantities are of all components together; errors are half of what holds 68 %. Fluxes are in
        1e-17 erg / (s cm2), and left out where the spectrum's have no unit that is absolute.
        """
        fit, factor = self.fit, self._absolute
        best = int(np.argmin(fit.redshift_error))
        quality = "given" if self.found is None else self.found.quality
        row: dict[str, tuple[Any, str, str]] = {
            "redshift": (
                float(fit.redshift[best]),
                "",
                "Spectroscopic redshift, of the component that is better known",
            ),
            "redshift_error": (float(fit.redshift_error[best]), "", "Its standard deviation"),
            "redshift_quality": (quality, "", "secure, probable or uncertain, by its lines; given: by the user"),
            "n_components": (fit.n_components, "", "Components that the lines have, 1 or 2, chosen by BIC or told"),
            "separation": (_number(fit.separation), "km/s", "Velocity between the two components"),
            "separation_error": (_number(fit.separation_error), "km/s", "Its standard deviation"),
        }
        total = fit.parts.index("total")
        for at, line in enumerate(fit.lines) if factor else ():
            row[f"flux_{line}"] = (float(fit.flux[total, at]) * factor, CGS, f"Flux of {line}, all components")
            row[f"flux_{line}_error"] = (float(fit.flux_error[total, at]) * factor, CGS, "Its standard deviation")
        for each in self.quantities["total"]:
            if not each.is_measured:
                continue
            said = DESCRIPTIONS.get(each.name, each.description.split(";")[0])
            if each.text:
                row[each.name] = (each.text, "", said)
                continue
            row[each.name] = (float(each.value), each.unit, said)
            row[f"{each.name}_error"] = (_number((each.high - each.low) / 2), each.unit, "Half of what holds 68 %")
            row[f"{each.name}_limit"] = (each.limit or None, "", f"upper or lower, where {each.name} is a limit")
            row[f"{each.name}_in_range"] = (each.is_in_range, "", f"{each.name} is where its calibration holds")
        return row

    @property
    def _absolute(self) -> float:
        """What a line's flux is in `CGS`; 0 where it is relative, or counts."""
        from peculiar.spectra.conditions import line_flux_unit

        try:
            return line_flux_unit(self.spectrum.flux_unit) / 1e-17
        except ValueError:
            return 0.0

    @property
    def line_unit(self) -> str:
        """Unit of a line's flux, as astropy spells it; empty where the spectrum's has none."""
        if not self.spectrum.flux_unit:
            return ""
        import astropy.units as u

        return (u.Unit(self.spectrum.flux_unit) * u.AA).to_string()


def measure_spectrum(
    spectrum: "Spectrum",
    *,
    redshift: float | None = None,
    n_components: int = 0,
    continuum: Method = "spline",
    n_monte_carlo: int = 0,
    size_arcsec: float | None = None,
    stellar_mass: float | None = None,
    seed: int = 0,
) -> Measured:
    """Measure redshift, lines and what they tell of a galaxy.

    Parameters
    ----------
    redshift
        Found by the emission lines where it is not given.
    n_components
        1 or 2 Gaussians a line; 0: chosen by BIC.
    continuum
        See `fit_continuum`; "model" takes the file's own.
    n_monte_carlo
        Fits with new noise, for errors that are not Gaussian.
    size_arcsec, stellar_mass
        For sizes in kpc, and for the specific star-formation rate (M_sun).

    Raises
    ------
    NoRedshiftError
        None is given, and no lines are seen.
    ValueError
        No line is covered, or an argument is out of its range.
    """
    from peculiar.spectra.components import MAX_WIDTH
    from peculiar.spectra.continuum import fit_continuum
    from peculiar.spectra.lines import fit_lines
    from peculiar.spectra.physics import measure
    from peculiar.spectra.redshift import find_redshift

    found = None
    if redshift is None:
        found = find_redshift(spectrum)
        if found.quality == "none":
            raise NoRedshiftError(f"no redshift: {found.reason}; give one with --redshift, if you know it", found)
        redshift = found.redshift
    fit = fit_lines(
        spectrum,
        redshift,
        n_components=n_components,
        continuum=fit_continuum(spectrum, redshift, method=continuum),
        n_monte_carlo=n_monte_carlo,
        seed=seed,
        scale_errors=True,
    )
    if (fit.width >= TOO_WIDE * MAX_WIDTH).any():
        raise ValueError(
            f"the lines are broader than {MAX_WIDTH:g} km/s, one standard deviation, which is as far as is fitted: "
            "their fluxes would be wrong; a broad-line nucleus needs another tool"
        )
    best = float(fit.redshift[int(np.argmin(fit.redshift_error))])
    told = {"redshift": best, "flux_unit": spectrum.flux_unit}
    quantities = {
        part: measure(
            fit.draws(N_DRAWS, seed=seed, part=part),
            fit.fluxes(part),
            size_arcsec=size_arcsec if part == "total" else None,
            stellar_mass=stellar_mass if part == "total" else None,
            **told,  # type: ignore[arg-type]
        )
        for part in fit.parts
    }
    return Measured(spectrum=spectrum, found=found, fit=fit, quantities=quantities)


def write_measured(
    folder: Path,
    measured: Measured,
    *,
    comparison: Path | None = None,
    before: "list[Section] | None" = None,
    title: str = "",
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write tables, figures and the page `lines.html` of one spectrum into a folder; `before` stands first in it."""
    from peculiar.io.spectra import write_spectrum

    write_spectrum(folder / "spectrum.ecsv", measured.spectrum)
    _write_tables(folder, measured)
    _draw(folder, measured, comparison)
    title = title or measured.spectrum.name or "spectrum"
    _write_page(folder, measured, before or [], title, provenance or {})


def draw_search(path: Path, spectrum: "Spectrum", found: "RedshiftResult") -> None:
    """Draw what the search for a redshift saw."""
    from peculiar.figures.spectra import figure_redshift
    from peculiar.spectra.spectrum import LINES

    figure = figure_redshift(
        found.trial_redshift,
        found.trial_gain,
        spectrum.wavelength,
        np.where(spectrum.ivar > 0, spectrum.flux, np.nan),
        redshift=found.redshift if np.isfinite(found.redshift) else found.best_trial,
        lines=LINES,
        runner_up=found.runner_up,
        quality_label="chi-squared gained by lines",
        title=": ".join(filter(None, (spectrum.name, found.quality))),
    )
    save_figure(figure, path)


def _write_tables(folder: Path, measured: Measured) -> None:
    from astropy.table import Table

    fit, unit = measured.fit, measured.line_unit
    lines = Table(rows=fit.to_rows())
    units = dict.fromkeys(("flux", "flux_error", "upper_limit"), unit)
    units |= {name: "Angstrom" for name in lines.colnames if name.startswith("equivalent_width")}
    units |= dict.fromkeys(("velocity", "velocity_error", "width", "width_error"), "km/s")
    units["rest_wavelength"] = "Angstrom"
    for name, each in units.items():
        if each:
            lines[name].unit = each
    lines.meta = {"notes": list(fit.notes), "components": fit.summary(), "bic_difference": _number(fit.bic_difference)}
    rows = [{"part": part, **asdict(each)} for part, found in measured.quantities.items() for each in found]
    for name, table in (("lines", lines), ("quantities", Table(rows=rows))):
        with atomic(folder / f"{name}.ecsv") as partial:
            table.write(partial, format="ascii.ecsv", overwrite=True)
    row = measured.row()
    write_json(
        folder / "result.json", {name: {"value": v, "unit": u, "description": d} for name, (v, u, d) in row.items()}
    )


def _draw(folder: Path, measured: Measured, comparison: Path | None) -> None:
    from peculiar.figures.diagrams import figure_bpt
    from peculiar.figures.spectra import figure_spectrum
    from peculiar.spectra.diagnostics import diagram_curves
    from peculiar.spectra.spectrum import LINES

    spectrum, fit = measured.spectrum, measured.fit
    if measured.found is not None:
        draw_search(folder / "redshift.png", spectrum, measured.found)
    is_good = spectrum.ivar > 0
    with np.errstate(divide="ignore"):
        error = np.where(is_good, 1 / np.sqrt(spectrum.ivar), np.nan)
    figure = figure_spectrum(
        spectrum.wavelength,
        np.where(is_good, spectrum.flux, np.nan),
        error,
        redshift=fit.redshift_given,
        lines=LINES,
        continuum=fit.continuum,
        total=fit.model,
        components=list(fit.line_model) if fit.n_components == 2 else [],
        title=", ".join(filter(None, (spectrum.name, f"redshift {fit.redshift_given:.5f}"))),
        flux_unit=spectrum.flux_unit,
    )
    save_figure(figure, folder / "spectrum.png")
    points = _bpt_points(fit)
    if points:
        sample = comparison_sample(comparison) if comparison is not None else None
        save_figure(
            figure_bpt(points, diagram_curves("NII"), comparison=sample, title=spectrum.name), folder / "bpt.png"
        )


def _bpt_points(fit: "LineFit") -> dict[str, np.ndarray]:
    """Place of each part in the diagram of [NII], with what holds 68 % of its draws; parts without a place left out."""
    from peculiar.spectra.diagnostics import diagram_place

    if not set(BPT_LINES) <= set(fit.lines):
        return {}
    found = {}
    for part in fit.parts:
        value = diagram_place({name: np.asarray(each) for name, each in fit.fluxes(part).items()}, "NII")
        draws = diagram_place(fit.draws(N_DRAWS, seed=0, part=part), "NII")
        if np.isfinite(value).all() and all(np.isfinite(each).mean() > 0.5 for each in draws):
            found[part] = np.array(
                [[v, *np.nanpercentile(each, (15.865, 84.135))] for v, each in zip(value, draws, strict=True)]
            )
    return found


def comparison_sample(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return places of a user's galaxies in the diagram of [NII]: x (n,) and y (n,).

    A table with `log_nii_ha` and `log_oiii_hb`, or with fluxes of the four lines, ours or as SDSS's galSpecLine names
    them; where their errors are there (`_err`, `_error`) all four lines have 3 of them.

    Raises
    ------
    ValueError
        It has neither, or no galaxy that has a place.
    """
    from peculiar.io.tables import read_table

    table = read_table(path)
    known = {name.lower(): name for name in table.column_names}

    def column(name: str) -> np.ndarray:
        return table[known[name]].to_numpy().astype(float)

    if all(name in known for name in BPT_PLACES):
        places = np.stack([column(name) for name in BPT_PLACES], axis=1)
    else:
        names = {line: next((each for each in those if each in known), "") for line, those in BPT_LINES.items()}
        missing = [those[-1] for line, those in BPT_LINES.items() if not names[line]]
        if missing:
            raise ValueError(f"{path} has no {', '.join(missing)}, nor {' and '.join(BPT_PLACES)}")
        flux = {line: column(name) for line, name in names.items()}
        is_seen = np.ones(len(table), bool)
        for line, name in names.items():
            error = next((each for each in (f"{name}_err", f"{name}_error") if each in known), "")
            is_seen &= flux[line] > (MIN_SN * column(error) if error else 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            x = np.log10(flux["NII_6585"] / flux["H_alpha"])
            y = np.log10(flux["OIII_5008"] / flux["H_beta"])
        places = np.where(is_seen[:, None], np.stack([x, y], axis=1), np.nan)
    places = places[np.isfinite(places).all(axis=1)]
    if not len(places):
        raise ValueError(f"{path} has no galaxy with all four lines at {MIN_SN:g} sigma")
    return places[:, 0], places[:, 1]


def _write_page(
    folder: Path, measured: Measured, before: "list[Section]", title: str, provenance: Mapping[str, Any]
) -> None:
    from peculiar.io.pages import Facts, Picture, Table, Text, write_page

    fit, found = measured.fit, measured.found
    facts: dict[str, Any] = {}
    for each, (z, error) in enumerate(zip(fit.redshift, fit.redshift_error, strict=True)):
        facts[f"redshift{'' if fit.n_components == 1 else ' of ' + fit.parts[each]}"] = f"{z:.6f} ± {error:.6f}"
    if fit.n_components == 2:
        facts["separation (km/s)"] = f"{fit.separation:.1f} ± {fit.separation_error:.1f}"
    facts["reduced chi-squared"] = round(fit.reduced_chi2, 3)
    sections: list[Section] = [*before, Facts(heading="In short", items=facts)]
    said = [fit.summary() + ".", *fit.notes]
    if found is not None:
        said.insert(0, f"The redshift is {found.quality}: {found.reason}. Runner-up: {found.runner_up:.5f}.")
    sections.append(Text(body="\n\n".join(said)))
    sections.append(
        Picture(path=folder / "spectrum.png", alt="the spectrum, its lines and their fits", heading="Spectrum and fit")
    )
    names = {"part": "part", "line": "line", "flux": "flux", "flux_error": "±", "is_detected": "detected"}
    names |= {
        "upper_limit": "3 sigma limit",
        "equivalent_width_rest": "EW at rest (Å)",
        "equivalent_width_rest_error": "±",
    }
    names |= {"velocity": "velocity (km/s)", "width": "width (km/s)"}
    rows: list[list[Any]] = [[row[name] for name in names] for row in fit.to_rows()]
    unit = measured.line_unit or "no absolute unit: the file gives none"
    sections.append(
        Table(
            heading="Lines", columns=list(names.values()), rows=rows, caption=f"Fluxes in {unit}. Widths are intrinsic."
        )
    )
    told = [_told(part, each) for part, those in measured.quantities.items() for each in those if each.is_measured]
    headings = ["part", "quantity", "value, 16 to 84 %", "what it is"]
    sections.append(Table(heading="What they tell", columns=headings, rows=told))
    lacking = sorted({f"{each.name}: {each.reason}" for each in measured.quantities["total"] if not each.is_measured})
    if lacking:
        sections.append(Text(heading="Not measured", body="\n\n".join(lacking)))
    if (folder / "bpt.png").exists():
        alt = "ratios of lines among the curves that part star formation from active nuclei"
        sections.append(Picture(path=folder / "bpt.png", alt=alt, heading="What ionizes the gas"))
    if found is not None:
        alt = "chi-squared gained against trial redshift, and the spectrum with lines at the best and the runner-up"
        sections.append(Picture(path=folder / "redshift.png", alt=alt, heading="The search for the redshift"))
    facts_of_file: Mapping[str, Any] = {**measured.spectrum.facts, **provenance}
    subtitle = "lines.ecsv, quantities.ecsv, spectrum.ecsv and result.json hold the numbers"
    write_page(folder / "lines.html", title, sections, subtitle=subtitle, provenance=facts_of_file)


def _told(part: str, each: "Quantity") -> list[Any]:
    sign = {"": "", "upper": "at most ", "lower": "at least "}[each.limit]
    range_ = "" if each.is_in_range else ", outside the calibration's range"
    if each.text:
        value = f"{each.text} ({each.value:.0%} of draws)"
    else:
        spread = f" ({each.low:.4g} to {each.high:.4g})" if np.isfinite(each.low) else ""
        value = f"{sign}{each.value:.4g}{spread} {each.unit}".strip()
    return [part, each.name, value + range_, each.description]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
