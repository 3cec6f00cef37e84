import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal

from peculiar.sky.pixels import to_network, to_stored, turned


def test_every_byte_comes_back():
    images = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    network = to_network(images)
    assert network.dtype == np.float32
    assert (network.min(), network.max()) == (0.0, 1.0)
    assert_array_equal(to_stored(network), images)
    assert_array_equal(to_stored(network.astype(np.float64)), images)


@settings(max_examples=25, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 6), st.integers(1, 8))))
def test_the_bridge_undoes_itself_and_moves_channels(images):
    network = to_network(images)
    assert network.shape == (images.shape[0], images.shape[3], images.shape[1], images.shape[2])
    assert_array_equal(network[:, 0] * 255, images[..., 0])
    assert_array_equal(to_stored(network), images)
    assert network.flags.c_contiguous
    assert to_stored(network).flags.c_contiguous


def test_values_outside_0_to_1_are_clipped_and_others_rounded():
    network = np.array([-0.2, 0.4 / 255, 0.6 / 255, 254.6 / 255, 1.7], np.float32).reshape(1, 1, 1, 5)
    assert to_stored(network).ravel().tolist() == [0, 0, 1, 255, 255]


@pytest.mark.parametrize("images", [np.zeros((2, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8)])
def test_other_than_stored_images_are_refused(images):
    with pytest.raises(ValueError, match=r"must be uint8 \(n, height, width, channels\), got .*peculiar ingest"):
        to_network(images)


# --- the square's symmetries


def all_eight(image):
    return turned(np.repeat(image[None], 8, axis=0), np.arange(8))


def test_the_eight_symmetries_differ_and_keep_every_pixel():
    image = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    images = all_eight(image)
    assert len({each.tobytes() for each in images}) == 8
    for each in images:
        assert_array_equal(np.sort(each.reshape(-1, 3), axis=0), np.sort(image.reshape(-1, 3), axis=0))


def test_the_symmetries_are_a_group():
    image = np.arange(25, dtype=np.uint8).reshape(5, 5, 1)
    numbers = {each.tobytes(): symmetry for symmetry, each in enumerate(all_eight(image))}
    table = np.array([[numbers[twice.tobytes()] for twice in all_eight(once)] for once in all_eight(image)])
    assert_array_equal(table[0], np.arange(8))
    assert_array_equal(table[:, 0], np.arange(8))
    assert_array_equal(np.sort(table, axis=0), np.arange(8)[:, None].repeat(8, axis=1))
    assert_array_equal(np.sort(table, axis=1), np.arange(8)[None].repeat(8, axis=0))
    assert (table != table.T).any()  # the square's group does not commute
    assert table[1, 1] == 2
    assert [table[each, each] for each in (4, 5, 6, 7)] == [0, 0, 0, 0]


def test_symmetries_are_turns_and_mirrors_as_numpy_has_them():
    image = np.random.default_rng(1).integers(0, 256, (4, 4, 2), np.uint8)
    images = all_eight(image)
    assert_array_equal(images[0], image)
    assert_array_equal(images[1], np.rot90(image))
    assert_array_equal(images[4], image[:, ::-1])
    assert_array_equal(images[6], np.rot90(image[:, ::-1], 2))


def test_every_image_gets_its_own_symmetry():
    images = np.random.default_rng(1).integers(0, 256, (9, 4, 4, 2), np.uint8)
    symmetry = np.array([3, 0, 7, 7, 1, 2, 5, 4, 6])
    for place, result in enumerate(turned(images, symmetry)):
        assert_array_equal(result, all_eight(images[place])[symmetry[place]])
