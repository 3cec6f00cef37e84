"""Pieces of one galaxy: groups on the sky by friends of friends."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64

from peculiar.catalog.sphere import chord_of_near, unit_vectors

PAIRS_AT_ONCE = 2_000_000  # 48 MB of pairs; memory does not grow with how crowded the sky is
POINTS_AT_ONCE = 200_000


@dataclass(frozen=True)
class Groups:
    """The groups of objects, row by row; see `group_objects`."""

    group_id: Int64[np.ndarray, " n"]
    size: Int64[np.ndarray, " n"]
    rank: Int64[np.ndarray, " n"]
    is_representative: Bool[np.ndarray, " n"]
    is_placed: Bool[np.ndarray, " n"]

    @property
    def n_groups(self) -> int:
        """Groups of two or more."""
        return int((self.is_representative & (self.size > 1)).sum())

    @property
    def n_grouped(self) -> int:
        """Objects that have another within the radius."""
        return int((self.size > 1).sum())


def group_objects(
    object_id: Int64[np.ndarray, " n"],
    ra: Float[np.ndarray, " n"],
    dec: Float[np.ndarray, " n"],
    value: Float[np.ndarray, " n"],
    *,
    radius_arcsec: float,
) -> Groups:
    """Group objects that are pieces of one galaxy, as far as positions can tell.

    Parameters
    ----------
    object_id
        Unique.
    ra, dec
        ICRS, degrees.
    value
        What the members of a group are ordered by, the largest first; NaN is last, equal values by id.
    radius_arcsec
        See `friends_of_friends`.

    Returns
    -------
    `group_id` is the smallest object_id of the group, so that it stays when others come; `rank` is 1 for the member of
    the largest value, the representative. An object alone is a group of one. One without a position is in none:
    `is_placed` is False, `group_id`, `size` and `rank` are 0, and it stands for itself.
    """
    label = friends_of_friends(ra, dec, radius_arcsec)
    is_placed = label >= 0
    where = np.flatnonzero(is_placed)
    keys = np.where(np.isnan(value[where]), np.inf, -value[where])
    order = where[np.lexsort((object_id[where], keys, label[where]))]
    sorted_label = label[order]
    is_first = np.r_[True, sorted_label[1:] != sorted_label[:-1]] if len(order) else np.empty(0, bool)
    starts = np.flatnonzero(is_first)
    number = np.cumsum(is_first) - 1
    sizes = np.diff(np.r_[starts, len(order)])
    n = len(object_id)
    group_id, size, rank = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    if len(order):
        group_id[order] = np.minimum.reduceat(object_id[order], starts)[number]
        size[order] = sizes[number]
        rank[order] = np.arange(len(order)) - starts[number] + 1
    return Groups(group_id, size, rank, (rank == 1) | ~is_placed, is_placed)


def friends_of_friends(
    ra: Float[np.ndarray, " n"], dec: Float[np.ndarray, " n"], radius_arcsec: float
) -> Int64[np.ndarray, " n"]:
    """Number the groups of positions that are joined by steps of at most a radius (Huchra & Geller 1982).

    Distances are those of unit vectors, so poles and ra = 0 are as any other place. A position that is not finite is
    in no group, -1. Pairs are gone through some at a time: memory is that of the positions.

    Parameters
    ----------
    ra, dec
        ICRS, degrees; dec from -90 to 90.
    radius_arcsec
        Above 0 and at most 3,600 arcsec.
    """
    chord = chord_of_near(radius_arcsec)
    is_placed = np.isfinite(ra) & np.isfinite(dec)
    if (np.abs(dec[is_placed]) > 90).any():
        worst = dec[is_placed][np.argmax(np.abs(dec[is_placed]))]
        raise ValueError(f"dec must be from -90 to 90 degrees, got {worst}; are ra and dec interchanged?")
    label = np.full(len(ra), -1, np.int64)
    # Positions that are the same, some catalogs' (0, 0) say, are one point: their pairs would be their number squared.
    places, inverse = np.unique(ra[is_placed] + 1j * dec[is_placed], return_inverse=True)
    points = unit_vectors(places.real, places.imag)
    label[is_placed] = _connected(points, chord)[inverse]
    return label


def _connected(points: np.ndarray, chord: float) -> np.ndarray:
    """Component of every point where those at most a chord apart are joined."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    n = len(points)
    label = np.arange(n)
    if not n:
        return label
    tree = cKDTree(points)
    order = tree.indices  # near each other on the sky, so that a part's own tree is small in space
    n_near = tree.query_ball_point(points[order], chord, return_length=True)
    for part in _parts(n_near):
        mine = order[part]
        pairs = cKDTree(points[mine]).sparse_distance_matrix(tree, chord, output_type="ndarray")
        one, other = label[mine[pairs["i"]]], label[pairs["j"]]
        is_new = one != other
        if is_new.any():
            edges = coo_array((np.ones(is_new.sum(), np.int8), (one[is_new], other[is_new])), shape=(n, n))
            label = connected_components(edges, directed=False)[1].astype(np.int64)[label]
    return label


def _parts(n_near: np.ndarray) -> list[slice]:
    """Runs of points with at most `PAIRS_AT_ONCE` pairs together, or of one point."""
    total = np.cumsum(n_near)
    parts, start = [], 0
    while start < len(n_near):
        before = total[start - 1] if start else 0
        stop = int(np.searchsorted(total, before + PAIRS_AT_ONCE, side="right"))
        stop = min(max(stop, start + 1), start + POINTS_AT_ONCE)
        parts.append(slice(start, stop))
        start = stop
    return parts
