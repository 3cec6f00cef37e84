"""Lines of one or two components at once: fluxes and continuum are solved for, speeds and widths searched.

Fluxes and the continuum's coefficients enter linearly, so that for given velocities and widths they are one
least-squares solution (variable projection, Golub & Pereyra 1973), and lmfit sees two parameters a component.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from peculiar.spectra.profiles import gaussian_pixels, pixel_edges
from peculiar.spectra.spectrum import LINES, SPEED_OF_LIGHT, Spectrum

# The fainter line of a doublet from one upper level: METHOD.md sect. 7.
TIES = {"OIII_4960": ("OIII_5008", 1 / 2.98), "NII_6550": ("NII_6585", 1 / 3)}
WINDOW = 2_500.0  # km/s on either side of a line that are fitted: four times the widest line allowed
MAX_WIDTH = 600.0  # km/s, intrinsic; wider lines are another physics
# A line may be found as narrow as 0.8 of the instrument's width, for noise makes it so: were 0 the limit, fluxes and
# widths of lines that are not resolved would be too large on average.
NARROWEST = 0.8
VARIANCE_UNIT = 100.0**2  # (km/s)^2


@dataclass(frozen=True, kw_only=True, eq=False)
class Solution:
    """What one set of velocities and variances gives."""

    velocity: np.ndarray  # km/s, ascending
    variance: np.ndarray  # intrinsic, (km/s)^2; below 0 where narrower than the instrument's width
    flux: np.ndarray  # (components, free lines)
    continuum: np.ndarray  # coefficients
    chi2: float
    n_parameters: int
    is_at_bound: np.ndarray  # velocities, then variances: (2 x components,)


class LineProblem:
    """The pixels, lines and continuum of a fit; the science is in `solve` and `search`."""

    def __init__(
        self,
        spectrum: Spectrum,
        redshift: float,
        lines: Sequence[str],
        *,
        base: np.ndarray,
        is_scaled: bool,
        is_excluded: np.ndarray,
        degree: int,
        positive: Sequence[str] = (),
    ) -> None:
        """Take the pixels near `lines`; the continuum is `base` plus (`is_scaled`: times) a polynomial of `degree`.

        Lines of `positive` may not be below 0 in either of two components: else one component takes from the other what
        the sum does not need, and both are nothing.
        """
        self.lines = tuple(lines)
        self.centers = np.array([LINES[name] for name in self.lines]) * (1 + redshift)
        lower, upper = pixel_edges(spectrum.wavelength)
        step = upper - lower
        speed = (spectrum.wavelength[:, None] / self.centers - 1) * SPEED_OF_LIGHT
        is_near = np.abs(speed) < WINDOW
        self.pixels = np.flatnonzero(is_near.any(axis=1) & (spectrum.ivar > 0) & ~is_excluded)
        self.root = np.sqrt(spectrum.ivar[self.pixels])
        self.data = (spectrum.flux - base)[self.pixels] * self.root
        self.lower, self.upper, self.all_edges = lower[self.pixels], upper[self.pixels], (lower, upper)
        # The instrument's variance at a line, and the least that the sum may be, in (km/s)^2.
        nearest = np.clip(np.searchsorted(spectrum.wavelength, self.centers), 0, len(step) - 1)
        to_speed = (SPEED_OF_LIGHT / self.centers) ** 2
        if spectrum.instrument_sigma is None:
            self.instrument = np.zeros(len(self.lines))
            least = (0.4 * step[nearest]) ** 2 * to_speed
        else:
            self.instrument = np.interp(self.centers, spectrum.wavelength, spectrum.instrument_sigma) ** 2 * to_speed
            least = NARROWEST**2 * self.instrument
        self.least_variance = float((least - self.instrument).max())
        self.pixel_speed = float(np.median(step[nearest] / self.centers) * SPEED_OF_LIGHT)
        self.rows, self.columns = np.nonzero(is_near[self.pixels])
        self._tie()
        self.is_positive = np.isin(self.free, positive)
        self._prepare_continuum(
            spectrum.wavelength, base if is_scaled else None, np.asarray(is_near.any(axis=1)), degree
        )

    def _tie(self) -> None:
        """`ties` makes the fluxes of all lines of the free ones, (lines, free)."""
        is_tied = [name in TIES and TIES[name][0] in self.lines for name in self.lines]
        self.free = tuple(name for name, tied in zip(self.lines, is_tied, strict=True) if not tied)
        self.ties = np.zeros((len(self.lines), len(self.free)))
        for row, (name, tied) in enumerate(zip(self.lines, is_tied, strict=True)):
            leader, ratio = TIES[name] if tied else (name, 1.0)
            self.ties[row, self.free.index(leader)] = ratio

    def _prepare_continuum(
        self, wavelength: np.ndarray, scaled: np.ndarray | None, is_near: np.ndarray, degree: int
    ) -> None:
        """A polynomial a stretch of pixels that touch, over all pixels and whitened over those that are fitted."""
        starts = np.flatnonzero(is_near & ~np.r_[False, is_near[:-1]])
        stops = np.flatnonzero(is_near & ~np.r_[is_near[1:], False]) + 1
        stretches = list(zip(starts, stops, strict=True))
        basis = np.zeros((len(wavelength), len(stretches) * (degree + 1)))
        for number, (start, stop) in enumerate(stretches):
            inside = wavelength[start:stop]
            place = (2 * inside - inside[0] - inside[-1]) / max(inside[-1] - inside[0], 1e-9)
            columns = slice(number * (degree + 1), (number + 1) * (degree + 1))
            basis[start:stop, columns] = np.polynomial.legendre.legvander(place, degree)
        if scaled is not None:
            basis *= scaled[:, None]
        white = basis[self.pixels] * self.root[:, None]
        size = np.sqrt((white**2).sum(axis=0))
        is_held = size > 0
        self.basis, self.white = basis[:, is_held], white[:, is_held]
        left, value, _ = np.linalg.svd(self.white / size[is_held], full_matrices=False)
        self.span = left[:, value > 1e-8]
        self.left = self.data - self.span @ (self.span.T @ self.data)

    @property
    def n_pixels(self) -> int:
        """Pixels that are fitted."""
        return len(self.pixels)

    def total_sigma(self, variance: float) -> np.ndarray:
        """Deviation of every line as it is seen, km/s."""
        return np.sqrt(self.instrument + variance)

    def profiles(self, velocity: float, variance: float, *, slopes: bool = False) -> list[np.ndarray]:
        """Lines of flux 1, tied and whitened, (pixels, free); with slopes those with velocity and variance too."""
        centers = self.centers * (1 + velocity / SPEED_OF_LIGHT)
        sigma = self.total_sigma(variance) * centers / SPEED_OF_LIGHT
        at = self.columns
        value, by_center, by_sigma = gaussian_pixels(
            self.lower[self.rows], self.upper[self.rows], centers[at], sigma[at]
        )
        found = [value]
        if slopes:
            # d sigma / d variance = (center / c)^2 / (2 sigma); sigma's own slope with velocity is v/c of nothing.
            of_variance = (centers / SPEED_OF_LIGHT) ** 2 / (2 * sigma)
            found += [by_center * (self.centers / SPEED_OF_LIGHT)[at], by_sigma * of_variance[at]]
        made = []
        for values in found:
            matrix = np.zeros((self.n_pixels, len(self.lines)))
            matrix[self.rows, at] = values * self.root[self.rows]
            made.append(matrix @ self.ties)
        return made

    def renoised(self, solution: Solution, noise: np.ndarray) -> "LineProblem":
        """The same pixels with the solution and other noise, in errors, as their data."""
        other = copy(self)
        made = self.design(solution.velocity, solution.variance) @ solution.flux.ravel()
        other.data = made + self.white @ solution.continuum + noise
        other.left = other.data - self.span @ (self.span.T @ other.data)
        return other

    def outside_continuum(self, columns: np.ndarray) -> np.ndarray:
        """What of columns no continuum can follow."""
        return columns - self.span @ (self.span.T @ columns)

    def design(self, velocity: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """Every component's lines beside each other, (pixels, components x free)."""
        return np.hstack([self.profiles(v, s)[0] for v, s in zip(velocity, variance, strict=True)])

    def _best(self, design: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Fluxes, and an orthonormal basis of the lines that are not held at 0."""
        must = np.tile(self.is_positive, n) & (n > 1)
        is_free = np.ones(len(must), bool)
        outside = self.outside_continuum(design)
        while True:
            q, r = np.linalg.qr(outside[:, is_free])
            flux = np.zeros(len(must))
            flux[is_free] = np.linalg.lstsq(r, q.T @ self.left, rcond=1e-10)[0]
            below = must & (flux < 0)
            if not below.any():
                return flux, q
            is_free &= ~below

    def residual(self, velocity: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """What is left, in errors, with the best fluxes and continuum."""
        _, q = self._best(self.design(velocity, variance), len(velocity))
        return self.left - q @ (q.T @ self.left)

    def jacobian(self, velocity: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """Slopes of `residual` with velocities, then variances (Kaufman 1975: without the second-order part)."""
        parts = [self.profiles(v, s, slopes=True) for v, s in zip(velocity, variance, strict=True)]
        found, q = self._best(np.hstack([part[0] for part in parts]), len(parts))
        flux = found.reshape(len(parts), -1)
        slopes = [part[1] @ each for part, each in zip(parts, flux, strict=True)]
        slopes += [part[2] @ each for part, each in zip(parts, flux, strict=True)]
        columns = self.outside_continuum(np.stack(slopes, axis=1))
        return -(columns - q @ (q.T @ columns))

    def solve(self, velocity: np.ndarray, variance: np.ndarray, is_at_bound: np.ndarray) -> Solution:
        """Fluxes and continuum of given velocities and variances."""
        design = self.design(velocity, variance)
        flux, _ = self._best(design, len(velocity))
        without = self.data - design @ flux
        size = np.sqrt((self.white**2).sum(axis=0))
        continuum = np.linalg.lstsq(self.white / size, without, rcond=1e-8)[0] / size
        off = without - self.white @ continuum
        return Solution(
            velocity=velocity,
            variance=variance,
            flux=flux.reshape(len(velocity), -1),
            continuum=continuum,
            chi2=float(off @ off),
            n_parameters=len(flux) + self.span.shape[1] + 2 * len(velocity),
            is_at_bound=is_at_bound,
        )

    def covariance(self, solution: Solution) -> np.ndarray:
        """Of velocities, variances, fluxes, continuum's coefficients: (J^T J)^-1.

        What is at a bound counts as free: held fixed, it would make all others look better known than they are.
        """
        parts = [self.profiles(v, s, slopes=True) for v, s in zip(solution.velocity, solution.variance, strict=True)]
        slopes = [part[1] @ each for part, each in zip(parts, solution.flux, strict=True)]
        slopes += [part[2] @ each for part, each in zip(parts, solution.flux, strict=True)]
        columns = np.hstack([np.stack(slopes, axis=1), *(part[0] for part in parts), self.white])
        size = np.sqrt((columns**2).sum(axis=0))
        is_free = size > 0
        _, value, right = np.linalg.svd(columns[:, is_free] / size[is_free], full_matrices=False)
        inverse = np.where(value > 1e-7 * value[0], 1 / np.maximum(value, 1e-300), 0.0)
        root = (right.T * inverse) / size[is_free, None]
        found = np.zeros((len(size), len(size)))
        found[np.ix_(is_free, is_free)] = root @ root.T
        return found

    def search(self, velocities: np.ndarray, variances: np.ndarray, n_components: int, n_best: int) -> list[np.ndarray]:
        """Best starts (velocities, then variances) on a grid: of one component, or among every pair."""
        places = np.array([(v, s) for v in velocities for s in variances])
        columns = np.stack([self.outside_continuum(self.profiles(v, s)[0]) for v, s in places])  # (sets, pixels, free)
        n_free, count = len(self.free), len(places)
        onto = np.einsum("spf,p->sf", columns, self.left)
        if n_components == 1:
            choices = np.arange(count)[:, None]
            matrices = columns.transpose(0, 2, 1) @ columns
        else:
            first, second = np.triu_indices(count, 1)
            choices = np.stack([first, second], axis=1)[places[second, 0] > places[first, 0]]
            flat = columns.transpose(1, 0, 2).reshape(len(self.left), -1)
            gram = (flat.T @ flat).reshape(count, n_free, count, n_free)
            blocks = gram[choices[:, :, None], :, choices[:, None, :], :]  # (pairs, 2, 2, free, free)
            matrices = blocks.transpose(0, 1, 3, 2, 4).reshape(len(choices), 2 * n_free, 2 * n_free)
        k = n_components * n_free
        sides = onto[choices].reshape(len(choices), k)
        ridge = 1e-6 * np.trace(matrices, axis1=1, axis2=2)[:, None, None] / k * np.eye(k)
        flux = np.linalg.solve(matrices + ridge, sides[..., None])[..., 0]
        gain = (sides * flux).sum(axis=1)
        if n_components == 2:
            gain[(flux < 0)[:, np.tile(self.is_positive, 2)].any(axis=1)] *= (
                0.5  # behind those that may stay as they are
            )
        best: list[np.ndarray] = []
        for at in np.argsort(-gain):
            start = np.r_[places[choices[at], 0], places[choices[at], 1]]
            apart = 1.5 * (velocities[1] - velocities[0]) if len(velocities) > 1 else 0.0
            if all(np.abs(start - other)[:n_components].max() > apart for other in best):
                best.append(start)
            if len(best) == n_best:
                break
        return best

    def refine(self, start: np.ndarray, *, max_velocity: float, min_separation: float) -> Solution:
        """Velocities and variances that fit best, by lmfit from a start, within their bounds."""
        import lmfit

        n = len(start) // 2
        low, high = self.least_variance / VARIANCE_UNIT, MAX_WIDTH**2 / VARIANCE_UNIT
        parameters = lmfit.Parameters()
        parameters.add(
            "velocity", value=_inside(start[0], -max_velocity, max_velocity), min=-max_velocity, max=max_velocity
        )
        if n == 2:  # ordered: the second is the first and a separation that has a least value
            bounds = (min_separation, 2 * max_velocity)
            parameters.add("separation", value=_inside(start[1] - start[0], *bounds), min=bounds[0], max=bounds[1])
        for number in range(n):
            value = _inside(start[n + number] / VARIANCE_UNIT, low, high)
            parameters.add(f"variance_{number}", value=value, min=low, max=high)

        def unpack(found: Any) -> tuple[np.ndarray, np.ndarray]:
            velocity = found["velocity"].value
            both = [velocity] if n == 1 else [velocity, velocity + found["separation"].value]
            return np.array(both), VARIANCE_UNIT * np.array([found[f"variance_{each}"].value for each in range(n)])

        def residual(found: Any) -> np.ndarray:
            return self.residual(*unpack(found))

        def slopes(found: Any) -> np.ndarray:
            columns = self.jacobian(*unpack(found))
            if n == 2:
                columns[:, 0] += columns[:, 1]  # both move with the first
            columns[:, n:] *= VARIANCE_UNIT
            return columns

        minimizer = lmfit.Minimizer(residual, parameters, calc_covar=False)
        found = minimizer.least_squares(jac=slopes, x_scale="jac", ftol=1e-9, xtol=1e-9, max_nfev=60).params
        velocity, variance = unpack(found)
        # A separation at its bound leaves one velocity free: the second is said to be at a bound, and the first is not.
        return self.solve(velocity, variance, np.array([_is_at(each) for each in found.values()]))

    def fit(
        self, n_components: int, *, max_velocity: float, min_separation: float, around: float | None = None
    ) -> Solution:
        """The best of one or two components, wherever it starts; `around` a velocity, if one is known."""
        narrow = float(self.total_sigma(max(40.0**2, self.least_variance)).min())
        if around is None:
            reach, center = max_velocity, 0.0
        else:
            reach, center = min(max_velocity, max(400.0, 3 * narrow)), around
        step = max(0.8 * narrow, 2 * reach / 80)
        number = max(3, int(np.ceil(2 * reach / step)) + 1) if reach > 0 else 1
        velocities = np.linspace(center - reach, center + reach, number)
        variances = np.array([30.0**2, 90.0**2, 220.0**2]) if n_components == 1 else np.array([30.0**2, 110.0**2])
        starts = self.search(velocities, variances, n_components, 1 if n_components == 1 else 3)
        bounds = {"max_velocity": max_velocity, "min_separation": min_separation}
        return min((self.refine(start, **bounds) for start in starts), key=lambda found: found.chi2)


def _inside(value: float, low: float, high: float) -> float:
    """A start that is off its bounds, where slopes would say nothing."""
    margin = 0.01 * (high - low)
    return float(np.clip(value, low + margin, high - margin))


def _is_at(parameter: Any) -> bool:
    margin = 1e-4 * (parameter.max - parameter.min)
    return bool(parameter.value <= parameter.min + margin or parameter.value >= parameter.max - margin)
