import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA

from peculiar.maps.pixels import MOST_BYTES, fit_pixels, n_pixel_images


def test_components_are_those_of_scikit_learn(made):
    images = made.images(80, size=16)
    flat = images.reshape(80, -1) / 255
    exact = PCA(6, svd_solver="full").fit(flat)
    found = fit_pixels(images, n_components=6)
    assert_allclose(found.variance, exact.explained_variance_ratio_, rtol=0.02)
    assert found.variance_kept == pytest.approx(exact.explained_variance_ratio_.sum(), rel=0.005)
    assert_allclose(np.abs(found.transform(images)[:, :2]), np.abs(exact.transform(flat)[:, :2]), rtol=0.02, atol=0.01)
    assert_allclose(found.components @ found.components.T, np.eye(6), atol=1e-5)


def test_all_components_together_keep_all_variance_and_all_distances(made):
    images = made.images(40, size=16)
    found = fit_pixels(images)
    numbers = found.transform(images)
    assert numbers.shape == (40, 39)  # one fewer than images: the mean is taken off
    assert numbers.dtype == np.float32
    assert found.variance_kept == pytest.approx(1.0, abs=1e-4)
    flat = images.reshape(40, -1) / 255
    assert_allclose(
        np.linalg.norm(numbers[0] - numbers[1:], axis=1), np.linalg.norm(flat[0] - flat[1:], axis=1), rtol=1e-3
    )


def test_the_same_images_give_the_same_components_and_batches_the_same_numbers(made):
    images = made.images(60, size=16)
    found, again = fit_pixels(images, n_components=8, seed=3), fit_pixels(images, n_components=8, seed=3)
    assert_array_equal(found.components, again.components)
    parts = np.concatenate([found.transform(part) for part in np.array_split(images, 7)])
    assert_allclose(parts, found.transform(images), rtol=1e-4, atol=1e-5)


def test_equal_images_keep_nothing_and_one_image_is_refused(made):
    images = np.repeat(made.images(1, size=16), 5, axis=0)
    found = fit_pixels(images)
    assert found.variance_kept == 0
    assert_allclose(found.transform(images), 0, atol=1e-5)
    with pytest.raises(ValueError, match="principal components need two images or more, got 1"):
        fit_pixels(images[:1])


def test_the_sample_is_bounded_in_number_and_in_bytes():
    assert n_pixel_images(32 * 32 * 3) == 5_000
    assert n_pixel_images(96 * 96 * 3) * 96 * 96 * 3 * 4 <= MOST_BYTES
    assert n_pixel_images(2_000**2) == 512  # so many that 256 components mean something
