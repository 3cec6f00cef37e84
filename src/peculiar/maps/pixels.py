"""Pixels in few numbers: the principal components that a map of images is made from."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

N_COMPONENTS = 256
MOST_IMAGES = 5_000  # that the components are found on
MOST_BYTES = 2**29  # of these as float32
N_ITERATIONS = 4  # of subspace iteration: Halko, Martinsson & Tropp 2011


@dataclass(frozen=True)
class PixelComponents:
    """Principal components of images from 0 to 1, and the part of the variance that each keeps."""

    mean: Float32[np.ndarray, " n_pixels"]
    components: Float32[np.ndarray, "n_components n_pixels"]
    variance: Float32[np.ndarray, " n_components"]

    @property
    def variance_kept(self) -> float:
        """Part of the variance of the sample's pixels that all components together keep, 0 to 1."""
        return float(self.variance.sum())

    def transform(self, images: UInt8[np.ndarray, "n height width channels"]) -> Float32[np.ndarray, "n n_components"]:
        """The numbers of every image; give a batch, as 4 bytes a pixel are needed."""
        return (_flat(images) - self.mean) @ self.components.T


def fit_pixels(
    images: UInt8[np.ndarray, "n height width channels"], *, n_components: int = N_COMPONENTS, seed: int = 0
) -> PixelComponents:
    """Find the principal components of a sample of images, by randomized subspace iteration.

    Storey-Fisher et al. 2021, sect. 4.3, give UMAP the pixels themselves; 256 numbers have the same neighbors but for
    what is mostly noise, and can be kept for 100,000 objects. Any number of images can be transformed afterwards, a
    batch at a time.

    Parameters
    ----------
    images
        `n_pixel_images` of them, or as many as there are. Images or residuals.
    n_components
        At most; fewer where there are fewer images or pixels. Where all images are equal, they keep nothing.

    Raises
    ------
    ValueError
        Fewer than two images.
    """
    from sklearn.utils.extmath import randomized_svd

    if len(images) < 2:
        raise ValueError(f"principal components need two images or more, got {len(images)}")
    pixels = _flat(images)
    mean = pixels.mean(axis=0, dtype=np.float64).astype(np.float32)
    pixels -= mean
    n_components = min(n_components, len(pixels) - 1, pixels.shape[1])
    _, singular, components = randomized_svd(
        pixels, n_components, n_iter=N_ITERATIONS, random_state=seed % 2**32, flip_sign=True
    )
    total = sum(float(row @ row) for row in pixels)
    variance = singular.astype(np.float64) ** 2 / total if total else np.zeros(n_components)
    return PixelComponents(mean, np.ascontiguousarray(components), variance.astype(np.float32))


def n_pixel_images(n_pixels: int) -> int:
    """How many images `fit_pixels` is given at most: 5,000, or what half a GiB holds."""
    return max(2 * N_COMPONENTS, min(MOST_IMAGES, MOST_BYTES // (4 * n_pixels)))


def _flat(images: np.ndarray) -> np.ndarray:
    pixels: np.ndarray = images.reshape(len(images), -1).astype(np.float32)
    pixels /= np.float32(255.0)
    return pixels
