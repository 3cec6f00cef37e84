"""Redshift from emission lines: every trial redshift judged by what physically possible lines explain."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from peculiar.spectra.continuum import SKY_LINE, fit_continuum
from peculiar.spectra.line_fit import LineFit
from peculiar.spectra.lines import covered_lines, fit_lines
from peculiar.spectra.nebulae import CENTERS, NAMES, RECIPES, explained
from peculiar.spectra.noise import robust_scale
from peculiar.spectra.profiles import gaussian_pixels, pixel_edges
from peculiar.spectra.spectrum import LINES, SPEED_OF_LIGHT, Spectrum

WIDTHS = (50.0, 180.0)  # km/s, intrinsic: a dwarf's lines, a massive galaxy's
APART = 1_000.0  # km/s that a runner-up is away
N_PEAKS = 16  # that are judged by their pixels
FLAT = 100.0  # angstrom of the running median; wider than any line, narrower than the bumps that stars make
# Gaussian noise alone reaches 35 in 50 spectra, over all redshifts: benchmarks/spectral_lines.py. What the night sky
# leaves is not Gaussian, so that more is asked for.
LEAST = 40.0
SECURE, PROBABLE = 25.0, 9.0  # in delta chi-squared: 5 and 3 deviations between two redshifts
SEEN = 3.0  # deviations of a line that counts
EDGE = 100.0  # angstrom from an end of the spectrum; nearer, what stars absorb beside it passes for a line
Quality = Literal["secure", "probable", "uncertain", "none"]


@dataclass(frozen=True, kw_only=True, eq=False)
class RedshiftResult:
    """What `find_redshift` found.

    Attributes
    ----------
    redshift, error
        NaN where quality is "none": no redshift is made up.
    quality
        `secure`: two lines or more are seen, one of them above 5 deviations, chi-squared is 25 or more better than at
        the runner-up, and the resolution is known, without which cosmic rays may pass for lines. `probable`: 9 or more
        better, and two lines, or one above 7. `uncertain`: lines are there, but no such difference. `none`: nothing
        that noise alone does not give. Lines within 100 angstrom of an end are not counted.
    reason
        The same in a sentence, with its figures.
    gain, runner_up_gain
        By how much lines at the redshift make chi-squared better than no lines, noise taken as the pixels show it.
    runner_up
        The best redshift 1,000 km/s or more away; NaN where there is none. It is given with quality "none" too, as is
        `best_trial`, for who wants to look.
    lines, runner_up_lines
        Lines that are seen, at least 3 deviations each, with their signal to noise.
    trial_redshift, trial_gain
        The curve, for a figure.
    noise_scale
        How many times their errors the pixels scatter about the continuum; where above 1, errors are
        taken so much larger.
    fit
        Of one component at the redshift, which gives it its last digits and its error; None where quality is "none".
    """

    redshift: float
    error: float
    quality: Quality
    reason: str
    gain: float
    best_trial: float
    runner_up: float
    runner_up_gain: float
    lines: dict[str, float]
    runner_up_lines: dict[str, float]
    trial_redshift: Float[np.ndarray, " trials"]
    trial_gain: Float[np.ndarray, " trials"]
    noise_scale: float
    fit: LineFit | None

    @property
    def margin(self) -> float:
        """By how much chi-squared is better than at the runner-up; infinite where there is none."""
        return self.gain - self.runner_up_gain if np.isfinite(self.runner_up) else float("inf")


def find_redshift(
    spectrum: Spectrum,
    *,
    guess: float | None = None,
    window: float = 0.01,
    minimum: float = -0.005,
    maximum: float = 1.7,
) -> RedshiftResult:
    """Find the redshift at which emission lines explain a spectrum best, with its runner-up and its quality.

    At each trial redshift lines are fitted to the spectrum without its continuum: any sum, with weights of 0 or more,
    of what nebulae emit (`nebulae.NEBULAE`). That [OIII] 5008 comes with a third of it at 4960, and H-beta with nearly
    three times it at H-alpha, is what tells one redshift from another; how much chi-squared gains is the curve. The
    best peaks are then judged by their pixels, blends and all, and the best is measured by `fit_lines`. Absorption
    lines are not used: a galaxy without emission has no redshift here.

    Parameters
    ----------
    guess, window
        Look only within `window` of `guess`, both redshifts.
    minimum, maximum
        Look between; not used with a guess.

    Raises
    ------
    ValueError
        No line is in the spectrum at any of the redshifts, or the range is none.
    """
    low, high = (minimum, maximum) if guess is None else (guess - window, guess + window)
    if not -0.1 < low < high < 20:
        name = "minimum and maximum" if guess is None else "guess - window and guess + window"
        raise ValueError(f"{name} must ascend and be within -0.1 to 20, got {low:g} and {high:g}")
    search = _Search(spectrum)
    trials = np.exp(np.arange(np.log1p(low), np.log1p(high) + search.step, search.step)) - 1
    gains = search.curve(trials)
    if np.isnan(gains).all():
        used = spectrum.wavelength[spectrum.ivar > 0]
        raise ValueError(
            f"no line that is looked for is in the spectrum, {used[0]:.0f} to {used[-1]:.0f} angstrom, at any redshift "
            f"from {low:g} to {high:g}; check the range and the wavelength's unit"
        )
    gains = np.nan_to_num(gains)
    peaks = [search.judge(trials[at]) for at in _peaks(trials, gains)]
    measurable = [each for each in peaks if covered_lines(search.spectrum, each[1], NAMES)]
    ranked = sorted(measurable, key=lambda each: -each[0])
    gain, best = ranked[0] if ranked else (0.0, float("nan"))
    others = [each for each in ranked[1:] if abs(each[1] - best) / (1 + best) * SPEED_OF_LIGHT > APART]
    runner_up_gain, runner_up = others[0] if others else (0.0, float("nan"))
    seen = search.seen(best) if ranked else {}
    is_resolved = spectrum.instrument_sigma is not None
    counted = {name: value for name, value in search.distinct(seen).items() if search.is_inside(name, best)}
    quality, reason = _quality(gain, gain - runner_up_gain, counted, runner_up, is_resolved=is_resolved)
    redshift, error, fit = float("nan"), float("nan"), None
    if quality != "none":
        lines = covered_lines(spectrum, best, NAMES)
        fit = fit_lines(search.spectrum, best, n_components=1, lines=lines, max_velocity=300.0)
        redshift = float(fit.redshift[0])
        error = float(fit.redshift_error[0]) * search.noise_scale
    return RedshiftResult(
        redshift=redshift,
        error=error,
        quality=quality,
        reason=reason,
        gain=gain,
        best_trial=best,
        runner_up=runner_up,
        runner_up_gain=runner_up_gain,
        lines=seen,
        runner_up_lines=search.seen(runner_up) if others else {},
        trial_redshift=trials,
        trial_gain=gains,
        noise_scale=search.noise_scale,
        fit=fit,
    )


def _peaks(trials: np.ndarray, gains: np.ndarray) -> list[int]:
    """Places of the highest peaks, each the highest within half of `APART`."""
    order = np.argsort(-gains)
    taken: list[int] = []
    for at in order:
        if gains[at] <= 0 or len(taken) == N_PEAKS:
            break
        if all(abs(trials[at] - trials[t]) / (1 + trials[at]) * SPEED_OF_LIGHT > APART / 2 for t in taken):
            taken.append(int(at))
    return taken


def _quality(
    gain: float, margin: float, seen: dict[str, float], runner_up: float, *, is_resolved: bool
) -> tuple[Quality, str]:
    if gain < LEAST:
        said = f"the best redshift gains {gain:.0f} in chi-squared, {LEAST:.0f} are asked for; noise gains up to 35"
        return "none", f"no emission lines: {said}"
    n, strongest = len(seen), max(seen.values(), default=0.0)
    listed = ", ".join(f"{name} {value:.1f}" for name, value in seen.items()) or "no line alone above 3"
    but = f"{margin:.0f} better than {runner_up:.4f}" if np.isfinite(runner_up) else "no other redshift"
    said = f"{listed} (signal to noise); chi-squared {gain:.0f} better than without lines, {but}"
    if margin >= SECURE and n >= 2 and strongest >= 5:
        if not is_resolved:
            return "probable", f"{said}; the resolution is not known, so that cosmic rays may pass for lines"
        return "secure", said
    if margin >= PROBABLE and (n >= 2 or strongest >= 7):
        return "probable", said
    return "uncertain", said


class _Search:
    """A spectrum without its continuum, and what a line at any place would be worth."""

    def __init__(self, spectrum: Spectrum) -> None:
        low, high = SKY_LINE
        is_sky = (spectrum.wavelength > low) & (spectrum.wavelength < high)
        if (spectrum.ivar[~is_sky] > 0).any():
            spectrum = replace(spectrum, ivar=np.where(is_sky, 0.0, spectrum.ivar))
        spectrum = replace(spectrum, ivar=np.where(_spikes(spectrum), 0.0, spectrum.ivar))
        self.spectrum = spectrum
        self.flux = _flattened(spectrum)
        off = self.flux * np.sqrt(spectrum.ivar)
        scale = robust_scale(off, spectrum.ivar > 0)
        self.noise_scale = max(1.0, scale) if np.isfinite(scale) else 1.0
        self.ivar = spectrum.ivar / self.noise_scale**2
        self.lower, self.upper = pixel_edges(spectrum.wavelength)
        self.sigma = np.zeros(len(self.flux)) if spectrum.instrument_sigma is None else spectrum.instrument_sigma
        self.sigma = np.maximum(self.sigma, 0.5 * (self.upper - self.lower))
        logs = np.log(spectrum.wavelength)
        self.step = float(max(np.median(np.diff(logs)) / 2, 1.5e-5))
        self.start = logs[0]
        self.filters = [self._filtered(logs[0], logs[-1], width) for width in WIDTHS]

    def _filtered(self, first: float, last: float, width: float) -> tuple[np.ndarray, np.ndarray]:
        """A line's sum of data and of weights at each place of a grid in log wavelength: flux = first / second."""
        centers = np.exp(np.arange(first, last, self.step))
        sigma = np.hypot(np.interp(centers, self.spectrum.wavelength, self.sigma), centers * width / SPEED_OF_LIGHT)
        starts = np.searchsorted(self.upper, centers - 4 * sigma)
        stops = np.searchsorted(self.lower, centers + 4 * sigma)
        counts = stops - starts
        rows = np.repeat(np.arange(len(centers)), counts)
        pixels = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(starts, counts)
        values = gaussian_pixels(self.lower[pixels], self.upper[pixels], centers[rows], sigma[rows])[0]
        data = np.bincount(rows, values * (self.ivar * self.flux)[pixels], len(centers))
        weight = np.bincount(rows, values**2 * self.ivar[pixels], len(centers))
        return data, weight

    def _at(self, redshift: float, which: int) -> tuple[np.ndarray, np.ndarray]:
        """Signal to noise of every line, and the root of its weight; 0 where it is not in the spectrum."""
        data, weight = self.filters[which]
        place = np.rint((np.log(CENTERS * (1 + redshift)) - self.start) / self.step).astype(int)
        is_in = (place >= 0) & (place < len(data))
        place = np.where(is_in, place, 0)
        root = np.sqrt(np.where(is_in, weight[place], 0.0))
        return np.where(root > 0, data[place] / np.where(root > 0, root, 1.0), 0.0), root

    def curve(self, trials: np.ndarray) -> np.ndarray:
        """What lines gain at each redshift, each line by itself; NaN where none is in the spectrum."""
        gains = np.full(len(trials), np.nan)
        for at, redshift in enumerate(trials):
            for which in range(len(WIDTHS)):
                significance, root = self._at(redshift, which)
                if not root.any():
                    continue
                gain = explained(significance, root)[0] if significance.max() > 2 else 0.0
                gains[at] = gain if np.isnan(gains[at]) else max(gain, gains[at])
        return gains

    def judge(self, redshift: float) -> tuple[float, float]:
        """The gain by the pixels themselves, and the redshift within a pixel and a half where it is the highest."""
        near = redshift + (1 + redshift) * self.step * np.arange(-3, 4)
        return max((self._gain(each, width), float(each)) for each in near for width in WIDTHS)

    def _gain(self, redshift: float, width: float) -> float:
        from scipy.optimize import nnls

        centers = CENTERS * (1 + redshift)
        sigma = np.hypot(np.interp(centers, self.spectrum.wavelength, self.sigma), centers * width / SPEED_OF_LIGHT)
        wavelength = self.spectrum.wavelength
        is_near = (np.abs(wavelength[:, None] - centers) < 5 * sigma).any(axis=1) & (self.ivar > 0)
        if not is_near.any():
            return 0.0
        lower, upper = self.lower[is_near, None], self.upper[is_near, None]
        root = np.sqrt(self.ivar[is_near])
        matrix = (gaussian_pixels(lower, upper, centers, sigma)[0] * root[:, None]) @ RECIPES
        size = np.maximum(np.sqrt((matrix**2).sum(axis=0)), 1e-300)
        data = self.flux[is_near] * root
        return float(data @ data - nnls(matrix / size, data)[1] ** 2)

    def seen(self, redshift: float) -> dict[str, float]:
        """Lines of 3 deviations or more that a nebula may have at the redshift, the strongest first."""
        found = [self._at(redshift, which) for which in range(len(WIDTHS))]
        judged = [explained(*each) for each in found]
        best = int(np.argmax([gain for gain, _ in judged]))
        value, model = found[best][0], judged[best][1]
        order = np.argsort(-value)
        # A line that no nebula can have as strong as it stands there is no evidence for the redshift.
        return {NAMES[at]: float(value[at]) for at in order if value[at] >= SEEN and model[at] >= value[at] / 2}

    def is_inside(self, line: str, redshift: float) -> bool:
        """Whether a line is so far from the ends that the continuum beneath it is known from both sides."""
        used = self.spectrum.wavelength[self.spectrum.ivar > 0]
        return bool(used[0] + EDGE <= LINES[line] * (1 + redshift) <= used[-1] - EDGE)

    def distinct(self, seen: dict[str, float]) -> dict[str, float]:
        """Those of the lines that the instrument tells from a stronger one."""
        kept: dict[str, float] = {}
        for name, value in seen.items():
            at = np.clip(np.searchsorted(self.spectrum.wavelength, LINES[name]), 0, len(self.sigma) - 1)
            apart = max(300.0, 2.5 * self.sigma[at] / self.spectrum.wavelength[at] * SPEED_OF_LIGHT)
            if all(abs(LINES[name] / LINES[other] - 1) * SPEED_OF_LIGHT > apart for other in kept):
                kept[name] = value
        return kept


def _flattened(spectrum: Spectrum) -> np.ndarray:
    """Flux without its continuum: a spline, and the running median of what it leaves; 0 where masked."""
    from scipy.ndimage import median_filter

    is_used = spectrum.ivar > 0
    left = (spectrum.flux - fit_continuum(spectrum, None).values)[is_used]
    step = float(np.median(np.diff(spectrum.wavelength)))
    size = min(max(31, int(FLAT / step) | 1), len(left))
    flat = np.zeros(len(spectrum.flux))
    flat[is_used] = left - median_filter(left, size=size, mode="nearest")
    return flat


def _spikes(spectrum: Spectrum) -> np.ndarray:
    """Pixels that stand above both neighbors as no line can that went through the instrument: cosmic rays.

    A Gaussian of deviation s pixels stands above the mean of its neighbors by exp(1 / 2 s^2) at most.
    """
    if spectrum.instrument_sigma is None:
        return np.zeros(len(spectrum.flux), bool)
    lower, upper = pixel_edges(spectrum.wavelength)
    pixels = np.hypot(spectrum.instrument_sigma / (upper - lower), 12**-0.5)
    level = fit_continuum(spectrum, None).values
    error = 1 / np.sqrt(np.where(spectrum.ivar > 0, spectrum.ivar, 1.0))
    above = np.where(spectrum.ivar > 0, spectrum.flux - level, 0.0)
    around = np.r_[0.0, (above[:-2] + above[2:]) / 2, 0.0]
    highest = np.maximum(around, 0) * np.exp(0.5 / pixels**2)
    return (above > highest + 7 * error * (1 + 0.7 * np.exp(0.5 / pixels**2))) & (above > 10 * error)
