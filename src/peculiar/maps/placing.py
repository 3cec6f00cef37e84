"""New objects on a map that stays as it is, how well a map orders a score, and which boxes of it to look into."""

import numpy as np
from jaxtyping import Bool, Float, Float32

QUALITY_NEIGHBORS = 30  # their mean has a fifth of one object's scatter, and they are near still
AT_ONCE = 1_024  # objects placed at once
SPARE = 3  # more neighbors than asked for are looked at anew, as the quick distances are rounded
BOX_PART = 1 / 12  # side of a box over that of the map
STEPS_A_BOX = 4  # boxes may begin at every quarter of a side
LEAST_IN_BOX = 9  # objects: three rows of three images


def place(
    new: Float32[np.ndarray, "m d"],
    fitted: Float32[np.ndarray, "n d"],
    places: Float32[np.ndarray, "n 2"],
    *,
    n_neighbors: int = 5,
) -> Float32[np.ndarray, "m 2"]:
    """Places of new objects among those that a map was fitted to, which stay where they are.

    The mean of the places of the nearest fitted objects, weighted by the inverse of their distances;
    an exact copy gets its original's place (the mean, where several originals are equal). An object's place depends
    on itself and on the fitted ones only, not on what is placed beside it.

    Parameters
    ----------
    new
        A vector with NaN or infinity gets NaN.
    fitted, places
        Vectors and places of the fitted objects, all finite. Distances are those that the map was made with:
        Euclidean, of the vectors as they are.
    n_neighbors
        All of them, where there are fewer.
    """
    from sklearn.neighbors import NearestNeighbors

    if not len(fitted) or len(fitted) != len(places) or new.shape[1:] != fitted.shape[1:]:
        raise ValueError(
            "fitted must be one vector or more, of the length of the new ones and with a place each; "
            f"got new {new.shape}, fitted {fitted.shape}, places {places.shape}"
        )
    result = np.full((len(new), 2), np.nan, np.float32)
    n_neighbors = min(n_neighbors, len(fitted))
    search = NearestNeighbors(n_neighbors=min(n_neighbors + SPARE, len(fitted)), algorithm="brute").fit(fitted)
    usable = np.flatnonzero(np.isfinite(new).all(axis=1))
    for start in range(0, len(usable), AT_ONCE):
        rows = usable[start : start + AT_ONCE]
        near = np.sort(search.kneighbors(new[rows], return_distance=False), axis=1)
        # Anew and exactly: the search's own distances depend on the block, and are not 0 for a copy.
        distance = np.sqrt(((new[rows][:, None].astype(np.float64) - fitted[near]) ** 2).sum(axis=2))
        nearest = np.argsort(distance, axis=1, kind="stable")[:, :n_neighbors]
        distance = np.take_along_axis(distance, nearest, axis=1)
        is_copy = distance == 0
        weights = np.where(is_copy.any(axis=1, keepdims=True), is_copy, 1 / np.where(is_copy, 1.0, distance))
        weights /= weights.sum(axis=1, keepdims=True)
        around = places[np.take_along_axis(near, nearest, axis=1)].astype(np.float64)
        result[rows] = (weights[:, :, None] * around).sum(axis=1)
    return result


def map_quality(
    places: Float[np.ndarray, "n 2"],
    score: Float[np.ndarray, " n"],
    *,
    n_neighbors: int = QUALITY_NEIGHBORS,
    n_folds: int = 5,
    seed: int = 0,
) -> float:
    """How much of a score's order the place on the map tells: cross-validated R^2 of the score's ranks.

    1 - (squared errors) / (squared deviations) of the ranks, where each object is predicted by the mean of its nearest
    neighbors on the map that are not in its own of `n_folds` folds. 1: the map is a smooth gradient of the score; 0 or
    a little less: the score is scattered over it. This is a number for what the eye sees in Fig. 6 of Storey-Fisher et
    al. 2021. Ranks, because scores have long tails whose few objects would make up the sum; so it is the same for a
    score and its logarithm.

    NaN places and scores are left out; NaN where fewer than 10 times `n_folds` remain, or all scores are equal.
    """
    from scipy.stats import rankdata
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.neighbors import KNeighborsRegressor

    is_usable = np.isfinite(places).all(axis=1) & np.isfinite(score)
    rank = rankdata(score[is_usable])
    if len(rank) < 10 * n_folds or (rank == rank[0]).all():
        return float("nan")
    n_neighbors = min(n_neighbors, len(rank) // 5)
    folds = KFold(n_folds, shuffle=True, random_state=seed % 2**32)
    predicted = cross_val_predict(KNeighborsRegressor(n_neighbors), places[is_usable], rank, cv=folds)
    return float(1 - np.mean((rank - predicted) ** 2) / np.var(rank))


def find_boxes(
    places: Float[np.ndarray, "n 2"], score: Float[np.ndarray, " n"] | None = None, n_boxes: int = 6
) -> Float[np.ndarray, "n_found 4"]:
    """Square boxes (left, bottom, right, top) to look into, far from one another: first the most peculiar place.

    A box's side is a twelfth of the map's longer side. The next is always the best of those at least one side away from
    all before it: the one where the ranks of the score exceed their mean most significantly, (sum of the excesses) /
    (root of the number); without a score, the fullest. For Fig. 7 of Storey-Fisher et al. 2021, whose boxes were drawn
    by hand.

    Only boxes with nine objects or more are taken, so fewer than `n_boxes` may be found. Objects with a NaN place or
    score are left out.
    """
    from scipy.stats import rankdata

    is_usable = np.isfinite(places).all(axis=1)
    if score is not None:
        is_usable &= np.isfinite(score)
    places = places[is_usable].astype(np.float64)
    if len(places) < LEAST_IN_BOX:
        return np.empty((0, 4))
    low, extent = places.min(axis=0), float(np.ptp(places, axis=0).max())
    step = (extent or 1.0) * BOX_PART / STEPS_A_BOX
    cells = tuple(((places - low) / step).astype(np.int64).T)
    shape = tuple(int(each.max()) + STEPS_A_BOX for each in cells)
    count = _in_windows(cells, shape, None)
    value = count.copy()
    if score is not None:
        rank = rankdata(score[is_usable])
        value = _in_windows(cells, shape, rank - rank.mean()) / np.sqrt(np.maximum(count, 1))
    value[count < LEAST_IN_BOX] = -np.inf
    boxes: list[list[float]] = []
    while len(boxes) < n_boxes and np.isfinite(value).any():
        corner = np.unravel_index(value.argmax(), value.shape)
        boxes.append([*(low + np.array(corner) * step), *(low + (np.array(corner) + STEPS_A_BOX) * step)])
        near = tuple(slice(max(0, each - 2 * STEPS_A_BOX + 1), each + 2 * STEPS_A_BOX) for each in corner)
        value[near] = -np.inf
    return np.array(boxes).reshape(-1, 4)


def is_in_box(places: Float[np.ndarray, "n 2"], box: Float[np.ndarray, " 4"]) -> Bool[np.ndarray, " n"]:
    """Which places are inside a box (left, bottom, right, top), the right and upper edge not; NaN is in none."""
    return np.asarray(((places >= box[:2]) & (places < box[2:])).all(axis=1))


def _in_windows(
    cells: tuple[np.ndarray, ...], shape: tuple[int, ...], weights: np.ndarray | None
) -> Float[np.ndarray, "columns rows"]:
    """Sum of the weights (or the number) of the objects in every square of four by four cells."""
    total = np.zeros(shape)
    np.add.at(total, cells, 1.0 if weights is None else weights)
    windows = np.lib.stride_tricks.sliding_window_view(total, (STEPS_A_BOX, STEPS_A_BOX))
    return windows.sum(axis=(2, 3))
