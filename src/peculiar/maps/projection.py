"""Vectors laid out in two dimensions, neighbors near one another: UMAP, t-SNE, self-organizing map, PCA."""

import warnings
from math import ceil
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32

Method = Literal["umap", "tsne", "som", "pca"]
LEAST = 10  # objects: fewer are a list, not a map
UNITS = 5.0  # units of a self-organizing map = this times the root of the number of objects; Vesanto & Alhoniemi 2000
STEPS = 20  # steps of the self-organizing map an object ...
MOST_STEPS = 100_000  # ... and at most: a minute at 64 features
RATE = 0.5  # of the self-organizing map at its start; falls to 0
SPREAD = 0.4  # half the width, in units, of the cell that objects of one unit are scattered in


def project(
    vectors: Float32[np.ndarray, "n d"],
    method: Method = "umap",
    *,
    n_neighbors: int = 5,
    min_dist: float = 0.1,
    perplexity: float = 30.0,
    seed: int = 0,
) -> Float32[np.ndarray, "n 2"]:
    """Places of the vectors on a map; the same input gives the same map, bit for bit.

    Distances are Euclidean, of the vectors as they are: scale them first where their columns have different units.

    Parameters
    ----------
    vectors
        As many different ones as `n_needed` says, all finite.
    method
        ``umap``: McInnes et al. 2018, started from the spectral layout; Storey-Fisher et al. 2021, sect. 4.3 uses it
        with the defaults here. ``tsne``: van der Maaten & Hinton 2008, started from PCA. ``som``: a square of
        5 sqrt(n) units, trained one object a step; the place is that of the nearest unit, in units, plus a random
        offset within 0.4, so that the objects of one unit can be told apart and units are still seen as cells.
        ``pca``: the first two principal components, the sign such that the largest loading is positive.
    n_neighbors, min_dist
        Of UMAP.
    perplexity
        Of t-SNE.
    seed
        Of all random choices; PCA makes none.

    Raises
    ------
    ValueError
        Too few objects, a vector with NaN or infinity, or all vectors the same.
    """
    if method not in get_args(Method):
        raise ValueError(f"method must be one of {', '.join(get_args(Method))}, got {method!r}")
    refuse_few(len(vectors), method, n_neighbors=n_neighbors, perplexity=perplexity)
    n_bad = int((~np.isfinite(vectors)).any(axis=1).sum())
    if n_bad:
        raise ValueError(f"vectors must be finite, and {n_bad} of {len(vectors)} are not; leave those objects out")
    if vectors.shape[1] < 2 or (vectors == vectors[0]).all():
        raise ValueError(f"vectors of {vectors.shape[1]} numbers that differ in none have no map; take other features")
    if method == "umap":
        return _umap(vectors, n_neighbors, min_dist, seed)
    if method == "tsne":
        return _tsne(vectors, perplexity, seed)
    return _som(vectors, seed) if method == "som" else _pca(vectors)


def n_needed(method: Method, *, n_neighbors: int = 5, perplexity: float = 30.0) -> int:
    """How many objects a map needs at least: 10, or what a neighborhood takes."""
    of_method = {"umap": n_neighbors + 1, "tsne": ceil(3 * perplexity) + 1}
    return max(LEAST, of_method.get(method, 0))


def refuse_few(n_objects: int, method: Method, *, n_neighbors: int = 5, perplexity: float = 30.0) -> None:
    """Raise where there are fewer objects than `n_needed`, saying what is needed."""
    least = n_needed(method, n_neighbors=n_neighbors, perplexity=perplexity)
    if n_objects < least:
        remedy = {
            "umap": f" with n_neighbors = {n_neighbors}; take fewer neighbors, or more objects",
            "tsne": f" with perplexity = {perplexity:g}; take a perplexity of a third of the objects, or more objects",
        }
        what = remedy.get(method, "; take more") if least > LEAST else "; take more"
        raise ValueError(f"a {method} map needs {least} objects or more, got {n_objects}{what}")


def _umap(vectors: np.ndarray, n_neighbors: int, min_dist: float, seed: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # of TensorFlow, for a kind of map that we do not make
        from umap import UMAP

    # Only one thread repeats itself; UMAP warns where it has to say so.
    mapper = UMAP(n_neighbors=n_neighbors, min_dist=min_dist, random_state=seed % 2**32, n_jobs=1)
    return np.asarray(mapper.fit_transform(vectors), np.float32)


def _tsne(vectors: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
    from openTSNE import TSNE

    mapper = TSNE(perplexity=perplexity, initialization="pca", random_state=seed % 2**32, n_jobs=1)
    return np.array(mapper.fit(vectors), np.float32)


def _som(vectors: np.ndarray, seed: int) -> np.ndarray:
    from minisom import MiniSom
    from sklearn.metrics import pairwise_distances_argmin

    side = ceil(np.sqrt(UNITS * np.sqrt(len(vectors))))
    # One scale for all columns, which leaves the neighbors alone: the start spans -1 to 1.
    centered = (vectors - vectors.mean(axis=0)).astype(np.float64)
    centered /= centered.std()
    units = MiniSom(
        side,
        side,
        vectors.shape[1],
        sigma=side / 2,
        learning_rate=RATE,
        decay_function="linear_decay_to_zero",
        sigma_decay_function="linear_decay_to_one",
        random_seed=seed % 2**32,
    )
    units.pca_weights_init(centered)
    units.train(centered, min(STEPS * len(vectors), MOST_STEPS), random_order=True)
    nearest = pairwise_distances_argmin(centered, units.get_weights().reshape(side**2, -1))
    places = np.stack(np.divmod(nearest, side), axis=1)
    offsets = np.random.default_rng(seed % 2**64).uniform(-SPREAD, SPREAD, places.shape)
    return (places + offsets).astype(np.float32)


def _pca(vectors: np.ndarray) -> np.ndarray:
    from sklearn.decomposition import PCA

    mapper = PCA(2, svd_solver="covariance_eigh")
    places = mapper.fit_transform(vectors)
    largest = np.abs(mapper.components_).argmax(axis=1)
    return np.asarray(places * np.sign(mapper.components_[[0, 1], largest]), np.float32)
