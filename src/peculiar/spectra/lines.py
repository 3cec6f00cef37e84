"""Emission lines measured all at once: fluxes, widths, velocities of one or two components, with their errors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from peculiar.spectra.components import MAX_WIDTH, LineProblem, Solution
from peculiar.spectra.continuum import Continuum, fit_continuum
from peculiar.spectra.line_fit import DETECTION, LineFit
from peculiar.spectra.measurement import Judged, Options, fluxes_of, measured
from peculiar.spectra.profiles import pixel_edges
from peculiar.spectra.spectrum import LINES, SPEED_OF_LIGHT, Spectrum

MIN_BIC_DIFFERENCE = 10.0  # "very strong" evidence: Kass & Raftery 1995
MAX_VELOCITY = 500.0  # km/s about the redshift given
MIN_SEPARATION = 30.0  # km/s; closer components are one that is not a Gaussian
CORE = 150.0  # km/s on either side that must be seen for a line to be measured; two instrument's widths if more
SEEN = 2 / 3  # part of the core's pixels
FAR = 4.0  # widths from every line, where a pixel is the continuum's alone


def covered_lines(spectrum: Spectrum, redshift: float, lines: Sequence[str] = tuple(LINES)) -> tuple[str, ...]:
    """Return the lines whose core is in the spectrum, two thirds of it not masked.

    The core is 150 km/s on either side, or twice the instrument's width.
    """
    unknown = [name for name in lines if name not in LINES]
    if unknown:
        raise KeyError(f"lines not known: {', '.join(unknown[:5])}; known: {', '.join(LINES)}")
    lower, upper = pixel_edges(spectrum.wavelength)
    found = []
    for name in lines:
        center = LINES[name] * (1 + redshift)
        reach = CORE / SPEED_OF_LIGHT * center
        if spectrum.instrument_sigma is not None:
            reach = max(reach, 2 * float(np.interp(center, spectrum.wavelength, spectrum.instrument_sigma)))
        inside = np.minimum(upper, center + reach) - np.maximum(lower, center - reach)
        if np.clip(inside, 0, None)[spectrum.ivar > 0].sum() >= SEEN * 2 * reach:
            found.append(name)
    return tuple(found)


def fit_lines(
    spectrum: Spectrum,
    redshift: float,
    *,
    n_components: int = 0,
    continuum: Continuum | None = None,
    lines: Sequence[str] = tuple(LINES),
    degree: int = 1,
    max_velocity: float = MAX_VELOCITY,
    min_separation: float = MIN_SEPARATION,
    min_bic_difference: float = MIN_BIC_DIFFERENCE,
    scale_errors: bool = False,
    n_monte_carlo: int = 0,
    seed: int = 0,
) -> LineFit:
    """Fit all lines at once by one or two Gaussian components on the continuum, with errors.

    A component has one velocity and one intrinsic width for all lines; the instrument's width is added in quadrature,
    and the profile is integrated over each pixel. [OIII] 5008/4960 = 2.98 and [NII] 6585/6550 = 3 are fixed where both
    are covered; other fluxes are free, and may come out below 0. Beneath the lines the continuum that is given may
    change by a polynomial a window, fitted with the lines, so that its error is in theirs.

    One or two: BIC = chi2 + parameters x log(pixels), over the lines that one component detects and the pixels that
    they reach (others add to the penalty and say nothing). Where pixels without lines scatter more than their errors
    say, chi2 is divided by that squared, so that noise is no second component. Two are taken where BIC is lower by
    `min_bic_difference`, each component has a line that is detected, and neither their separation is the least nor a
    width the largest allowed. Two like components nearer than about two of their widths as seen are one to BIC; that
    one's flux is then too large by up to 6 %, where noise hides the second.

    Parameters
    ----------
    redshift
        About which velocities are, at most `max_velocity` km/s away.
    n_components
        1 or 2; 0: chosen.
    continuum
        Of `fit_continuum`; by default its spline. Stellar absorption is the matter of a continuum with a model.
    degree
        Of the polynomial of a window, 0 to 3; it multiplies a continuum of a model, and adds to another.
    min_separation
        Of two components, km/s.
    scale_errors
        Multiply errors by the root of the reduced chi2 where that is above 1.
    n_monte_carlo
        Fit so many times again with new noise: `flux_error`, the errors of velocity, width and separation are then half
        of what holds 68 % of the refits, and `draws` are refits. For faint lines; two components that BIC does not take
        are no better known by it.
    seed
        Of the new noise.

    Raises
    ------
    ValueError
        No line is covered, or an argument is out of its range.
    KeyError
        A line has no wavelength.
    """
    _check(redshift, n_components, degree, max_velocity, min_separation, n_monte_carlo)
    covered = covered_lines(spectrum, redshift, lines)
    if not covered:
        raise ValueError(
            f"no emission line of {', '.join(lines)} is covered at redshift {redshift:g}: pixels that are not masked "
            f"go from {spectrum.wavelength[spectrum.ivar > 0][0]:.0f} to "
            f"{spectrum.wavelength[spectrum.ivar > 0][-1]:.0f} angstrom; check the redshift and the wavelength's unit"
        )
    continuum = fit_continuum(spectrum, redshift) if continuum is None else continuum
    limits = {"max_velocity": max_velocity, "min_separation": min_separation}
    from threadpoolctl import threadpool_limits

    def problem_of(names: Sequence[str], positive: Sequence[str] = ()) -> LineProblem:
        assert continuum is not None
        return LineProblem(
            spectrum,
            redshift,
            names,
            base=continuum.values,
            is_scaled=continuum.method == "model",
            is_excluded=continuum.is_outlier,
            degree=degree,
            positive=positive,
        )

    with threadpool_limits(1):  # matrices are small: threads would wait for each other, ten times as long
        problem = problem_of(covered)
        found = _Found(problem, problem.fit(1, **limits))
        if n_components != 1:
            found = _chosen(found, problem_of, n_components, min_bic_difference, limits)
        return measured(
            spectrum,
            redshift,
            tuple(name for name in lines if name not in covered),
            continuum,
            found.problem,
            found.solution,
            Judged(_noise_scale(found.problem, found.solution), found.bic_difference, found.notes),
            Options(scale_errors, n_monte_carlo, seed, limits),
        )


@dataclass(frozen=True)
class _Found:
    """A solution, and how it was chosen."""

    problem: LineProblem
    solution: Solution
    bic_difference: float = float("nan")
    notes: tuple[str, ...] = ()


def _chosen(
    one: _Found,
    problem_of: Callable[[Sequence[str], Sequence[str]], LineProblem],
    n_components: int,
    min_bic_difference: float,
    limits: dict[str, float],
) -> _Found:
    """One component or two, by the lines that one detects."""
    flux, error = fluxes_of(one.problem, one.solution)
    is_detected = flux[0] >= DETECTION * error[0]
    detected = [name for name, each in zip(one.problem.lines, is_detected, strict=True) if each]
    if not detected and n_components == 0:
        return one
    noise = _noise_scale(one.problem, one.solution)
    judging = problem_of(detected or one.problem.lines, detected)
    two, difference, is_real = _two(judging, one.solution, max(1.0, noise) if np.isfinite(noise) else 1.0, limits)
    if n_components == 2 or (difference > min_bic_difference and is_real):
        problem = problem_of(one.problem.lines, detected)
        notes: tuple[str, ...] = ()
        if not (difference > min_bic_difference and is_real):
            notes = (
                "two components were asked for, and are not in the data: of each one believe nothing, of totals all",
            )
        return _Found(problem, problem.refine(np.r_[two.velocity, two.variance], **limits), difference, notes)
    notes = ("BIC is lower for two components, but the second is no line: too near, too wide or not detected",)
    return replace(one, bic_difference=difference, notes=notes if difference > min_bic_difference else ())


def _check(
    redshift: float, n_components: int, degree: int, max_velocity: float, min_separation: float, n_monte_carlo: int
) -> None:
    if not np.isfinite(redshift) or not -0.1 < redshift < 20:
        raise ValueError(f"redshift must be from -0.1 to 20, got {redshift}; find_redshift finds one")
    if n_components not in (0, 1, 2):
        raise ValueError(f"n_components must be 1, 2, or 0 for the choice by BIC, got {n_components}")
    if not 0 <= degree <= 3:
        raise ValueError(f"degree must be from 0 to 3, got {degree}")
    if not 0 < max_velocity <= 2_000:
        raise ValueError(f"max_velocity must be above 0 and at most 2000 km/s, got {max_velocity}")
    if not 0 < min_separation < max_velocity:
        raise ValueError(f"min_separation must be above 0 and below max_velocity, got {min_separation} km/s")
    if n_monte_carlo and n_monte_carlo < 20:
        raise ValueError(f"n_monte_carlo must be 20 or more for errors to be said, or 0, got {n_monte_carlo}")


def _noise_scale(problem: LineProblem, solution: Solution) -> float:
    """Root of chi2 a degree of freedom of the pixels without lines; NaN where they are fewer than 20."""
    off = problem.data - problem.white @ solution.continuum
    off = off - problem.design(solution.velocity, solution.variance) @ solution.flux.ravel()
    is_free = ~_is_reached(problem, solution)
    count = is_free.sum() - problem.span.shape[1]
    return float(np.sqrt((off[is_free] ** 2).sum() / count)) if count >= 20 else float("nan")


def _is_reached(problem: LineProblem, solution: Solution) -> np.ndarray:
    """Which pixels are within 4 widths of a line."""
    middle = (problem.lower + problem.upper) / 2
    is_reached = np.zeros(problem.n_pixels, bool)
    for velocity, variance in zip(solution.velocity, solution.variance, strict=True):
        speed = (middle[:, None] / problem.centers - 1) * SPEED_OF_LIGHT - velocity
        is_reached |= (np.abs(speed) < FAR * problem.total_sigma(variance)).any(axis=1)
    return is_reached


def _two(problem: LineProblem, one: Solution, noise: float, limits: dict[str, float]) -> tuple[Solution, float, bool]:
    """The fit of two, BIC of one minus that of two, and whether both components are lines."""
    single = problem.refine(np.r_[one.velocity, one.variance], **limits)
    double = problem.fit(2, around=float(single.velocity[0]), **limits)
    # The pixels that lines reach: others judge no component, and would only make the penalty larger.
    n_pixels = _is_reached(problem, single).sum()
    penalty = (double.n_parameters - single.n_parameters) * np.log(n_pixels)
    flux, error = fluxes_of(problem, double)
    is_seen = bool((flux >= DETECTION * error).any(axis=1).all())
    # As near as they may be, or as wide: that is a line that is no Gaussian, or absorption, and no second component.
    is_sane = not double.is_at_bound[1] and bool((double.variance < 0.95 * MAX_WIDTH**2).all())
    return double, float((single.chi2 - double.chi2) / noise**2 - penalty), is_seen and is_sane
