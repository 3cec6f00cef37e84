"""A finished feature set opened for reading: a named vector an object, whatever made it."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from peculiar.checkpoint import load_pinned
from peculiar.run import Run, read_run
from peculiar.survey import Table

SCAN_ROWS = 8_192


class FeatureSet:
    """`features/<name>` of the atlas in `folder`; `run` says what the vectors are and were made by.

    Raises
    ------
    FileNotFoundError
        It is not complete; those that are there are named.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name, self.home = folder, name, folder / "features" / name
        run = read_run(self.home)
        if run is None:
            there = ", ".join(feature_sets(folder)) or "none"
            raise FileNotFoundError(
                f'features/{name} is not complete in {folder} (there: {there}); run "peculiar features" first'
            )
        self.run: Run = run
        self.table = Table(self.home / "table.lance")

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def n_features(self) -> int:
        """Length of a vector."""
        return int(self.table.schema.field("vector").type.list_size)

    def scan(self, batch_size: int = SCAN_ROWS) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Ids and vectors, float32 (n, n_features), of all objects, a batch at a time."""
        return scan_vectors(self.table, batch_size)

    def whole(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids and vectors of all objects at once: 4 bytes a number."""
        object_id, vectors = np.empty(len(self), np.int64), np.empty((len(self), self.n_features), np.float32)
        start = 0
        for ids, rows in self.scan():
            object_id[start : start + len(ids)], vectors[start : start + len(ids)] = ids, rows
            start += len(ids)
        return object_id, vectors

    def take(self, object_ids: np.ndarray) -> np.ndarray:
        """Vectors of these objects, float32 (n, n_features), in the order asked for."""
        return take_vectors(self.table, object_ids).reshape(len(object_ids), self.n_features)

    def decoded(self, object_ids: np.ndarray) -> np.ndarray:
        """What the autoencoder gives back of these objects' vectors, uint8 (n, height, width, channels).

        Raises
        ------
        ValueError
            No autoencoder made the set, or its file has changed since.
        """
        if self.run.outputs["kind"] != "autoencoder":
            raise ValueError(f"features/{self.name} was made by {self.run.outputs['kind']}; only autoencoders decode")
        from peculiar import engine

        engine.tune()
        import torch

        from peculiar.networks.autoencoder import Autoencoder
        from peculiar.sky.pixels import to_stored

        made_by = self.run.outputs["provenance"]
        network = load_pinned(self.folder / made_by["network"], made_by["digest"], "autoencoder", Autoencoder)
        with torch.no_grad():
            return to_stored(network.decode(torch.tensor(self.take(object_ids))).numpy())


def scan_vectors(table: Table, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ids and vectors, float32 (n, n_features), of all rows of a table of vectors, a batch at a time."""
    for batch in table.scan(["object_id", "vector"], batch_size=batch_size):
        yield batch["object_id"].to_numpy().astype(np.int64), vectors_of(batch["vector"])


def take_vectors(table: Table, object_ids: np.ndarray) -> np.ndarray:
    """Vectors of these objects in a table of vectors, float32 (n, n_features), in the order asked for."""
    return vectors_of(table.take(object_ids, ["vector"])["vector"])


def vectors_of(column: Any) -> np.ndarray:
    """An Arrow column of fixed-size lists, in one piece or in chunks, as one array, float32 (n, n_features)."""
    whole = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    flat: np.ndarray = whole.flatten().to_numpy(zero_copy_only=False)
    return flat.astype(np.float32, copy=False).reshape(len(column), -1)


def feature_sets(folder: Path) -> list[str]:
    """Names of the complete feature sets of an atlas."""
    return sorted(path.parent.name for path in (folder / "features").glob("*/run.json"))
