"""What can be said of an image without a network: brightness, size, and the error of a linear reconstruction.

These are the covariates of the conditional scores and the baselines that a network has to beat. METHOD.md sect. 8.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8

MEASURES = (
    *("brightness", "spread", "radius", "core", "background"),  # METHOD.md sect. 8
    *("noise", "inner_light", "inner_radius", "outskirts"),
)
COVARIATES = ("noise", "outskirts", "core", "inner_radius", "inner_light", "background")  # docs/experiments.md
INNER_RADIUS = 24.0  # pixels at 96: holds a galaxy of i = 20 (its half-light radius is some 5), not its neighbors
REFERENCE_SIZE = 96  # radii are given in pixels of a 96-pixel image, whatever the image's own size
NOISE_LEVELS = 3.0  # gray levels above the background that light begins at; METHOD.md sect. 8
N_COMPONENTS = 64  # of the pixel PCA; METHOD.md sect. 8
PCA_BYTES = 2**27  # memory for the images that the components are found on


def measure(images: UInt8[np.ndarray, "n height width channels"]) -> dict[str, Float32[np.ndarray, " n"]]:
    """Simple measures of every image's gray levels (the mean of its channels, 0 to 255).

    Returns
    -------
    brightness
        Mean.
    spread
        Standard deviation.
    radius
        Mean distance from the center, weighted by the light more than 3 levels above the background, in pixels of a
        96-pixel image; 0 where there is no such light.
    core
        Mean of the central sixth (by side).
    background
        Median.
    noise
        Median absolute difference of a pixel and the mean of the 3 x 3 around it.
    inner_light, outskirts
        Mean light more than 3 levels above the background, within 24 pixels (at 96) of the center and beyond, each as
        a mean over the whole image: of the object, and of what surrounds it.
    inner_radius
        As `radius`, of the inner light alone.
    """
    from scipy.ndimage import uniform_filter

    gray = images.mean(axis=3, dtype=np.float32)  # (n, height, width)
    size = gray.shape[1]
    background = np.median(gray, axis=(1, 2))
    light = np.maximum(gray - background[:, None, None] - NOISE_LEVELS, 0.0)
    offsets = np.arange(size, dtype=np.float32) - (size - 1) / 2
    distance = np.hypot(offsets[:, None], offsets[None, :]) * (REFERENCE_SIZE / size)
    total = light.sum(axis=(1, 2))
    first = size // 2 - max(size // 12, 1)
    core = gray[:, first : size - first, first : size - first]
    is_inner = distance <= INNER_RADIUS
    inner = light * is_inner
    smooth = uniform_filter(gray, (0, 3, 3))
    found = {
        "brightness": gray.mean(axis=(1, 2)),
        "spread": gray.std(axis=(1, 2)),
        "radius": (light * distance).sum(axis=(1, 2)) / np.maximum(total, 1e-6),
        "core": core.mean(axis=(1, 2)),
        "background": background,
        "noise": np.median(np.abs(gray - smooth), axis=(1, 2)),
        "inner_light": inner.mean(axis=(1, 2)),
        "inner_radius": (inner * distance).sum(axis=(1, 2)) / np.maximum(inner.sum(axis=(1, 2)), 1e-6),
        "outskirts": (light * ~is_inner).mean(axis=(1, 2)),
    }
    return {name: values.astype(np.float32) for name, values in found.items()}


@dataclass(frozen=True)
class PixelPCA:
    """Principal components of the pixels of images from 0 to 1."""

    mean: Float32[np.ndarray, " n_pixels"]
    components: Float32[np.ndarray, "n_components n_pixels"]

    def score(self, images: UInt8[np.ndarray, "n height width channels"]) -> Float32[np.ndarray, " n"]:
        """Root of the mean squared difference of every image and its reconstruction from the components."""
        pixels = _flat(images)
        pixels -= self.mean
        residual = pixels - (pixels @ self.components.T) @ self.components
        return np.sqrt(np.mean(residual**2, axis=1))


def n_pca_images(n_pixels: int) -> int:
    """How many images fit the memory that `fit_pixel_pca` is allowed."""
    return max(2 * N_COMPONENTS, min(2_000, PCA_BYTES // (4 * n_pixels)))


def fit_pixel_pca(images: UInt8[np.ndarray, "n height width channels"], n_components: int = N_COMPONENTS) -> PixelPCA:
    """Find the components of a sample of images, by the eigenvectors of its n x n Gram matrix."""
    pixels = _flat(images)
    mean = pixels.mean(axis=0)
    pixels -= mean
    values, vectors = np.linalg.eigh((pixels @ pixels.T).astype(np.float64))
    kept = np.flatnonzero(values > values[-1] * 1e-10)[::-1][: min(n_components, len(images) - 1)]
    scaled = (vectors[:, kept] / np.sqrt(values[kept])).astype(np.float32)
    return PixelPCA(mean, np.ascontiguousarray(scaled.T @ pixels))


def _flat(images: UInt8[np.ndarray, "n height width channels"]) -> Float[np.ndarray, "n n_pixels"]:
    pixels = images.reshape(len(images), -1).astype(np.float32)
    pixels /= np.float32(255.0)
    return pixels
