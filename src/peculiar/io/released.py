"""Write a selection of objects, with their images, in the HDF5 layout of the original's data release."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float, Int64, UInt8

from peculiar.io.plain import placed

IMAGES_PER_CHUNK = 16  # 0.4 MB of 96x96 color images: one seek for a row of thumbnails, little waste for one image
RELEASED_SCORES = {  # name in the released HDF5: ours
    "anomaly_scores": "score_anom",
    "anomaly_scores_sigma": "score_anom_sigma",
    "disc_scores": "score_disc",
    "disc_scores_sigma": "score_disc_sigma",
    "gen_scores": "score_gen",
    "gen_scores_sigma": "score_gen_sigma",
}
DIFFERENCES = (
    "The layout is that of the file released with Storey-Fisher et al. 2021. What differs: object_ids are int64 and "
    "exact, one for each image; idxs are the rows of this product; the latent is the best step, not the last, and no "
    "noise enters a score; sigma is against the reference sample named with the scores; images keep their size and "
    "channels; residuals are |reals - reconstructed| of the stored uint8 images; datasets are compressed (gzip)."
)


@dataclass(frozen=True)
class ReleaseBatch:
    """Some selected objects of the HDF5 product: ids, the six scores under this package's names, and images."""

    object_ids: Int64[np.ndarray, " n"]
    scores: Mapping[str, Float[np.ndarray, " n"]]
    reals: UInt8[np.ndarray, "n height width channels"]
    reconstructed: UInt8[np.ndarray, "n height width channels"]


def write_hdf5(
    path: Path,
    batches: Iterable[ReleaseBatch],
    *,
    image_shape: tuple[int, int, int],
    reconstruction_weight: float,
    combination_weight: float,
    attributes: Mapping[str, str | int | float] | None = None,
) -> int:
    """Write a selection in the layout of the released HDF5 file; return the number of objects.

    Parameters
    ----------
    path
        The file; an older one is replaced when the new one is whole.
    batches
        The objects, some hundred at a time: memory is that of one batch.
    image_shape
        Height, width, channels of every image; needed so that an empty selection has the same layout.
    reconstruction_weight, combination_weight
        Written as attributes, with the package's version and what differs from the original.
    attributes
        More of them, for example what was selected.
    """
    facts = {
        "reconstruction_weight": reconstruction_weight,
        "combination_weight": combination_weight,
        "package": "peculiar",
        "version": version("peculiar"),
        "orientation": "every score: larger is more anomalous",
        "differences": DIFFERENCES,
    }
    n_objects = 0
    with placed(path) as part, h5py.File(part, "w") as file:
        file.attrs.update({**(attributes or {}), **facts})
        _create_datasets(file, image_shape)
        for batch in batches:
            n_objects = _append(file, batch, n_objects, image_shape)
    return n_objects


def _create_datasets(file: h5py.File, image_shape: tuple[int, int, int]) -> None:
    for name in ("idxs", "object_ids"):
        file.create_dataset(name, (0,), np.int64, maxshape=(None,), chunks=(4096,))
    for name in RELEASED_SCORES:
        file.create_dataset(name, (0,), np.float64, maxshape=(None,), chunks=(4096,))
    for name in ("reals", "reconstructed", "residuals"):
        file.create_dataset(
            name,
            (0, *image_shape),
            np.uint8,
            maxshape=(None, *image_shape),
            chunks=(IMAGES_PER_CHUNK, *image_shape),
            compression="gzip",
            compression_opts=1,
        )


def _append(file: h5py.File, batch: ReleaseBatch, start: int, image_shape: tuple[int, int, int]) -> int:
    """Append a batch to every dataset and return the new length. Lengths must agree before anything is written."""
    stop = start + len(batch.object_ids)
    for name, images in (("reals", batch.reals), ("reconstructed", batch.reconstructed)):
        if images.dtype != np.uint8 or images.shape != (stop - start, *image_shape):
            expected = (stop - start, *image_shape)
            raise ValueError(f"{name} must be uint8 {expected}, got {images.dtype} {images.shape}")
    if batch.object_ids.dtype != np.int64:
        raise ValueError(f"object_ids must be int64, got {batch.object_ids.dtype}")
    residuals = np.abs(batch.reals.astype(np.int16) - batch.reconstructed).astype(np.uint8)
    values = {released: batch.scores[ours] for released, ours in RELEASED_SCORES.items()}
    values |= {"idxs": np.arange(start, stop), "object_ids": batch.object_ids}
    values |= {"reals": batch.reals, "reconstructed": batch.reconstructed, "residuals": residuals}
    for name, rows in values.items():
        if len(rows) != stop - start:
            raise ValueError(f"{name} has {len(rows)} rows for {stop - start} object_ids")
        file[name].resize(stop, axis=0)
        file[name][start:stop] = rows
    return stop
