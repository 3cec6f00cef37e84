"""Which positions are inside shapes on the sky, and what fraction of a sample that is."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from itertools import chain

import numpy as np
from jaxtyping import Bool, Float, Int8, Int64

from peculiar.catalog.sphere import unit_vectors

MAX_SIZE = 20.0  # degrees; beyond it a box of great circles is not what people mean by its width and height
MAX_REACH = 60.0  # degrees from a polygon's center to its farthest corner
PAIRS_AT_ONCE = 1_000_000  # 100 MB or so; memory does not grow with how many shapes overlap
WIDER = 1e-9  # candidates are sought within a radius that is larger by this part, so that rounding loses none


class Kind(IntEnum):
    """What a shape is; one with a hole is an annulus."""

    CIRCLE = 0
    ELLIPSE = 1
    BOX = 2
    POLYGON = 3


@dataclass(frozen=True)
class Shapes:
    """Shapes on the sky, row by row. Lengths and angles are degrees, places ICRS.

    Parameters
    ----------
    kind
        `Kind`.
    ra, dec
        Center; not read of a polygon.
    width, height
        Whole sizes, of a circle both its diameter; height lies to the north where `angle` is 0. At most `MAX_SIZE` of
        a box and an ellipse. Not read of a polygon.
    inner_width, inner_height
        Those of the hole, 0 where there is none.
    angle
        Position angle of the height, from north through east, as DS9 has it.
    is_excluded
        Whether the shape takes away from the others.
    corners
        Right ascension and declination of all polygons' corners, one polygon after another.
    first
        Where each shape's corners begin, and at last where all end; a shape that is no polygon has none.
    """

    kind: Int8[np.ndarray, " n"]
    ra: Float[np.ndarray, " n"]
    dec: Float[np.ndarray, " n"]
    width: Float[np.ndarray, " n"]
    height: Float[np.ndarray, " n"]
    inner_width: Float[np.ndarray, " n"]
    inner_height: Float[np.ndarray, " n"]
    angle: Float[np.ndarray, " n"]
    is_excluded: Bool[np.ndarray, " n"]
    corners: Float[np.ndarray, "m 2"]
    first: Int64[np.ndarray, " n+1"]

    def __len__(self) -> int:
        return len(self.kind)

    @cached_property
    def center(self) -> Float[np.ndarray, "n 3"]:
        """Unit vectors of the centers; a polygon's is the mean of its corners."""
        found = unit_vectors(self.ra, self.dec)
        polygon = np.flatnonzero(self.kind == Kind.POLYGON)
        if len(polygon):
            summed = np.add.reduceat(unit_vectors(*self.corners.T), self.first[polygon], axis=0)
            found[polygon] = summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), WIDER)
        return found

    @cached_property
    def reach(self) -> Float[np.ndarray, " n"]:
        """Angle from the center beyond which nothing is inside, degrees."""
        half = np.radians(np.stack([self.width, self.height]) / 2)
        polygon = np.flatnonzero(self.kind == Kind.POLYGON)
        half[:, polygon] = 0  # what stands there is not read
        found = np.where(self.kind == Kind.BOX, np.arctan(np.hypot(*np.tan(half))), half.max(axis=0))
        if len(polygon):
            apart = np.linalg.norm(unit_vectors(*self.corners.T) - self.center[self._shape_of_corner], axis=1)
            farthest = np.maximum.reduceat(apart, self.first[polygon])
            found[polygon] = 2 * np.arcsin(np.minimum(farthest / 2, 1))
        return np.degrees(found)

    @cached_property
    def _shape_of_corner(self) -> Int64[np.ndarray, " m"]:
        return np.repeat(np.arange(len(self)), np.diff(self.first))

    @cached_property
    def axes(self) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
        """Unit vectors to the east and to the north at the centers; at a pole those of the center's ra."""
        right = np.arctan2(self.center[:, 1], self.center[:, 0])
        is_polygon = self.kind == Kind.POLYGON
        right = np.where(is_polygon, right, np.radians(self.ra))
        east = np.stack([-np.sin(right), np.cos(right), np.zeros(len(self))], axis=1)
        return east, np.cross(self.center, east)

    @cached_property
    def plane_corners(self) -> Float[np.ndarray, "m 2"]:
        """Corners in the tangent plane at their polygon's center, radians to the east and to the north."""
        return np.stack(_in_plane(self, self._shape_of_corner, unit_vectors(*self.corners.T))[:2], axis=1)


def inside_shapes(ra: Float[np.ndarray, " n"], dec: Float[np.ndarray, " n"], shapes: Shapes) -> Bool[np.ndarray, " n"]:
    """Say which positions are inside any of the shapes and in none that is excluded, whatever their order.

    Circles are taken by angular distance. Ellipses, boxes and polygons are tested in the tangent plane at their center,
    in which great circles are straight: the sides of boxes and polygons are great circles, and widths and heights
    are angles along the axes. A border belongs to its shape. A polygon that crosses itself is filled by the even-odd
    rule, as in DS9. Only positions near a shape are tested for it, some pairs at a time.

    Parameters
    ----------
    ra, dec
        ICRS, degrees; dec from -90 to 90. A position that is not finite is inside nothing.
    shapes
        See `Shapes`.

    Raises
    ------
    ValueError
        A declination is none; an ellipse or a box is larger than `MAX_SIZE`, or a polygon reaches farther than
        `MAX_REACH`, so that the tangent plane would not tell what was meant.
    """
    _check_sizes(shapes)
    is_placed = np.isfinite(ra) & np.isfinite(dec)
    if (np.abs(dec[is_placed]) > 90).any():
        worst = dec[is_placed][np.argmax(np.abs(dec[is_placed]))]
        raise ValueError(f"dec must be from -90 to 90 degrees, got {worst}; are ra and dec interchanged?")
    found = np.zeros(len(ra), bool)
    where = np.flatnonzero(is_placed)
    points = unit_vectors(ra[where], dec[where])
    is_in = _covered(points, shapes, np.flatnonzero(~shapes.is_excluded))
    where, points = where[is_in], points[is_in]
    found[where] = ~_covered(points, shapes, np.flatnonzero(shapes.is_excluded))
    return found


def _check_sizes(shapes: Shapes) -> None:
    is_polygon, is_circle = shapes.kind == Kind.POLYGON, shapes.kind == Kind.CIRCLE
    size = np.where(is_polygon | is_circle, 0, np.maximum(shapes.width, shapes.height))
    for what, value, largest in (
        ("the width and height of an ellipse or a box", size, MAX_SIZE),
        ("the reach of a polygon from its center", np.where(is_polygon, shapes.reach, 0), MAX_REACH),
    ):
        if (value > largest).any():
            worst = int(np.argmax(value))
            raise ValueError(
                f"{what} must be at most {largest:g} degrees, got {value[worst]:g} of shape {worst}; "
                "cover that area by smaller shapes or by a MOC"
            )


def flagged(values: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Say which values of a flag are set: true, or any number but zero; what is missing, NaN, is not."""
    return (values != 0) & ~np.isnan(values)


@dataclass(frozen=True)
class Fraction:
    """How many of a sample are inside, and the fraction with its 68 % interval; NaN of nothing."""

    n: int
    n_inside: int
    fraction: float
    low: float
    high: float


def fraction_of(is_inside: Bool[np.ndarray, " n"]) -> Fraction:
    """Give the fraction that is inside with its 68 % score interval (Wilson 1927), which stays within 0 and 1."""
    n, n_inside = len(is_inside), int(is_inside.sum())
    if not n:
        return Fraction(0, 0, np.nan, np.nan, np.nan)
    part = n_inside / n
    # One standard deviation: z = 1 in Wilson's formula.
    middle, half = (part + 0.5 / n) / (1 + 1 / n), np.sqrt(part * (1 - part) / n + 0.25 / n**2) / (1 + 1 / n)
    return Fraction(n, n_inside, part, float(max(middle - half, 0)), float(min(middle + half, 1)))


def _covered(points: np.ndarray, shapes: Shapes, chosen: np.ndarray) -> np.ndarray:
    """Which points are inside any of the chosen shapes."""
    from scipy.spatial import cKDTree

    found = np.zeros(len(points), bool)
    if not len(points) or not len(chosen):
        return found
    chord = 2 * np.sin(np.radians(np.minimum(shapes.reach[chosen], 180)) / 2) * (1 + WIDER) + 1e-15
    tree = cKDTree(points)
    n_near = tree.query_ball_point(shapes.center[chosen], chord, return_length=True)
    for part in _parts(n_near):
        mine = chosen[part]
        if n_near[part].sum() > PAIRS_AT_ONCE:  # one shape, larger than most of the survey
            for start in range(0, len(points), PAIRS_AT_ONCE):
                block = points[start : start + PAIRS_AT_ONCE]
                found[start : start + len(block)] |= _contains(shapes, np.full(len(block), mine[0]), block)
            continue
        lists = tree.query_ball_point(shapes.center[mine], chord[part], return_sorted=False)
        place = np.fromiter(chain.from_iterable(lists), np.int64, n_near[part].sum())
        is_in = _contains(shapes, np.repeat(mine, n_near[part]), points[place])
        found[place[is_in]] = True
    return found


def _parts(n_near: np.ndarray) -> Iterator[np.ndarray]:
    """Runs of shapes with at most `PAIRS_AT_ONCE` points near them together, or one shape; none without any."""
    near = np.flatnonzero(n_near)
    total = np.concatenate([[0], np.cumsum(n_near[near])])
    start = 0
    while start < len(near):
        stop = int(np.searchsorted(total, total[start] + PAIRS_AT_ONCE, side="right")) - 1
        stop = max(stop, start + 1)
        yield near[start:stop]
        start = stop


def _contains(shapes: Shapes, shape: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whether each point is inside the shape that it is paired with."""
    found, kind = np.zeros(len(shape), bool), shapes.kind[shape]
    tests = {Kind.CIRCLE: _in_circle, Kind.ELLIPSE: _in_ellipse, Kind.BOX: _in_box, Kind.POLYGON: _in_polygon}
    for each, is_in in tests.items():
        mine = np.flatnonzero(kind == each)
        if len(mine):
            found[mine] = is_in(shapes, shape[mine], points[mine])
    return found


def _in_circle(shapes: Shapes, shape: np.ndarray, points: np.ndarray) -> np.ndarray:
    apart = ((points - shapes.center[shape]) ** 2).sum(axis=1)  # squared chord: exact where the angle is small too
    outer, inner = (
        4 * np.sin(np.radians(np.minimum(each[shape], 360)) / 4) ** 2 for each in (shapes.width, shapes.inner_width)
    )
    is_everywhere = shapes.width[shape] >= 360
    return ((apart <= outer) | is_everywhere) & ~(apart < inner)


def _in_plane(shapes: Shapes, shape: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points in the tangent planes of their shapes: radians to the east and north, and whether they are there."""
    east, north = shapes.axes
    cosine = (points * shapes.center[shape]).sum(axis=1)
    is_there = cosine > 0  # the other half of the sky is in no tangent plane
    from_center = points - shapes.center[shape]  # keeps the digits that are lost in the products of unit vectors
    scale = np.where(is_there, cosine, 1)
    x, y = ((from_center * axis[shape]).sum(axis=1) / scale for axis in (east, north))
    return x, y, is_there


def _on_axes(shapes: Shapes, shape: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `_in_plane`, along the shape's width and height."""
    x, y, is_there = _in_plane(shapes, shape, points)
    turned = np.radians(shapes.angle[shape])
    return x * np.cos(turned) - y * np.sin(turned), x * np.sin(turned) + y * np.cos(turned), is_there


def _halves(width: np.ndarray, height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half sizes in the tangent plane."""
    return np.tan(np.radians(width / 2)), np.tan(np.radians(height / 2))


def _in_ellipse(shapes: Shapes, shape: np.ndarray, points: np.ndarray) -> np.ndarray:
    across, along, is_there = _on_axes(shapes, shape, points)
    a, b = _halves(shapes.width[shape], shapes.height[shape])
    inner_a, inner_b = _halves(shapes.inner_width[shape], shapes.inner_height[shape])
    has_hole = inner_a > 0
    inner_a, inner_b = np.where(has_hole, inner_a, 1), np.where(has_hole, inner_b, 1)
    in_hole = has_hole & ((across / inner_a) ** 2 + (along / inner_b) ** 2 < 1)
    return is_there & ((across / a) ** 2 + (along / b) ** 2 <= 1) & ~in_hole


def _in_box(shapes: Shapes, shape: np.ndarray, points: np.ndarray) -> np.ndarray:
    across, along, is_there = _on_axes(shapes, shape, points)
    a, b = _halves(shapes.width[shape], shapes.height[shape])
    inner_a, inner_b = _halves(shapes.inner_width[shape], shapes.inner_height[shape])
    in_hole = (np.abs(across) < inner_a) & (np.abs(along) < inner_b)
    return is_there & (np.abs(across) <= a) & (np.abs(along) <= b) & ~in_hole


def _in_polygon(shapes: Shapes, shape: np.ndarray, points: np.ndarray) -> np.ndarray:
    """By the even-odd rule; one side of all polygons at a time."""
    x, y, is_there = _in_plane(shapes, shape, points)
    start, n_sides = shapes.first[shape], np.diff(shapes.first)[shape]
    found = np.zeros(len(shape), bool)
    order = np.argsort(-n_sides, kind="stable")  # those with a k-th side stand first
    fewer = np.searchsorted(-n_sides[order], -np.arange(n_sides.max() + 1), side="right")
    for side, stop in enumerate(fewer[1:]):
        mine = order[:stop]
        one, other = start[mine] + side, start[mine] + (side + 1) % n_sides[mine]
        (ax, ay), (bx, by) = shapes.plane_corners[one].T, shapes.plane_corners[other].T
        rise = np.where(ay == by, 1, by - ay)  # a level side is crossed by no level line
        is_crossed = ((ay > y[mine]) != (by > y[mine])) & (x[mine] < (bx - ax) * (y[mine] - ay) / rise + ax)
        found[mine] ^= is_crossed
    return found & is_there
