"""A feature set opened for search: the objects most like, and least like, one object, a group, or a given vector."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from peculiar.feature_set import FeatureSet, scan_vectors, take_vectors, vectors_of
from peculiar.run import home_of, read_run
from peculiar.survey import Table, first_few, missing_objects

if TYPE_CHECKING:
    from peculiar.scoring.neighbors import Scale

log = logging.getLogger(__name__)
EXACT_ROWS = 1_000_000  # fewer are held in memory: 256 MB at 64 features
N_SIMILAR = 24
N_NEIGHBORS = 10  # that the recall of an index is measured with
SCAN_ROWS = 65_536
Found = tuple[np.ndarray, np.ndarray]  # object_id int64 (n,), distance float64 (n,)


class _Searched(Protocol):
    """Standardized vectors that can be taken by id and searched; equal distances by id."""

    scale: "Scale"

    def take(self, object_ids: np.ndarray) -> np.ndarray: ...

    def nearest(self, query: np.ndarray, n: int, *, is_farthest: bool = False, is_mean: bool = False) -> Found: ...


class Similar:
    """`features/<features>` of the atlas in `folder`, opened once to be asked often.

    Fewer than a million objects are held in memory and compared one and all; more are found by the index in
    `indices/<features>`, whose `run.json` says how many of the true neighbors it finds. Distances are Euclidean between
    standardized vectors, in float64, either way.

    Raises
    ------
    FileNotFoundError
        The feature set, or for a million objects its index, is not complete.
    """

    def __init__(self, folder: Path, features: str) -> None:
        opened = FeatureSet(folder, features)
        self.n_features = opened.n_features
        self.searched: _Searched = HeldVectors(opened) if len(opened) < EXACT_ROWS else VectorIndex(folder, features)

    def to(self, object_ids: np.ndarray | list[int], n: int = N_SIMILAR, *, is_farthest: bool = False) -> Found:
        """Ids and distances of the n objects most like these, or least; these themselves are left out.

        The distance to a group is the root of the mean squared distance to its members, which orders objects by their
        distance to the group's mean: what the members have in common counts, one odd member does not decide, and a
        group costs what one object costs. Where a group is of several kinds, ask for each.

        Raises
        ------
        KeyError
            An id is not there; the first few are named.
        ValueError
            No id is given, or the features of an object are not finite.
        """
        members = np.unique(np.asarray(object_ids, np.int64))
        if not len(members):
            raise ValueError("object_ids must name at least one object, got none")
        return self._like(self.searched.take(members), members, n, is_farthest)

    def to_one_of(self, object_id: int, among: np.ndarray, n: int = N_SIMILAR) -> Found:
        """Ids and distances of those of the objects `among` that are most like one object; fewer where few are."""
        n_asked = 4 * n
        while True:
            ids, distances = self.to([object_id], n_asked)
            is_one = np.isin(ids, among)
            if is_one.sum() >= n or len(ids) < n_asked:
                return ids[is_one][:n], distances[is_one][:n]
            n_asked *= 4

    def to_vector(self, vectors: np.ndarray, n: int = N_SIMILAR, *, is_farthest: bool = False) -> Found:
        """Ids and distances of the n objects most like a vector, or a group of them, from outside the survey.

        Parameters
        ----------
        vectors
            (n_features,) or (m, n_features), as the feature set's own network makes them: not standardized.

        Raises
        ------
        ValueError
            They are of another length, or not finite.
        """
        rows = np.atleast_2d(np.asarray(vectors))
        if rows.ndim != 2 or rows.shape[1] != self.n_features or not len(rows):
            raise ValueError(
                f"vectors must be ({self.n_features},) or (m, {self.n_features}), got {np.shape(vectors)}; "
                "make them with the network of this feature set"
            )
        if not np.isfinite(rows).all():
            raise ValueError("vectors must be finite, got NaN or infinity; look at the image that they were made of")
        return self._like(self.searched.scale.standardized(rows), np.empty(0, np.int64), n, is_farthest)

    def _like(self, group: np.ndarray, members: np.ndarray, n: int, is_farthest: bool) -> Found:
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        center = group.mean(axis=0, dtype=np.float64)
        spread = np.sqrt(((group - center) ** 2).sum(axis=1).mean())
        n_asked = n + len(members)
        ids, distances = self.searched.nearest(center, n_asked, is_farthest=is_farthest, is_mean=len(group) > 1)
        is_other = ~np.isin(ids, members)
        return ids[is_other][:n], np.hypot(distances[is_other][:n], spread)


class HeldVectors:
    """All vectors of a feature set in memory, standardized by their own scale, in the order of their ids."""

    def __init__(self, features: FeatureSet) -> None:
        from peculiar.scoring.neighbors import Neighbors, Scale

        object_id, vectors = features.whole()
        is_finite = np.isfinite(vectors).all(axis=1)
        self.path, self._not_finite = features.table.path, object_id[~is_finite]
        usable = np.flatnonzero(is_finite)
        order = usable[np.argsort(object_id[usable], kind="stable")]
        self._object_id, vectors = object_id[order], vectors[order]
        self.scale = Scale.of(vectors[start : start + SCAN_ROWS] for start in range(0, len(vectors), SCAN_ROWS))
        self._neighbors = Neighbors(self.scale.standardized(vectors))

    def take(self, object_ids: np.ndarray) -> np.ndarray:
        """Standardized vectors of these objects, float32 (n, n_features)."""
        place = np.minimum(np.searchsorted(self._object_id, object_ids), len(self._object_id) - 1)
        missing = object_ids[self._object_id[place] != object_ids]
        _refuse_not_finite(missing[np.isin(missing, self._not_finite)], self.path)
        if len(missing):
            raise missing_objects(missing, self.path)
        taken: np.ndarray = self._neighbors.vectors[place]
        return taken

    def nearest(self, query: np.ndarray, n: int, *, is_farthest: bool = False, is_mean: bool = False) -> Found:
        """Ids and distances of the n nearest to a standardized vector, or a group's mean; or the farthest."""
        rows, distances = self._neighbors.nearest(query[None], n, is_farthest=is_farthest)
        return self._object_id[rows[0]], distances[0]


class VectorIndex:
    """`indices/<features>` of the atlas in `folder`: standardized vectors in Lance, with its index of partitions.

    Raises
    ------
    FileNotFoundError
        It is not complete.
    """

    def __init__(self, folder: Path, features: str) -> None:
        home = home_of(folder, "indices", features)
        run = read_run(home)
        if run is None:
            raise FileNotFoundError(
                f"indices/{features} is not complete in {folder}, and from {EXACT_ROWS:,} objects on it is needed; "
                f'run "peculiar index" with features {features} first'
            )
        opened = FeatureSet(folder, features)
        if run.reads[f"features/{features}"] != opened.run.identity:
            raise ValueError(f"{home} indexes vectors that were made anew since; index them again with --replace")
        self.scale, self.table, self.measured = read_scale(home), Table(home / "table.lance"), run.outputs
        if n_absent := len(opened) - len(self.table):
            log.warning('%d objects are not in %s and cannot be found; run "peculiar index" again', n_absent, home)
        self._dataset = self.table.open()

    def take(self, object_ids: np.ndarray) -> np.ndarray:
        """Standardized vectors of these objects, float32 (n, n_features)."""
        vectors = take_vectors(self.table, object_ids)
        _refuse_not_finite(object_ids[~np.isfinite(vectors).all(axis=1)], self.table.path)
        return vectors

    def nearest(self, query: np.ndarray, n: int, *, is_farthest: bool = False, is_mean: bool = False) -> Found:
        """Ids and distances of the n nearest to a standardized vector, or a group's mean; or, of all, the farthest.

        As many partitions are probed as `run.json` found needed for ten neighbors; for more, more in proportion.
        """
        from peculiar.scoring.neighbors import nearest_in_blocks

        if is_farthest:
            ids, distances = nearest_in_blocks(scan_vectors(self.table, SCAN_ROWS), query[None], n, is_farthest=True)
            return ids[0], distances[0]
        n_probes = self.measured["group_n_probes" if is_mean else "n_probes"] * -(-n // N_NEIGHBORS)
        while True:
            found = probe(self._dataset, query, n, n_probes=min(n_probes, self.measured["n_partitions"]))
            if len(found[0]) == n or n_probes >= self.measured["n_partitions"]:
                return found
            n_probes *= 2


def probe(dataset: object, query: np.ndarray, n: int, *, n_probes: int) -> Found:
    """Ids and distances of the n nearest in the `n_probes` nearest partitions of Lance's index; fewer if these end."""
    from peculiar.scoring.neighbors import nearest_in_blocks

    asked = {"column": "vector", "q": query.astype(np.float32), "k": n, "nprobes": n_probes}
    rows = dataset.to_table(columns=["object_id", "vector", "_distance"], nearest=asked)  # type: ignore[attr-defined]
    if not rows.num_rows:
        return np.empty(0, np.int64), np.empty(0)
    found = rows["object_id"].to_numpy(), vectors_of(rows["vector"])
    ids, distances = nearest_in_blocks([found], query[None], n)
    return ids[0], distances[0]


def read_scale(home: Path) -> "Scale":
    """The frozen scale of an index."""
    from peculiar.scoring.neighbors import Scale

    return Scale.from_json(json.loads((home / "scale.json").read_text(encoding="utf-8")))


def _refuse_not_finite(object_ids: np.ndarray, where: Path) -> None:
    if len(object_ids):
        raise ValueError(
            "nothing is like an object without features, and those of "
            f"{first_few(object_ids)} in {where} are NaN or infinite; "
            "ask for other objects"
        )
