"""What a fit of emission lines found: arrays, tables and draws."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from peculiar.spectra.spectrum import LINES, Spectrum

DETECTION = 3.0  # flux over its error; upper limits are this many errors above the flux, or above 0


@dataclass(frozen=True, kw_only=True, eq=False)
class LineFit:
    """What `fit_lines` found. Fluxes are in the spectrum's unit times angstrom, speeds in km/s.

    Attributes
    ----------
    parts
        `("total",)` of one component; `("blue", "red", "total")` of two, ordered by velocity. Rows of the arrays that
        have a row a part; arrays of components have no total.
    lines
        Names of the columns; `not_covered` those that were asked for and that no pixels hold.
    velocity, width
        Of the components: relative to `redshift_given`, and intrinsic (the instrument's taken away in quadrature), one
        standard deviation; a width that noise makes narrower than the instrument's is 0. The errors of widths are
        those upwards.
    redshift, separation
        Of each component; and of two, c (z2 - z1) / (1 + mean z). NaN for one.
    flux, flux_error, upper_limit, is_detected
        May be below 0, so that means over many objects are right. `is_detected`: at least 3 errors above 0; the upper
        limit is 3 errors above the flux, or above 0 if that is more.
    equivalent_width, equivalent_width_rest
        Angstrom, positive in emission, in the observed frame and divided by 1 + z; NaN where the continuum is not
        3 errors above 0.
    flux_covariance
        Of the components' fluxes, component by component: (components x lines) squared.
    continuum, line_model
        Over all pixels of the spectrum: the continuum that the lines stand on, and each component's lines.
    is_fitted
        The pixels that were fitted.
    noise_scale
        How many times their errors the pixels of the windows that hold no line scatter; NaN where fewer than 20.
    bic_difference
        BIC of one component minus that of two, over the lines that one component detects; NaN where not compared.
    error_scale
        What the spectrum's errors were multiplied by: 1 unless `scale_errors`.
    notes
        What a reader has to be told.
    """

    spectrum: Spectrum
    redshift_given: float
    lines: tuple[str, ...]
    not_covered: tuple[str, ...]
    velocity: Float[np.ndarray, " components"]
    velocity_error: Float[np.ndarray, " components"]
    width: Float[np.ndarray, " components"]
    width_error: Float[np.ndarray, " components"]
    redshift: Float[np.ndarray, " components"]
    redshift_error: Float[np.ndarray, " components"]
    separation: float
    separation_error: float
    flux: Float[np.ndarray, "parts lines"]
    flux_error: Float[np.ndarray, "parts lines"]
    equivalent_width: Float[np.ndarray, "parts lines"]
    equivalent_width_error: Float[np.ndarray, "parts lines"]
    equivalent_width_rest: Float[np.ndarray, "parts lines"]
    equivalent_width_rest_error: Float[np.ndarray, "parts lines"]
    flux_covariance: Float[np.ndarray, "fluxes fluxes"]
    monte_carlo: Float[np.ndarray, "refits fluxes"] | None
    continuum: Float[np.ndarray, " n"]
    line_model: Float[np.ndarray, "components n"]
    is_fitted: Bool[np.ndarray, " n"]
    chi2: float
    dof: int
    n_parameters: int
    noise_scale: float
    error_scale: float
    bic_difference: float
    notes: tuple[str, ...]

    @property
    def n_components(self) -> int:
        """One or two."""
        return len(self.velocity)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the rows."""
        return ("total",) if self.n_components == 1 else ("blue", "red", "total")

    @property
    def reduced_chi2(self) -> float:
        """Of the pixels that were fitted, with the errors that the spectrum came with."""
        return self.chi2 / self.dof

    @property
    def model(self) -> Float[np.ndarray, " n"]:
        """Continuum and lines, over all pixels."""
        return self.continuum + self.line_model.sum(axis=0)

    @cached_property
    def is_detected(self) -> Bool[np.ndarray, "parts lines"]:
        """Whether the flux is 3 of its errors above 0."""
        return self.flux >= DETECTION * self.flux_error

    @property
    def upper_limit(self) -> Float[np.ndarray, "parts lines"]:
        """3 errors above the flux, or above 0 where the flux is below."""
        return np.maximum(self.flux, 0) + DETECTION * self.flux_error

    def _row(self, part: str) -> int:
        if part not in self.parts:
            raise KeyError(f"part must be one of {', '.join(self.parts)}, got {part!r}")
        return self.parts.index(part)

    def fluxes(self, part: str = "total") -> dict[str, float]:
        """Return the flux of every line of a part, by name."""
        return dict(zip(self.lines, self.flux[self._row(part)].tolist(), strict=True))

    def draws(self, n: int, *, seed: int, part: str = "total") -> dict[str, Float[np.ndarray, " n"]]:
        """Return `n` sets of fluxes that the errors allow, correlations kept, by line's name.

        Of the Gaussian of `flux_covariance`, or of the refits, in turns, where there are any. The same seed gives the
        same sets for every part: `total` is the sum of the others.
        """
        row = self._row(part)
        random = np.random.default_rng(seed)
        if self.monte_carlo is not None:
            sets = self.monte_carlo[random.integers(len(self.monte_carlo), size=n)]
        else:
            value, vector = np.linalg.eigh(self.flux_covariance)
            # Tied lines have no variance of their own; rounding gives them some, below 0 or above.
            root = vector * np.sqrt(np.where(value > 1e-12 * value[-1], value, 0))
            mean = self.flux[: self.n_components].ravel()
            sets = mean + random.standard_normal((n, len(mean))) @ root.T
        by_component = sets.reshape(n, self.n_components, len(self.lines))
        chosen = by_component.sum(axis=1) if row == len(self.parts) - 1 else by_component[:, row]
        return {name: chosen[:, at] for at, name in enumerate(self.lines)}

    def to_rows(self) -> list[dict[str, object]]:
        """Return a row a part and line, in plain units: what a table of the fit holds.

        Velocity, width and redshift are those of the component, None for the total of two.
        """
        rows: list[dict[str, object]] = []
        for at_part, part in enumerate(self.parts):
            is_sum = at_part == self.n_components
            of_part = {
                name: None if is_sum else float(getattr(self, name)[at_part])
                for name in ("velocity", "velocity_error", "width", "width_error", "redshift", "redshift_error")
            }
            for at, line in enumerate(self.lines):
                of_line = {name: float(getattr(self, name)[at_part, at]) for name in _COLUMNS}
                detected = {"is_detected": bool(self.is_detected[at_part, at])}
                rows.append({"part": part, "line": line, "rest_wavelength": LINES[line]} | of_line | detected | of_part)
        return rows

    def summary(self) -> str:
        """Return in a sentence how many components were taken, and why."""
        if np.isnan(self.bic_difference):
            return "one component; two were not tried"
        which = "two components" if self.n_components == 2 else "one component"
        return f"{which}: BIC of one minus BIC of two is {self.bic_difference:.1f}"


_COLUMNS = (
    "flux",
    "flux_error",
    "upper_limit",
    "equivalent_width",
    "equivalent_width_error",
    "equivalent_width_rest",
    "equivalent_width_rest_error",
)
