"""Counterparts on the sky: the nearest row of another table, how many there are, and how many chance would give."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64

from peculiar.catalog.sphere import ARCSEC, chord_of_near, unit_vectors

PAIRS_AT_ONCE = 2_000_000  # 48 MB of pairs; memory does not grow with how crowded the sky is
# Positions are shifted by so many radii, in four directions each: far enough to leave the object and what belongs to
# it, near enough to meet as many others.
SHIFT_RADII = (10.0, 20.0)
SHIFT_LEAST = 1.0  # arcsec; a smaller radius is taken for this one, or 20 of them would end in the same galaxy
SHIFT_ANGLES = (0.0, 90.0, 180.0, 270.0)  # degrees, north through east; the second distance is turned by 45
N_SHIFTS = len(SHIFT_RADII) * len(SHIFT_ANGLES)


@dataclass(frozen=True)
class Matches:
    """The counterparts of objects, row by row; see `Counterparts`."""

    n_within: Int64[np.ndarray, " n"]
    separation_arcsec: Float[np.ndarray, " n"]
    row: Int64[np.ndarray, " n"]
    is_mutual: Bool[np.ndarray, " n"]

    @property
    def is_matched(self) -> Bool[np.ndarray, " n"]:
        """Which objects have a counterpart."""
        return self.n_within > 0


@dataclass(frozen=True)
class Chance:
    """What chance alone would match; see `chance_of`."""

    n_positions: int
    fraction: float
    fraction_error: float

    def n_false(self, n_objects: int, n_matched: int) -> float:
        """Expected false ones among the matched: of n objects, m matched, f (n - m) / (1 - f).

        Objects with a true counterpart are matched; of the others a part f is, by chance: m = t + f (n - t). NaN where
        the fraction is 1 or unknown. Not above m: where counterparts are fewer than chance gives, all may be false.
        """
        if not self.fraction < 1:
            return float("nan")
        return min(float(n_matched), self.fraction * (n_objects - n_matched) / (1 - self.fraction))


class Counterparts:
    """The nearest row of a table for each position, found while the table goes by in parts.

    Distances are those of unit vectors, so poles and ra = 0 are as any other place. Memory is that of the positions and
    of one part; the result does not depend on how the table is cut.

    Parameters
    ----------
    ra, dec
        ICRS, degrees. A position that is not finite has no counterpart.
    radius_arcsec
        Above 0 and at most 3,600 arcsec; a row just as far away is within.
    """

    def __init__(self, ra: Float[np.ndarray, " n"], dec: Float[np.ndarray, " n"], radius_arcsec: float) -> None:
        from scipy.spatial import cKDTree

        self._chord = chord_of_near(radius_arcsec)
        is_placed = np.isfinite(ra) & np.isfinite(dec)
        refuse_no_degrees(ra[is_placed], dec[is_placed])
        # Positions that are the same are one point: the pairs of many in one place would be their number squared.
        places, inverse = np.unique(ra[is_placed] + 1j * dec[is_placed], return_inverse=True)
        self._inverse = np.full(len(ra), -1, np.int64)
        self._inverse[is_placed] = inverse
        self._tree = cKDTree(unit_vectors(places.real, places.imag))
        n = len(places)
        self._n_within, self._row = np.zeros(n, np.int64), np.full(n, -1, np.int64)
        self._nearest, self._is_mutual = np.full(n, np.inf), np.zeros(n, bool)
        self.n_rows = self.n_rows_without_position = 0

    def look_at(self, ra: Float[np.ndarray, " m"], dec: Float[np.ndarray, " m"]) -> None:
        """Take in the next rows of the table, ICRS, degrees; those without a position are counted and passed over."""
        is_placed = np.isfinite(ra) & np.isfinite(dec)
        where = np.flatnonzero(is_placed)
        rows = self.n_rows + where
        self.n_rows += len(ra)
        self.n_rows_without_position += int((~is_placed).sum())
        refuse_no_degrees(ra[where], dec[where])
        for part, theirs, ours, chord in _pairs(unit_vectors(ra[where], dec[where]), self._tree, self._chord):
            self._take(rows[part], theirs, ours, chord)

    def _take(self, rows: np.ndarray, theirs: np.ndarray, ours: np.ndarray, chord: np.ndarray) -> None:
        """All pairs that some rows have: place among `rows`, place among our points, and their distance."""
        np.add.at(self._n_within, ours, 1)
        nearest_of_row = np.full(len(rows), np.inf)
        np.minimum.at(nearest_of_row, theirs, chord)
        order = np.lexsort((rows[theirs], chord, ours))
        is_first = np.r_[True, ours[order][1:] != ours[order][:-1]]
        best = order[is_first]
        best = best[chord[best] < self._nearest[ours[best]]]  # of equal ones the first row stays
        point = ours[best]
        self._nearest[point], self._row[point] = chord[best], rows[theirs[best]]
        self._is_mutual[point] = chord[best] == nearest_of_row[theirs[best]]

    def matches(self) -> Matches:
        """What was found in the rows so far.

        `n_within` counts rows within the radius; `separation_arcsec` (NaN where there is none) and `row` (-1) are of
        the nearest, of equally near ones the first. `is_mutual`: no object of ours is nearer to that row.
        """
        n = len(self._nearest)
        nothing = Matches(np.zeros(1, np.int64), np.full(1, np.nan), np.full(1, -1), np.zeros(1, bool))
        place = np.where(self._inverse < 0, n, self._inverse)
        separation = np.where(np.isfinite(self._nearest), _angle(self._nearest), np.nan)
        return Matches(
            np.append(self._n_within, nothing.n_within)[place],
            np.append(separation, nothing.separation_arcsec)[place],
            np.append(self._row, nothing.row)[place],
            np.append(self._is_mutual, nothing.is_mutual)[place],
        )


def pairs_within(
    ra: Float[np.ndarray, " n"],
    dec: Float[np.ndarray, " n"],
    other_ra: Float[np.ndarray, " m"],
    other_dec: Float[np.ndarray, " m"],
    radius_arcsec: float,
) -> tuple[Int64[np.ndarray, " k"], Int64[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """All pairs of two sets of positions: places in either, and separations in arcsec; all must be finite."""
    from scipy.spatial import cKDTree

    found = list(
        _pairs(unit_vectors(ra, dec), cKDTree(unit_vectors(other_ra, other_dec)), chord_of_near(radius_arcsec))
    )
    ours = np.concatenate([np.empty(0, np.int64), *(part.start + one for part, one, _, _ in found)])
    theirs = np.concatenate([np.empty(0, np.int64), *(other for _, _, other, _ in found)])
    return ours, theirs, _angle(np.concatenate([np.empty(0), *(chord for *_, chord in found)]))


def matches_of_pairs(
    n_objects: int,
    place: Int64[np.ndarray, " k"],
    separation_arcsec: Float[np.ndarray, " k"],
    counterpart: Int64[np.ndarray, " k"],
) -> Matches:
    """The counterparts of objects where all pairs are known; `Matches.row` is the nearest pair's place among them.

    Parameters
    ----------
    n_objects
        Objects in all.
    place, separation_arcsec, counterpart
        Of each pair: the object's place, how far apart, and a number for the other, the same in all pairs that it has.
    """
    order = np.lexsort((np.arange(len(place)), separation_arcsec, place))
    first = order[np.unique(place[order], return_index=True)[1]]
    nearest = np.full(int(counterpart.max(initial=-1)) + 1, np.inf)
    np.minimum.at(nearest, counterpart, separation_arcsec)
    n_within = np.bincount(place, minlength=n_objects).astype(np.int64)
    separation, row = np.full(n_objects, np.nan), np.full(n_objects, -1, np.int64)
    separation[place[first]], row[place[first]] = separation_arcsec[first], first
    is_mutual = np.zeros(n_objects, bool)
    is_mutual[place[first]] = separation_arcsec[first] == nearest[counterpart[first]]
    return Matches(n_within, separation, row, is_mutual)


def shifted(
    ra: Float[np.ndarray, " n"], dec: Float[np.ndarray, " n"], radius_arcsec: float
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Positions moved off themselves, `N_SHIFTS` times, one shift after the other: k = 8 n, degrees.

    Each is 10 or 20 radii away, in four directions, along great circles. What is matched with them is so by chance, in
    a sky that is as crowded as around the objects.
    """
    right, up = np.radians(ra), np.radians(dec)
    east = np.stack([-np.sin(right), np.cos(right), np.zeros(len(right))], axis=1)
    north = np.stack([-np.sin(up) * np.cos(right), -np.sin(up) * np.sin(right), np.cos(up)], axis=1)
    points, moved = unit_vectors(ra, dec), []
    for turn, radii in enumerate(SHIFT_RADII):
        angle = radii * max(radius_arcsec, SHIFT_LEAST) * ARCSEC
        for degrees in SHIFT_ANGLES:
            toward = np.radians(degrees + 45 * turn)
            tangent = np.cos(toward) * north + np.sin(toward) * east
            moved.append(np.cos(angle) * points + np.sin(angle) * tangent)
    x, y, z = np.concatenate(moved).T
    return np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))


def chance_of(n_within: Int64[np.ndarray, " k"]) -> Chance:
    """The part of shifted positions that have a counterpart, of `Matches.n_within` in the order of `shifted`.

    The error is the larger of what counting gives, sqrt(n) of the n matched (at least 1), and the standard error of the
    eight shifts' mean, which knows that the sky is clustered. Without positions all is NaN.
    """
    if not len(n_within):
        return Chance(0, float("nan"), float("nan"))
    fractions = (n_within.reshape(N_SHIFTS, -1) > 0).mean(axis=1)
    counted = np.sqrt(max(1, (n_within > 0).sum())) / len(n_within)
    error = max(float(counted), float(fractions.std(ddof=1) / np.sqrt(N_SHIFTS)))
    return Chance(len(n_within), float(fractions.mean()), error)


def refuse_no_degrees(ra: Float[np.ndarray, " n"], dec: Float[np.ndarray, " n"]) -> None:
    """Check that finite positions may be degrees: ra from -180 to 360, dec from -90 to 90.

    Raises
    ------
    ValueError
        One is not, naming it.
    """
    for name, values, low, high in (("ra", ra, -180, 360), ("dec", dec, -90, 90)):
        is_out = (values < low) | (values > high)
        if is_out.any():
            hint = "; are ra and dec interchanged?" if name == "dec" else ""
            raise ValueError(f"{name} must be from {low} to {high} degrees, got {values[is_out][0]:g}{hint}")


def _angle(chord: np.ndarray) -> np.ndarray:
    """Arcsec of distances between unit vectors; exact for the small ones, as a scalar product is not."""
    return 2 * np.arcsin(np.minimum(chord / 2, 1)) / ARCSEC


def _pairs(
    points: np.ndarray, tree: object, chord: float
) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
    """Pairs at most a chord apart, in parts that hold all pairs of their points.

    Yields the part of `points`, places in that part, places in the tree, and distances.
    """
    from scipy.spatial import cKDTree

    waiting = [slice(0, len(points))] if len(points) else []
    while waiting:
        part = waiting.pop()
        mine, n = cKDTree(points[part]), part.stop - part.start
        n_pairs = mine.count_neighbors(tree, chord)
        if n_pairs > PAIRS_AT_ONCE and n > 1:
            waiting += [slice(part.start + n // 2, part.stop), slice(part.start, part.start + n // 2)]
        elif n_pairs:
            found = mine.sparse_distance_matrix(tree, chord, output_type="ndarray")
            yield part, found["i"].astype(np.int64), found["j"].astype(np.int64), found["v"]
