"""Make the atlas that the browser's tests look at: python atlas.py FOLDER [N_OBJECTS].

Blobs on a noisy sky, ids of 17 digits, a catalog with hostile texts, networks of a few steps, two maps.
"""

import sys
from pathlib import Path

import h5py
import numpy as np
from astropy.table import Table

from peculiar import Atlas

SIZE = 32
ID_OFFSET = 43_158_859_342_174_406
SCRIPTS = ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>")
HOSTILE = (*SCRIPTS, "../../etc/passwd", "'; DROP TABLE survey; --", "")


def drawn(n_objects: int, seed: int = 0) -> np.ndarray:
    """Blobs of many sizes, brightnesses and colors, uint8 (n_objects, SIZE, SIZE, 3)."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    images = np.empty((n_objects, SIZE, SIZE, 3), np.uint8)
    for start in range(0, n_objects, 1_000):
        n = min(1_000, n_objects - start)
        radius, tilt = random.uniform(1.5, SIZE / 6, (n, 1, 1)), random.uniform(0, np.pi, (n, 1, 1))
        along, across = x * np.cos(tilt) + y * np.sin(tilt), y * np.cos(tilt) - x * np.sin(tilt)
        light = np.exp(-np.hypot(along, across / random.uniform(0.3, 1, (n, 1, 1))) / radius)[..., None]
        pixels = random.uniform(40, 220, (n, 1, 1, 3)) * light + random.normal(12, 4, (n, SIZE, SIZE, 3))
        images[start : start + n] = np.clip(pixels, 0, 255)
    return images


def make(folder: Path, n_objects: int) -> None:
    """Fill the atlas in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    object_id = ID_OFFSET + np.arange(n_objects, dtype=np.int64)
    with h5py.File(folder / "images.hdf5", "w") as file:
        file["images"], file["object_id"] = drawn(n_objects), object_id
    random = np.random.default_rng(1)
    ra, dec = 150 + random.uniform(0, 1, n_objects), 2 + random.uniform(0, 1, n_objects)
    ra[4] = dec[4] = np.nan
    note = np.array(HOSTILE)[np.arange(n_objects) % len(HOSTILE)]
    columns = {"object_id": object_id, "ra": ra, "dec": dec, "note": note, "magnitude": random.normal(21, 1, n_objects)}
    Table(columns).write(folder / "objects.fits", overwrite=True)
    atlas = Atlas(folder / "atlas")
    atlas.ingest(folder / "images.hdf5", catalog=folder / "objects.fits")
    atlas.train_gan(n_latent=4, n_steps=4, learning_rate=0.02, width=2, batch_size=8, save_every=2)
    atlas.train_encoder(n_steps=4, width=2, batch_size=8, save_every=2)
    atlas.score(n_latent_steps=1)
    atlas.rank(n_reconstructions=3)
    atlas.train_features(width=2, n_features=4, side=16, batch_size=16, n_steps=2)
    atlas.make_features("self-supervised")
    atlas.make_features("critic")
    for name in ("self-supervised", "critic"):
        atlas.make_map(name, method="pca")


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10_000)
