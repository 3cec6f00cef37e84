"""Nearest and farthest vectors, exactly: sought in float32 by matrix products, decided and measured in float64."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64, Shaped

AT_ONCE = 2**24  # numbers of the table of queries by vectors: 64 MB
ROWS_AT_ONCE = 65_536  # vectors taken to float64 at once
ROUNDING = 2.0**-24  # unit roundoff of float32


@dataclass(frozen=True)
class Scale:
    """The frozen mean and deviation of each component, by which vectors are made comparable.

    Distances are Euclidean after every component was divided by its deviation: feature sets mix components of unlike
    scale and unit (magnitudes, a network's activations), and without it the largest alone would decide. Components are
    not decorrelated: that would raise directions of pure noise to the rank of the others.
    """

    mean: Float64[np.ndarray, " n_features"]
    deviation: Float64[np.ndarray, " n_features"]

    @classmethod
    def of(cls, blocks: Iterable[Float[np.ndarray, "_ n_features"]]) -> "Scale":
        """Mean and deviation of all vectors, given a block at a time; those that are not finite do not count.

        Raises
        ------
        ValueError
            No vector is finite.
        """
        n, origin, total, squares = 0, np.empty(0), np.empty(0), np.empty(0)
        for block in blocks:
            rows = block[np.isfinite(block).all(axis=1)].astype(np.float64)
            if not n and len(rows):
                # Differences from a member: a constant component has exactly no deviation.
                origin, total, squares = rows[0], np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
            if len(rows):
                n, rows = n + len(rows), rows - origin
                total, squares = total + rows.sum(axis=0), squares + (rows**2).sum(axis=0)
        if not n:
            raise ValueError("a scale needs at least one vector whose components are all finite, got none")
        return cls(origin + total / n, np.sqrt(np.maximum(squares / n - (total / n) ** 2, 0)))

    def standardized(self, vectors: Float[np.ndarray, "n n_features"]) -> Float32[np.ndarray, "n n_features"]:
        """(vector - mean) / deviation; 0 in components that are constant; NaN stays NaN."""
        inverse = np.divide(1, self.deviation, out=np.zeros_like(self.deviation), where=self.deviation > 0)
        result = np.empty(vectors.shape, np.float32)
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            result[part] = (vectors[part] - self.mean) * inverse
        return result

    def to_json(self) -> dict[str, list[float]]:
        """For `scale.json`; every number comes back as it was."""
        return {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}

    @classmethod
    def from_json(cls, written: dict[str, list[float]]) -> "Scale":
        """Undo `to_json`."""
        return cls(np.array(written["mean"]), np.array(written["deviation"]))


class Neighbors:
    """Vectors made ready to be searched, taken as float32; those that are not finite are never found.

    Raises
    ------
    ValueError
        A vector is so long that its square is no float32.
    """

    def __init__(self, vectors: Float[np.ndarray, "n n_features"]) -> None:
        is_finite = np.isfinite(vectors).all(axis=1)
        self._rows = None if is_finite.all() else np.flatnonzero(is_finite)
        kept = vectors if self._rows is None else vectors[self._rows]
        self.vectors: np.ndarray = np.ascontiguousarray(kept, np.float32)
        squares = np.einsum("ij,ij->i", self.vectors, self.vectors, dtype=np.float64)
        self._longest = float(np.sqrt(squares.max(initial=0)))
        _refuse_long(self._longest)
        self._squares = squares.astype(np.float32)

    def __len__(self) -> int:
        return len(self.vectors)

    def nearest(
        self,
        queries: Float[np.ndarray, "q n_features"],
        n: int,
        *,
        is_farthest: bool = False,
        own_rows: Int64[np.ndarray, " q"] | None = None,
    ) -> tuple[Int64[np.ndarray, "q found"], Float64[np.ndarray, "q found"]]:
        """Rows and Euclidean distances of the n vectors nearest to each query, or farthest from it; equal ones by row.

        The float32 products only choose candidates, with a bound on their rounding that lets none be missed; the order
        and the distances are of float64 differences, and depend on nothing but the query and the vectors.

        Parameters
        ----------
        own_rows
            The row of `vectors` that each query is itself, which is left out; -1 for none.

        Raises
        ------
        ValueError
            n is less than 1, or a query is not finite.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        bad = np.flatnonzero(~np.isfinite(queries).all(axis=1))
        if len(bad):
            raise ValueError(f"queries must be finite, got NaN or infinity in query {', '.join(map(str, bad[:5]))}")
        n_found = min(n + (own_rows is not None), len(self))
        rows, squares = np.empty((len(queries), n_found), np.int64), np.empty((len(queries), n_found))
        at_once = max(1, AT_ONCE // max(1, len(self)))
        for start in range(0, len(queries) if n_found else 0, at_once):
            part = queries[start : start + at_once].astype(np.float64)
            _refuse_long(float(np.linalg.norm(part, axis=1).max()))
            keys = (-2 * part).astype(np.float32) @ self.vectors.T
            keys += self._squares  # |a - b|^2 but for the query's own square
            if is_farthest:
                np.negative(keys, out=keys)
            for place, query in enumerate(part, start):
                rows[place], squares[place] = self._first(keys[place - start], query, n_found, is_farthest)
        if self._rows is not None:
            rows = self._rows[rows]
        return (rows, np.sqrt(squares)) if own_rows is None else _without(own_rows, rows, np.sqrt(squares))

    def _first(self, keys: np.ndarray, query: np.ndarray, n: int, is_farthest: bool) -> tuple[np.ndarray, np.ndarray]:
        """Rows and exact squared distances of the n smallest keys, were these exact."""
        sign = -1.0 if is_farthest else 1.0
        likely = np.flatnonzero(keys <= np.partition(keys, n - 1)[n - 1])
        bound = np.partition(sign * self._squared(likely, query), n - 1)[n - 1]  # the true n-th is not beyond it
        # Dot products of d float32 numbers err by d roundings of |a| |b| at most, in whatever order they are summed
        # (Higham 2002, sect. 3.1); twice that, for the other roundings. No vector as near as `bound` is longer.
        length = float(np.sqrt(query @ query))
        longest = self._longest if is_farthest else length + np.sqrt(bound)
        slack = 2 * ROUNDING * (len(query) + 8) * (length + longest) ** 2 + np.finfo(np.float32).tiny
        candidates = np.flatnonzero(keys <= np.float32(bound - sign * length**2 + slack))
        squared = self._squared(candidates, query)
        order = np.argsort(sign * squared, kind="stable")[:n]
        return candidates[order], squared[order]

    def _squared(self, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
        result = np.empty(len(rows))
        for start in range(0, len(rows), ROWS_AT_ONCE):
            difference = self.vectors[rows[start : start + ROWS_AT_ONCE]] - query
            result[start : start + ROWS_AT_ONCE] = (difference * difference).sum(axis=1)
        return result


def nearest(
    vectors: Float[np.ndarray, "n n_features"],
    queries: Float[np.ndarray, "q n_features"],
    n: int,
    *,
    is_farthest: bool = False,
    own_rows: Int64[np.ndarray, " q"] | None = None,
) -> tuple[Int64[np.ndarray, "q found"], Float64[np.ndarray, "q found"]]:
    """Rows and distances of the n vectors nearest to each query, or farthest from it. See `Neighbors.nearest`.

    Fewer than n columns where there are fewer finite vectors.
    """
    return Neighbors(vectors).nearest(queries, n, is_farthest=is_farthest, own_rows=own_rows)


def nearest_in_blocks(
    blocks: Iterable[tuple[Int64[np.ndarray, " _"], Float[np.ndarray, "_ n_features"]]],
    queries: Float[np.ndarray, "q n_features"],
    n: int,
    *,
    is_farthest: bool = False,
) -> tuple[Int64[np.ndarray, "q found"], Float64[np.ndarray, "q found"]]:
    """Ids and distances of the nearest, or farthest, of vectors that come with their ids a block at a time.

    As `nearest`, for what does not fit into memory; equal distances by id.
    """
    ids, distances = np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0))
    sign = -1 if is_farthest else 1
    for block_ids, vectors in blocks:
        by_id = np.argsort(block_ids, kind="stable")
        rows, found = nearest(vectors[by_id], queries, n, is_farthest=is_farthest)
        ids = np.concatenate([ids, block_ids[by_id][rows]], axis=1)
        distances = np.concatenate([distances, found], axis=1)
        order = np.lexsort((ids, sign * distances), axis=1)[:, :n]
        ids, distances = np.take_along_axis(ids, order, 1), np.take_along_axis(distances, order, 1)
    return ids, distances


def mean_distance(
    vectors: Float[np.ndarray, "n n_features"],
    queries: Float[np.ndarray, "q n_features"],
    n_neighbors: int = 10,
    *,
    own_rows: Int64[np.ndarray, " q"] | None = None,
) -> Float64[np.ndarray, " q"]:
    """Mean distance of each query to its n nearest others: score_neighbors of METHOD.md sect. 8; larger is odder.

    The average k-nearest-neighbor distance of Angiulli & Pizzuti (2002). All there are where there are fewer than
    `n_neighbors`. NaN where the query is not finite, or nothing is there to compare it with.

    Parameters
    ----------
    vectors
        What is compared with: all objects, or a reference sample. Standardize them first (`Scale`).
    own_rows
        The row of `vectors` that each query is itself, which is left out; -1 for none.
    """
    result = np.full(len(queries), np.nan)
    usable = np.flatnonzero(np.isfinite(queries).all(axis=1))
    crowd = Neighbors(vectors)
    for start in range(0, len(usable), ROWS_AT_ONCE):
        some = usable[start : start + ROWS_AT_ONCE]
        own = None if own_rows is None else own_rows[some]
        _, distances = crowd.nearest(queries[some], n_neighbors, own_rows=own)
        if distances.shape[1]:
            result[some] = distances.mean(axis=1)
    return result


def purity(labels: Shaped[np.ndarray, " n"], neighbor_rows: Int64[np.ndarray, "n k"]) -> dict[Any, float]:
    """Fraction of an object's neighbors that share its label, averaged over the objects of each class.

    By chance it is the class's part of all objects: compare with that. A label of NaN is no class, and as a neighbor
    it shares none. No neighbors at all give NaN.

    Parameters
    ----------
    neighbor_rows
        Row i: the rows of the neighbors of object i, itself left out (`nearest` with `own_rows`).
    """
    is_shared = labels[neighbor_rows] == labels[:, None]
    n_neighbors = neighbor_rows.shape[1]
    is_named = np.asarray(labels == labels)  # NaN is not itself
    found = {each: is_shared[labels == each] for each in np.unique(labels[is_named]).tolist()}
    return {each: float(shared.mean()) if n_neighbors else float("nan") for each, shared in found.items()}


def _refuse_long(length: float) -> None:
    if length > np.sqrt(np.finfo(np.float32).max) / 4:
        raise ValueError(f"vectors must be shorter than 4e18, got one of {length:.3g}; standardize them first")


def _without(own_rows: np.ndarray, rows: np.ndarray, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All but itself where it was found, all but the last where it was not."""
    n_kept = max(0, rows.shape[1] - 1)
    is_own = rows == own_rows[:, None]
    is_last = np.arange(rows.shape[1]) == n_kept
    is_kept = ~np.where(is_own.any(axis=1, keepdims=True), is_own, is_last)
    return rows[is_kept].reshape(len(rows), n_kept), distances[is_kept].reshape(len(rows), n_kept)
