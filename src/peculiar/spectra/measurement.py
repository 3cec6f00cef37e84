"""From the solution of a fit to fluxes, widths, speeds and equivalent widths with their errors."""

from dataclasses import dataclass

import numpy as np

from peculiar.spectra.components import LineProblem, Solution
from peculiar.spectra.continuum import Continuum
from peculiar.spectra.line_fit import DETECTION, LineFit
from peculiar.spectra.profiles import gaussian_pixels
from peculiar.spectra.spectrum import SPEED_OF_LIGHT, Spectrum


@dataclass(frozen=True)
class Judged:
    """What was found about the noise and the number of components."""

    noise_scale: float
    bic_difference: float
    notes: tuple[str, ...]


RESOLVED = 2.0  # deviations between two like Gaussians, below which their sum has one peak


@dataclass(frozen=True)
class Options:
    """How errors are made."""

    scale_errors: bool
    n_monte_carlo: int
    seed: int
    limits: dict[str, float]


def fluxes_of(problem: LineProblem, solution: Solution) -> tuple[np.ndarray, np.ndarray]:
    """Of all lines by component, and their errors."""
    covariance = flux_covariance_of(problem, solution, problem.covariance(solution))
    flux = solution.flux @ problem.ties.T
    return flux, np.sqrt(np.diag(covariance)).reshape(flux.shape)


def flux_covariance_of(problem: LineProblem, solution: Solution, covariance: np.ndarray) -> np.ndarray:
    """Of all lines, tied ones too, component by component."""
    n, count = len(solution.velocity), solution.flux.size
    spread = np.kron(np.eye(n), problem.ties)
    return spread @ covariance[2 * n : 2 * n + count, 2 * n : 2 * n + count] @ spread.T


def measured(
    spectrum: Spectrum,
    redshift: float,
    not_covered: tuple[str, ...],
    continuum: Continuum,
    problem: LineProblem,
    solution: Solution,
    judged: Judged,
    options: Options,
) -> LineFit:
    """The result, from the solution."""
    n = len(solution.velocity)
    dof = problem.n_pixels - solution.n_parameters
    if dof < 1:
        raise ValueError(f"{problem.n_pixels} pixels cannot give {solution.n_parameters} parameters; name fewer lines")
    scale = max(1.0, float(np.sqrt(solution.chi2 / dof))) if options.scale_errors else 1.0
    covariance = problem.covariance(solution) * scale**2
    flux_covariance = flux_covariance_of(problem, solution, covariance)
    flux = _with_total(solution.flux @ problem.ties.T)
    error = _with_total_error(flux_covariance, n, len(problem.lines))
    level, width_equivalent = _equivalent_widths(spectrum, problem, solution, covariance, continuum)
    velocity_error, separation_error = _speed_errors(covariance, n)
    variance_error = np.sqrt(np.diag(covariance)[n : 2 * n])
    width = np.sqrt(np.maximum(solution.variance, 0))
    width_error = np.sqrt(np.maximum(solution.variance, 0) + variance_error) - width
    refits = None
    if options.n_monte_carlo:
        made = _monte_carlo(problem, solution, scale, options)
        refits, error = made["flux"], _half_range(_totals(made["flux"], n)).reshape(error.shape)
        velocity_error = _half_range(made["velocity"])
        width_error = _half_range(made["width"])
        separation_error = float(_half_range(np.diff(made["velocity"]))[0]) if n == 2 else float("nan")
    component_redshift = (1 + redshift) * (1 + solution.velocity / SPEED_OF_LIGHT) - 1
    # c (z2 - z1) / (1 + mean z), as components about their own middle: v2 - v1 but for a part in 1,000.
    stretch = (1 + redshift) / (1 + component_redshift.mean())
    rest = 1 + np.r_[component_redshift, [component_redshift.mean()] * (n == 2)][:, None]
    return LineFit(
        spectrum=spectrum,
        redshift_given=redshift,
        lines=problem.lines,
        not_covered=not_covered,
        velocity=solution.velocity,
        velocity_error=velocity_error,
        width=width,
        width_error=width_error,
        redshift=component_redshift,
        redshift_error=velocity_error / SPEED_OF_LIGHT * (1 + redshift),
        separation=float(np.diff(solution.velocity)[0] * stretch) if n == 2 else float("nan"),
        separation_error=separation_error * stretch,
        flux=flux,
        flux_error=error,
        equivalent_width=width_equivalent[0],
        equivalent_width_error=width_equivalent[1],
        equivalent_width_rest=width_equivalent[0] / rest,
        equivalent_width_rest_error=width_equivalent[1] / rest,
        flux_covariance=flux_covariance,
        monte_carlo=refits,
        continuum=level,
        line_model=_line_model(problem, solution),
        is_fitted=np.isin(np.arange(len(level)), problem.pixels),
        chi2=solution.chi2,
        dof=dof,
        n_parameters=solution.n_parameters,
        noise_scale=judged.noise_scale,
        error_scale=scale,
        bic_difference=judged.bic_difference,
        notes=_notes(spectrum, continuum, problem, solution, judged.noise_scale, scale) + judged.notes,
    )


def _totals(by_component: np.ndarray, n: int) -> np.ndarray:
    """Rows of components' fluxes with their sum behind, (sets, parts x lines)."""
    if n == 1:
        return by_component
    half = by_component.shape[1] // 2
    return np.hstack([by_component, by_component[:, :half] + by_component[:, half:]])


def _with_total(flux: np.ndarray) -> np.ndarray:
    return flux if len(flux) == 1 else np.vstack([flux, flux.sum(axis=0)])


def _with_total_error(covariance: np.ndarray, n: int, n_lines: int) -> np.ndarray:
    variance = np.diag(covariance).reshape(n, n_lines)
    if n == 2:
        both = np.hstack([np.eye(n_lines)] * 2)
        variance = np.vstack([variance, np.diag(both @ covariance @ both.T)])
    return np.sqrt(np.maximum(variance, 0))


def _speed_errors(covariance: np.ndarray, n: int) -> tuple[np.ndarray, float]:
    velocity = np.sqrt(np.diag(covariance)[:n])
    if n == 1:
        return velocity, float("nan")
    return velocity, float(np.sqrt(max(0.0, covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])))


def _equivalent_widths(
    spectrum: Spectrum, problem: LineProblem, solution: Solution, covariance: np.ndarray, continuum: Continuum
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """The continuum at all pixels; flux over it by part and line, and the error, flux and continuum together."""
    n, n_lines, n_free = len(solution.velocity), len(problem.lines), len(problem.free)
    level = continuum.values + problem.basis @ solution.continuum
    speeds = _with_total(solution.velocity[:, None])[:, 0] / (1 if n == 1 else np.array([1, 1, 2]))
    value, error = np.full((2, len(speeds), n_lines), np.nan)
    at_coefficients = slice(2 * n + n * n_free, None)
    for part, speed in enumerate(speeds):
        where = problem.centers * (1 + speed / SPEED_OF_LIGHT)
        nearest = np.clip(np.searchsorted(spectrum.wavelength, where), 0, len(level) - 1)
        for at in range(n_lines):
            beneath, row = level[nearest[at]], problem.basis[nearest[at]]
            noise = np.sqrt(max(0.0, row @ covariance[at_coefficients, at_coefficients] @ row))
            if not beneath > DETECTION * noise:
                continue
            weights = np.zeros((n, n_free))
            weights[:] = problem.ties[at] * (1.0 if part == n or n == 1 else (np.arange(n) == part)[:, None])
            flux = float((weights * solution.flux).sum())
            slope = np.zeros(len(covariance))
            slope[2 * n : 2 * n + n * n_free] = weights.ravel() / beneath
            slope[at_coefficients] = -flux / beneath**2 * row
            value[part, at] = flux / beneath
            error[part, at] = np.sqrt(max(0.0, slope @ covariance @ slope))
    return level, (value, error)


def _line_model(problem: LineProblem, solution: Solution) -> np.ndarray:
    """Every component's lines at all pixels."""
    lower, upper = problem.all_edges
    found = np.zeros((len(solution.velocity), len(lower)))
    for row, (velocity, variance) in enumerate(zip(solution.velocity, solution.variance, strict=True)):
        centers = problem.centers * (1 + velocity / SPEED_OF_LIGHT)
        sigma = problem.total_sigma(variance) * centers / SPEED_OF_LIGHT
        profiles = gaussian_pixels(lower[:, None], upper[:, None], centers, sigma)[0]
        found[row] = profiles @ (problem.ties @ solution.flux[row])
    return found


def _monte_carlo(problem: LineProblem, solution: Solution, scale: float, options: Options) -> dict[str, np.ndarray]:
    """Refits with new noise about the fit, from where it is."""
    random = np.random.default_rng(options.seed)
    start = np.r_[solution.velocity, solution.variance]
    made = [
        problem.renoised(solution, scale * random.standard_normal(problem.n_pixels)).refine(start, **options.limits)
        for _ in range(options.n_monte_carlo)
    ]
    return {
        "velocity": np.stack([each.velocity for each in made]),
        "width": np.sqrt(np.maximum(np.stack([each.variance for each in made]), 0)),
        "flux": np.stack([(each.flux @ problem.ties.T).ravel() for each in made]),
    }


def _half_range(sets: np.ndarray) -> np.ndarray:
    """Half of what holds 68 % of the refits, by column."""
    low, high = np.percentile(sets, [15.87, 84.13], axis=0)
    return (high - low) / 2


def _notes(
    spectrum: Spectrum, continuum: Continuum, problem: LineProblem, solution: Solution, noise: float, scale: float
) -> tuple[str, ...]:
    """What a reader has to be told."""
    notes = list(continuum.notes)
    if spectrum.instrument_sigma is None:
        notes.append("the instrument's width is not known: widths are those observed, not intrinsic")
    if noise < 0.8 or noise > 1.25:
        than = "more" if noise > 1 else "less"
        said = f"; they were scaled by {scale:.2f}" if scale > 1 else ""
        notes.append(
            f"pixels without lines scatter {noise:.2f} times what their errors say, {than} than is right{said}"
        )
    names = ["velocity", "width"]
    if len(solution.velocity) == 2:
        names = ["velocity", "separation", "width of blue", "width of red"]
        seen = np.mean([np.median(problem.total_sigma(variance)) for variance in solution.variance])
        if np.diff(solution.velocity)[0] < RESOLVED * seen:
            notes.append(
                "the components are nearer than two of their widths as seen: totals are right, but each one's own "
                "errors are larger than is said"
            )
    is_at = zip(names, solution.is_at_bound, strict=True)
    return (*notes, *(f"{name} is at its bound: its error is not known" for name, at in is_at if at))
