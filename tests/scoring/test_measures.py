import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA

from peculiar.scoring.measures import MEASURES, PixelPCA, fit_pixel_pca, measure, n_pca_images


def by_hand(image):
    """The formulas of METHOD.md sect. 8 and of the docstring, pixel by pixel."""
    size, gray = len(image), image.astype(float).mean(axis=2)
    background = np.median(gray)
    total = weighted = inner = inner_weighted = 0.0
    for y in range(size):
        for x in range(size):
            light = max(gray[y, x] - background - 3, 0)
            distance = math.hypot(y - (size - 1) / 2, x - (size - 1) / 2) * 96 / size
            total += light
            weighted += light * distance
            if distance <= 24:
                inner += light
                inner_weighted += light * distance
    first = size // 2 - size // 12
    edged = np.pad(gray, 1, mode="symmetric")
    smooth = sum(edged[1 + y : 1 + y + size, 1 + x : 1 + x + size] for y in (-1, 0, 1) for x in (-1, 0, 1)) / 9
    return {
        "brightness": gray.mean(),
        "spread": gray.std(),
        "radius": weighted / total if total else 0,
        "core": gray[first : size - first, first : size - first].mean(),
        "background": background,
        "noise": np.median(np.abs(gray - smooth)),
        "inner_light": inner / size**2,
        "inner_radius": inner_weighted / inner if inner else 0,
        "outskirts": (total - inner) / size**2,
    }


@pytest.mark.parametrize(("size", "channels"), [(32, 1), (48, 3), (96, 3), (36, 5)])
def test_measures_are_the_methods_formulas(made, size, channels):
    images = made.images(4, size=size, channels=channels, seed=size)
    found = measure(images)
    assert tuple(found) == MEASURES
    for place, image in enumerate(images):
        for name, value in by_hand(image).items():
            assert found[name].dtype == np.float32
            assert found[name][place] == pytest.approx(value, rel=1e-4, abs=1e-4), name


def test_light_at_a_known_distance_has_that_radius():
    image = np.full((1, 96, 96, 3), 10, np.uint8)
    image[0, 48, 47 + 20] = image[0, 47, 47 + 20] = 200
    assert measure(image)["radius"][0] == pytest.approx(math.hypot(19.5, 0.5), rel=1e-5)


def test_the_core_is_the_central_sixth():
    image = np.zeros((1, 96, 96, 1), np.uint8)
    image[0, 40:56, 40:56] = 240
    assert measure(image)["core"][0] == 240
    image[0, 47, 47] = 0
    assert measure(image)["core"][0] == pytest.approx(240 * 255 / 256)


def test_a_constant_image_has_no_radius_and_no_spread():
    found = measure(np.full((2, 32, 32, 3), 77, np.uint8))
    assert {name: values.tolist() for name, values in found.items()} == {
        "brightness": [77, 77],
        "spread": [0, 0],
        "radius": [0, 0],
        "core": [77, 77],
        "background": [77, 77],
        "noise": [0, 0],
        "inner_light": [0, 0],
        "inner_radius": [0, 0],
        "outskirts": [0, 0],
    }


def test_measures_do_not_depend_on_the_batch(made):
    images = made.images(9)
    whole = measure(images)
    for name, values in measure(images[5:6]).items():
        assert values[0] == whole[name][5]


@pytest.mark.parametrize("n_components", [3, 12])
def test_pixel_pca_reconstructs_as_scikit_learns(made, n_components):
    images, new = made.images(40), made.images(10, seed=9)
    flat, flat_new = (each.reshape(len(each), -1) / 255 for each in (images, new))
    reference = PCA(n_components, svd_solver="full").fit(flat)
    expected = np.sqrt(np.mean((flat_new - reference.inverse_transform(reference.transform(flat_new))) ** 2, axis=1))
    pca = fit_pixel_pca(images, n_components)
    assert_allclose(pca.score(new), expected, rtol=1e-3)
    assert_allclose(pca.components @ pca.components.T, np.eye(n_components), atol=1e-4)
    assert_allclose(pca.mean, reference.mean_, atol=1e-6)


def test_images_in_the_span_of_the_components_have_no_error(made):
    images = made.images(12)
    assert fit_pixel_pca(images).score(images).max() < 1e-3
    assert fit_pixel_pca(images).components.shape == (11, images[0].size)


def test_identical_images_leave_no_component_and_no_error():
    images = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8), 5, axis=0)
    pca = fit_pixel_pca(images)
    assert np.isfinite(pca.score(images)).all()
    assert pca.score(images).max() < 1e-3


def test_an_error_is_the_root_of_the_mean_square():
    pca = PixelPCA(np.zeros(4, np.float32), np.array([[1, 0, 0, 0]], np.float32))
    image = np.array([255, 51, 0, 102], np.uint8).reshape(1, 2, 2, 1)
    assert pca.score(image)[0] == pytest.approx(math.sqrt((0.2**2 + 0.4**2) / 4))


def test_the_sample_for_components_fits_the_memory():
    assert n_pca_images(32 * 32 * 3) == 2_000
    assert n_pca_images(220 * 220 * 3) * 220 * 220 * 3 * 4 <= 2**28
    assert n_pca_images(10**8) == 128
