"""Groups of objects that are alike, found once; new objects join them; what sets each apart in the catalog."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Shaped

if TYPE_CHECKING:
    from sklearn.neighbors import NearestNeighbors

NONE = -1  # label of an object in no cluster
USUAL = 0.95  # part of a cluster's members whose distance counts as usual: the outermost would let anything in
MOST_CATEGORIES = 20  # different texts of a column: more are names, not categories


@dataclass(frozen=True)
class Clusters:
    """For every object the number of its cluster, 0 for the largest and -1 for none, and how strongly it belongs.

    Strength is from 0 (in none) to 1 (as deep inside as any).
    """

    label: Int32[np.ndarray, " n"]
    strength: Float32[np.ndarray, " n"]

    @property
    def n_clusters(self) -> int:
        """How many there are."""
        return int(self.label.max(initial=NONE)) + 1


def cluster(vectors: Float[np.ndarray, "n d"], *, min_size: int, min_samples: int, is_fine: bool = False) -> Clusters:
    """Clusters of the vectors by HDBSCAN (Campello et al. 2013), whose number and shapes are not given beforehand.

    Distances are Euclidean, of the components divided by their standard deviations; constant ones do not count. The
    same vectors give the same clusters; time grows with the square of their number. Clusters of one size are numbered
    by their first members.

    Parameters
    ----------
    vectors
        One with NaN or infinity is in no cluster.
    min_size
        Objects that make a cluster, 2 or more; with fewer vectors there is none.
    min_samples
        Neighbors, itself included, by whose distance the density at an object is measured: the more, the more objects
        are in no cluster.
    is_fine
        Take the smallest clusters of the tree, ``leaf``, instead of those that last longest, ``eom``: galaxies change
        into one another gradually, and what lasts longest then is often two large halves.
    """
    from sklearn.cluster import HDBSCAN

    if min_size < 2 or min_samples < 1:
        raise ValueError(f"min_size must be 2 or more and min_samples 1 or more, got {min_size} and {min_samples}")
    usable = np.flatnonzero(np.isfinite(vectors).all(axis=1))
    label, strength = np.full(len(vectors), NONE, np.int32), np.zeros(len(vectors), np.float32)
    if len(usable) < max(min_size, min_samples):
        return Clusters(label, strength)
    center, scale = _scale(vectors[usable])
    # One thread: which of several equal distances is the first must not depend on the machine.
    method = "leaf" if is_fine else "eom"
    found = HDBSCAN(
        min_cluster_size=min_size, min_samples=min_samples, cluster_selection_method=method, n_jobs=1, copy=True
    )
    found.fit((vectors[usable] - center) / scale)
    label[usable], strength[usable] = _by_size(found.labels_), found.probabilities_
    return Clusters(label, strength)


@dataclass(frozen=True)
class Fitted:
    """Vectors that clusters were found in, and these clusters, made ready for new objects to join.

    Parameters
    ----------
    vectors, clusters
        What `cluster` was given, and what it found.
    n_neighbors
        All, where there are fewer.
    """

    vectors: Float[np.ndarray, "n d"]
    clusters: Clusters
    n_neighbors: int = 5

    def __post_init__(self) -> None:
        """Check the lengths."""
        if len(self.vectors) != len(self.clusters.label):
            raise ValueError(
                f"clusters must have a label for each vector, got {len(self.clusters.label)} and {len(self.vectors)}"
            )

    def assign(self, new: Float[np.ndarray, "m d"]) -> Clusters:
        """Clusters of new objects, by their nearest fitted ones, which stay what they are.

        An object joins the cluster that most of its nearest fitted objects are in, if its mean distance to them is
        usual there: not above the 95th percentile of the same distance of the cluster's own members. Otherwise it is
        in none. Of as many neighbors in two clusters the larger cluster counts; in a cluster and in none, none. Its
        strength is the mean of its neighbors', others than the cluster's counting 0. It depends on the object and on
        the fitted ones only, not on what is assigned beside it. A vector with NaN or infinity is in no cluster.
        """
        if new.shape[1:] != self.vectors.shape[1:]:
            raise ValueError(f"new must have vectors of {self.vectors.shape[1]} numbers, got {new.shape}")
        joined, strength = np.full(len(new), NONE, np.int32), np.zeros(len(new), np.float32)
        usable = np.flatnonzero(np.isfinite(new).all(axis=1))
        if not self.clusters.n_clusters or not len(usable):
            return Clusters(joined, strength)
        center, scale = _scale(self.vectors[self._known])
        distance, near = self._search.kneighbors((new[usable] - center) / scale)
        near = self._known[near]
        numbers = range(NONE, self.clusters.n_clusters)
        votes = np.stack([(self.clusters.label[near] == each).sum(axis=1) for each in numbers], axis=1)
        chosen = votes.argmax(axis=1) + NONE
        is_usual = (chosen != NONE) & (distance.mean(axis=1) <= self._reach[chosen])
        is_same = (self.clusters.label[near] == chosen[:, None]) & is_usual[:, None]
        joined[usable] = np.where(is_usual, chosen, NONE)
        strength[usable] = (self.clusters.strength[near] * is_same).mean(axis=1)
        return Clusters(joined, strength)

    @cached_property
    def _known(self) -> np.ndarray:
        return np.flatnonzero(np.isfinite(self.vectors).all(axis=1))

    @cached_property
    def _search(self) -> "NearestNeighbors":
        from sklearn.neighbors import NearestNeighbors

        known = self.vectors[self._known]
        center, scale = _scale(known)
        return NearestNeighbors(n_neighbors=min(self.n_neighbors, len(known) - 1), n_jobs=1).fit(
            (known - center) / scale
        )

    @cached_property
    def _reach(self) -> np.ndarray:
        """For every cluster the distance that is usual in it."""
        distance = self._search.kneighbors()[0].mean(axis=1)  # of every fitted object, itself left out
        label = self.clusters.label[self._known]
        return np.array([np.quantile(distance[label == each], USUAL) for each in range(self.clusters.n_clusters)])


@dataclass(frozen=True, kw_only=True)
class Enrichment:
    """How one column's values differ between a cluster's members and all others.

    Parameters
    ----------
    column
        Its name; for a category, ``name = category``.
    test
        ``Mann-Whitney`` of numbers, ``Fisher`` of what is true or false; both two-sided.
    effect
        AUROC: the chance that a member's value is above another object's, a tie counting half. 0.5: no difference.
    members, others
        Medians of numbers; shares, 0 to 1, of what is true.
    p_value, p_corrected
        Of the test, and after Benjamini & Hochberg 1995 for all tests of all clusters: the share of false ones to be
        expected among those up to this one.
    n_missing
        Objects left out, members or others, as they have no value.
    """

    column: str
    test: str
    effect: float
    members: float
    others: float
    p_value: float
    p_corrected: float
    n_missing: int


def enrichment(
    columns: Mapping[str, Shaped[np.ndarray, " n"]], labels: Int32[np.ndarray, " n"]
) -> dict[int, list[Enrichment]]:
    """What sets every cluster apart from all other objects, in a cluster or not, the surest first.

    Objects in no cluster are others to all. Columns of numbers are compared by ranks, of booleans by their shares; of
    texts, each category is a column of its own. NaN, None and the empty text are left out and counted. A constant
    column, one of more than 20 texts, and one without a value among members or others, is not tested. Rows of the same
    corrected p are in the order of the effect's distance from 0.5.

    Returns
    -------
    By number of the cluster; none is left out.
    """
    from scipy.stats import false_discovery_control

    rows: list[tuple[int, Enrichment]] = []
    for name, values in _tested(columns).items():
        is_known = np.array([each is not None for each in values]) if values.dtype == object else ~np.isnan(values)
        for number in range(int(labels.max(initial=NONE)) + 1):
            is_member = labels[is_known] == number
            found = _compared(name, values[is_known], is_member, int((~is_known).sum()))
            if found:
                rows.append((number, found))
    corrected = false_discovery_control([row.p_value for _, row in rows]) if rows else []
    result: dict[int, list[Enrichment]] = {number: [] for number in range(int(labels.max(initial=NONE)) + 1)}
    for (number, row), p_corrected in zip(rows, corrected, strict=True):
        result[number].append(replace(row, p_corrected=float(p_corrected)))
    return {
        number: sorted(each, key=lambda row: (row.p_corrected, -abs(row.effect - 0.5), row.column))
        for number, each in result.items()
    }


def _tested(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns as numbers (float64) or as true, false and None (object); a category each for texts."""
    found: dict[str, np.ndarray] = {}
    for name, values in columns.items():
        if values.dtype.kind in "iuf":
            found[name] = values.astype(np.float64)
        elif all(each is None or isinstance(each, bool | np.bool_) for each in values):
            found[name] = values.astype(object)
        else:
            texts = [None if each is None or each == "" else str(each) for each in values]
            categories = sorted({each for each in texts if each is not None})
            for category in categories if len(categories) <= MOST_CATEGORIES else ():
                is_it = [None if each is None else each == category for each in texts]
                found[f"{name} = {category}"] = np.array(is_it, object)
    return found


def _compared(name: str, values: np.ndarray, is_member: Bool[np.ndarray, " n"], n_missing: int) -> Enrichment | None:
    """One column's test; None where there is nothing to compare."""
    from scipy.stats import fisher_exact, mannwhitneyu

    members, others = values[is_member], values[~is_member]
    if not len(members) or not len(others) or (values == values[0]).all():
        return None
    if values.dtype == object:
        shares = [float(each.astype(bool).mean()) for each in (members, others)]
        table = [[int(each.astype(bool).sum()), int((~each.astype(bool)).sum())] for each in (members, others)]
        test, p_value, effect = "Fisher", float(fisher_exact(table).pvalue), (1 + shares[0] - shares[1]) / 2
    else:
        shares = [float(np.median(each)) for each in (members, others)]
        found = mannwhitneyu(members, others)
        test, p_value, effect = "Mann-Whitney", float(found.pvalue), found.statistic / len(members) / len(others)
    return Enrichment(
        column=name,
        test=test,
        effect=float(effect),
        members=shares[0],
        others=shares[1],
        p_value=p_value,
        p_corrected=p_value,
        n_missing=n_missing,
    )


def _scale(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each component, float64; infinite for constant ones, which so become 0."""
    exact = vectors.astype(np.float64)
    is_constant = (exact == exact[0]).all(axis=0)
    return exact.mean(axis=0), np.where(is_constant, np.inf, exact.std(axis=0))


def _by_size(found: np.ndarray) -> np.ndarray:
    """Labels renumbered, the largest cluster 0, equal ones by their first member; what is below 0 becomes -1."""
    numbers, first, size = np.unique(found[found >= 0], return_index=True, return_counts=True)
    order = np.lexsort((first, -size))
    renumbered = np.full(found.shape, NONE, np.int32)
    for new, old in enumerate(numbers[order]):
        renumbered[found == old] = new
    return renumbered
