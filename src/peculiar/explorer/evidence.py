"""The evidence on one object, as the page shows it: scores, place in the order, what is like it, links."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from peculiar.catalog.viewers import sky_viewers
from peculiar.explorer.opened import Opened
from peculiar.feature_set import default_features
from peculiar.similar import Similar

KEPT_SETS = 2  # feature sets that are held for search


class Evidence:
    """Answers on single objects of an opened ranking."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.similar: Callable[[str], Similar] = lru_cache(KEPT_SETS)(self._open)

    def _open(self, features: str) -> Similar:
        return Similar(self.opened.folder, features)

    def of(self, object_ids: np.ndarray) -> list[dict[str, Any]]:
        """Row, percentiles of scores, rank in the order first shown, and addresses of viewers of the sky, of each."""
        return [self._told(row) for row in self.opened.ranking.rows(object_ids).to_pylist()]

    def _told(self, row: dict[str, Any]) -> dict[str, Any]:
        first = self.opened.ranking.first_shown
        order, object_id = self.opened.number(first), row["object_id"]
        mine = np.nan if row[first] is None else float(row[first])
        ahead = (order > mine) | ((order == mine) & (self.opened.object_ids < object_id))
        try:
            viewers = sky_viewers(row["ra"], row["dec"])
        except ValueError:
            viewers = {}  # a catalog's declination beyond the poles is shown, and leads nowhere
        scores = self.opened.ranking.percentiles(row, order)
        return {
            "object_id": str(object_id),
            "source": row["source"],
            "rank": int(ahead.sum()) + 1 if np.isfinite(mine) else None,
            "of": len(self.opened),
            "scores": {
                name: {"value": _number(value), "percentile": _number(percentile)}
                for name, (value, percentile) in scores.items()
            },
            "row": {name: _shown(value) for name, value in row.items() if name != "object_id"},
            "viewers": viewers,
        }

    def neighbors(
        self, object_id: int, features: str, n: int, *, is_typical: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids and distances of the objects most like one; of the typical ones alone where that is asked for.

        Raises
        ------
        KeyError
            There is no such feature set.
        """
        features = features or default_features(self.opened.folder)
        if features not in self.opened.feature_sets:
            raise KeyError(f"no feature set {features!r}; there are {', '.join(self.opened.feature_sets) or 'none'}")
        similar = self.similar(features)
        if is_typical:
            return similar.to_one_of(object_id, self.opened.ranking.typical(), n)
        return similar.to([object_id], n)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _shown(value: Any) -> Any:
    """A value that JSON has: NaN is null, and whole numbers that JavaScript would round are texts."""
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, int) and abs(value) > 2**53:
        return str(value)
    return value if isinstance(value, str | int | bool) or value is None else str(value)
