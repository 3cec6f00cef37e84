"""Extended Isolation Forest: how few random cuts separate an object from a sample. METHOD.md sect. 4.

Hariri, Carrasco Kind & Brunner 2019 (IEEE TKDE 33, 1479), after Liu, Ting & Zhou 2008. A forest is plain arrays: cuts
and ends of all trees stand one after the other, and a link is the place of a cut, or ~ the place of an end.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Float, Float32, Int, Int32

Arrays = dict[str, np.ndarray]
EULER = 0.5772156649  # the constant of Euler and Mascheroni
ROUNDING = 2.0**-24  # of float32
AT_ONCE = 1_024  # objects that all trees are walked for at once: they stay in the cache
# Sums of products may be taken side by side: eight times quicker, and the last bit is the machine's.
COMPILED = {"nogil": True, "cache": True, "fastmath": {"reassoc", "nsz", "contract"}}


def average_path_length(n_objects: Int[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """c(n), the mean number of cuts that isolate one of n objects: 2 H(n - 1) - 2 (n - 1) / n; Liu 2008, Eq. 1.

    H(i) is ln(i) + 0.5772156649. c(2) = 1 as in scikit-learn (`eif` has 0.154, where the logarithm is no good
    approximation), c(1) = c(0) = 0.
    """
    n = np.maximum(n_objects, 3)
    many = 2 * (np.log(n - 1) + EULER) - 2 * (n - 1) / n
    return np.where(n_objects > 2, many, np.where(n_objects == 2, 1.0, 0.0))


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees of random cuts through a sample, grown by `grow`.

    Its methods let go of Python's lock, and an object's numbers depend on the object and the forest only: threads may
    share a forest, and batches may be of any size.

    Parameters
    ----------
    roots
        Link of every tree's first cut.
    normals, components
        Direction of every cut, of unit length, in the components that are not zero; in all, in order, where
        `components` is empty.
    thresholds, children
        An object whose projection is below the threshold goes to the first link, any other to the second.
    sizes, end_sizes
        How many of the tree's sample came to the cut, or to the end.
    path_lengths
        Cuts down to the end, and c(n) for those that would separate the objects there.
    center, scale
        Subtracted from vectors, and then divided by.
    """

    roots: Int32[np.ndarray, " n_trees"]
    normals: Float32[np.ndarray, "n_cuts n_used"]
    components: Int32[np.ndarray, "n_sparse n_used"]
    thresholds: Float32[np.ndarray, " n_cuts"]
    children: Int32[np.ndarray, "n_cuts 2"]
    sizes: Int32[np.ndarray, " n_cuts"]
    end_sizes: Int32[np.ndarray, " n_ends"]
    path_lengths: Float[np.ndarray, " n_ends"]
    center: Float[np.ndarray, " n_features"]
    scale: Float[np.ndarray, " n_features"]

    @property
    def sample_size(self) -> int:
        """Objects that each tree was grown on."""
        return int(self.sizes[self.roots[0]])

    def score(self, vectors: Float[np.ndarray, "n n_features"]) -> Float[np.ndarray, " n"]:
        """2**(-E[h] / c(sample_size)), above 0 and at most 1: larger is more anomalous, float64. Liu 2008, Eq. 2.

        Raises
        ------
        ValueError
            Another number of components, or a NaN or infinite one.
        """
        return np.exp2(-self.depths(vectors) / average_path_length(np.array(self.sample_size)))

    def depths(self, vectors: Float[np.ndarray, "n n_features"]) -> Float[np.ndarray, " n"]:
        """E[h], the mean over the trees of the path's length, float64; errors as `score`."""
        _refuse_unusable(vectors, len(self.center))
        totals = np.empty(len(vectors))
        for start in range(0, len(vectors), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            rows = _standardized(vectors[part], self.center, self.scale)
            _walk(rows, *self._links, self.path_lengths, totals[part])
        return totals / len(self.roots)

    def explain(self, vectors: Float[np.ndarray, "n n_features"]) -> Float[np.ndarray, "n n_features"]:
        """What each component tells about every object: bits a cut, weighted by the cut's lean on it, float64.

        A cut that leaves n' of n sampled objects on the object's side tells log2((n + 1) / (n' + 1)) bits about it: it
        counts more the more quickly it isolates. Component j has the mean of the bits of all cuts that the object met,
        weighted by |normal_j|; 0 where none leant on j. So ExIFFI (Arcudi et al. 2024), but for n / n' in place of the
        bits, which add up along a path and are finite for an empty side. Compare the components of one object with one
        another: only differences tell. Errors as `score`.
        """
        _refuse_unusable(vectors, len(self.center))
        told, leant = np.zeros((2, *vectors.shape))
        for start in range(0, len(vectors), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            rows = _standardized(vectors[part], self.center, self.scale)
            _listen(rows, *self._links, self.sizes, self.end_sizes, told[part], leant[part])
        return np.divide(told, leant, out=told, where=leant > 0)

    @property
    def _links(self) -> tuple[np.ndarray, ...]:
        return self.roots, self.normals, self.components, self.thresholds, self.children

    def tensors(self) -> Arrays:
        """All arrays by name, to be kept."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray]) -> "Forest":
        """Undo `tensors`; other names are passed over."""
        return cls(**{field.name: tensors[field.name] for field in fields(cls)})


def grow(
    samples: Float[np.ndarray, "n_trees sample_size n_features"],
    *,
    extension_level: int,
    max_depth: int = 0,
    is_standardized: bool = True,
    seed: int,
) -> Forest:
    """Grow a tree on every sample: the same forest for the same samples and seed.

    At a node the intercept p is uniform in the box of its objects, and the normal ~ N(0, 1) in `extension_level` + 1
    components drawn at random; x goes left if x.n < p.n (Hariri 2019, Algorithm 2). An empty side is kept. A node of
    one object, or at `max_depth`, is an end. Objects that are all equal go down together, which tells them from others
    that come later; where a whole sample is constant, all its objects have one score.

    Parameters
    ----------
    extension_level
        0 cuts parallel to the axes, the standard forest; n_features - 1, or -1, in all directions.
    max_depth
        Cuts at most; 0 for ceil(log2(sample_size)).
    is_standardized
        Divide components by their deviation over all samples. An oblique cut adds them up, so that without it those
        with the largest numbers decide; a level of 0 does not care. Constant components are left as they are.

    Raises
    ------
    ValueError
        Fewer than two objects a tree, a NaN or infinite component, or a level or depth out of range.
    """
    n_trees, sample_size, n_features = samples.shape
    if not n_trees or sample_size < 2 or not n_features:
        raise ValueError(f"samples must hold 2 objects or more for every tree, got shape {samples.shape}")
    if not -1 <= extension_level < n_features:
        raise ValueError(f"extension_level must be from -1 to {n_features - 1} (components - 1), got {extension_level}")
    if max_depth < 0:
        raise ValueError(f"max_depth must not be negative, got {max_depth}")
    rows = samples.reshape(-1, n_features)
    _refuse_unusable(rows, n_features)
    center, scale = rows.mean(axis=0, dtype=np.float64), np.ones(n_features)
    if is_standardized:
        # The mean of a constant may miss it by the last bit, and then it seems to deviate.
        deviation = rows.std(axis=0, dtype=np.float64) * (rows.min(axis=0) < rows.max(axis=0))
        scale = np.where(deviation > 0, deviation, 1.0)
    level = n_features - 1 if extension_level == -1 else extension_level
    limit = max_depth or int(np.ceil(np.log2(sample_size)))
    trees = _grow(_standardized(rows, center, scale), n_trees, level + 1, limit, np.random.default_rng(seed))
    return Forest(**trees, center=center, scale=scale)


def _standardized(vectors: np.ndarray, center: np.ndarray, scale: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what is beyond float32 is infinite: on one side of every cut that leans on it
        return ((vectors - center) / scale).astype(np.float32)


def _grow(rows: np.ndarray, n_trees: int, n_used: int, limit: int, random: np.random.Generator) -> Arrays:
    """All trees at once, a level at a time: `node` says where on the level each row still underway is."""
    node = np.repeat(np.arange(n_trees), len(rows) // n_trees)
    n_nodes, n_cuts, n_ends = n_trees, 0, 0
    links, cuts, end_sizes, path_lengths = [], [], [], []
    for depth in range(limit + 1):
        sizes = np.bincount(node, minlength=n_nodes).astype(np.int32)
        is_cut = (sizes > 1) & (depth < limit)
        links.append(np.where(is_cut, n_cuts + np.cumsum(is_cut) - 1, ~(n_ends + np.cumsum(~is_cut) - 1)))
        end_sizes.append(sizes[~is_cut])
        path_lengths.append(depth + average_path_length(sizes[~is_cut]))
        n_ends += len(end_sizes[-1])
        if not is_cut.any():
            break
        is_underway = is_cut[node]
        rows, node = rows[is_underway], (np.cumsum(is_cut) - 1)[node[is_underway]]
        cut, rows, node = _cut(rows, node, n_used, random)
        cuts.append({**cut, "sizes": sizes[is_cut]})
        n_cuts, n_nodes = n_cuts + len(cut["thresholds"]), 2 * len(cut["thresholds"])
    return {
        "roots": links[0].astype(np.int32),
        "children": np.concatenate(links[1:]).reshape(-1, 2).astype(np.int32),
        **{name: np.concatenate([cut[name] for cut in cuts]) for name in cuts[0]},
        "end_sizes": np.concatenate(end_sizes),
        "path_lengths": np.concatenate(path_lengths),
    }


def _cut(
    rows: np.ndarray, node: np.ndarray, n_used: int, random: np.random.Generator
) -> tuple[Arrays, np.ndarray, np.ndarray]:
    """Cut every node of a level: the cuts, and the rows sorted by node with the nodes of the next level."""
    order = np.argsort(node, kind="stable")
    rows, node = rows[order], node[order]
    starts = np.flatnonzero(np.diff(node, prepend=-1))
    low, high = np.minimum.reduceat(rows, starts), np.maximum.reduceat(rows, starts)
    points = low + random.random(low.shape, np.float32) * (high - low)
    normals = random.standard_normal(low.shape, np.float32)
    used, components = normals, np.empty((0, n_used), np.int64)
    if n_used < rows.shape[1]:
        components = np.sort(np.argpartition(random.random(low.shape), n_used - 1, axis=1)[:, :n_used], axis=1)
        used = np.take_along_axis(normals, components, axis=1)
        normals = np.zeros_like(normals)
        np.put_along_axis(normals, components, used, axis=1)
    used, normals = (each / np.linalg.norm(used, axis=1, keepdims=True) for each in (used, normals))
    terms = points.astype(np.float64) * normals
    # Equal objects lie on their own cut: rounding must not send one of them to the side where the others are not.
    thresholds = terms.sum(axis=1) - (n_used + 2) * ROUNDING * np.abs(terms).sum(axis=1)
    is_right = np.einsum("ij,ij->i", rows, normals[node]) >= thresholds.astype(np.float32)[node]
    cut = {"normals": used, "components": components.astype(np.int32), "thresholds": thresholds.astype(np.float32)}
    return cut, rows, 2 * node + is_right


def _refuse_unusable(vectors: np.ndarray, n_features: int) -> None:
    if vectors.ndim != 2 or vectors.shape[1] != n_features:
        raise ValueError(f"vectors must be (n, {n_features}), as the forest was grown on, got {vectors.shape}")
    n_unusable = int((~np.isfinite(vectors).all(axis=1)).sum())
    if n_unusable:
        raise ValueError(
            f"vectors must be finite, and {n_unusable} of {len(vectors)} rows are not; impute or leave them out first"
        )


@numba.njit(**COMPILED)
@no_type_check
def _dense(vector, normal):
    total = np.float32(0)
    for place in range(len(vector)):
        total += vector[place] * normal[place]
    return total


@numba.njit(**COMPILED)
@no_type_check
def _sparse(vector, normal, components):
    total = np.float32(0)
    for place in range(len(normal)):
        total += vector[components[place]] * normal[place]
    return total


@numba.njit(**COMPILED)
@no_type_check
def _walk(vectors, roots, normals, components, thresholds, children, path_lengths, totals):
    """Sums over the trees of path lengths: a tree for all objects, then the next, whose cuts then stay in the cache."""
    totals[:] = 0
    is_sparse = len(components) > 0
    for root in roots:
        for row in range(len(vectors)):
            cut = root
            while cut >= 0:
                if is_sparse:
                    projection = _sparse(vectors[row], normals[cut], components[cut])
                else:
                    projection = _dense(vectors[row], normals[cut])
                cut = children[cut, 0 if projection < thresholds[cut] else 1]
            totals[row] += path_lengths[~cut]


@numba.njit(**COMPILED)
@no_type_check
def _listen(vectors, roots, normals, components, thresholds, children, sizes, end_sizes, told, leant):
    """Sums over the cuts met: of |normal| times bits, and of |normal|."""
    is_sparse = len(components) > 0
    for root in roots:
        for row in range(len(vectors)):
            link = root
            while link >= 0:
                cut = link
                if is_sparse:
                    projection = _sparse(vectors[row], normals[cut], components[cut])
                else:
                    projection = _dense(vectors[row], normals[cut])
                link = children[cut, 0 if projection < thresholds[cut] else 1]
                n_left = sizes[link] if link >= 0 else end_sizes[~link]
                bits = np.log2((sizes[cut] + 1) / (n_left + 1))
                for place in range(normals.shape[1]):
                    component = components[cut, place] if is_sparse else place
                    lean = abs(normals[cut, place])
                    told[row, component] += lean * bits
                    leant[row, component] += lean
