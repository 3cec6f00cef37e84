import numpy as np
import pytest

from peculiar.sky.injection import STRETCH, host_of, kind_of, plant_in, stretched, unstretched
from peculiar.sky.oddities import ARTEFACTS, ASTROPHYSICAL, INJECTED

pytest.importorskip("galsim", reason='GalSim is not installed: pip install "peculiar[sim]"')


def galaxy(size=96, *, channels=3, radius=6.0, ratio=0.6, angle=0.5, peak=0.05, seed=0):
    """An elliptical exponential body on a noisy sky, stored as uint8."""
    random = np.random.default_rng(seed)
    line = np.arange(size) - size // 2
    x, y = np.meshgrid(line, line)
    along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    body = peak * np.exp(-1.678 * np.hypot(along, across / ratio) / radius)
    sky = 0.01 + 0.001 * random.normal(size=(channels, size, size))
    return stretched(body * np.linspace(1.0, 0.5, channels)[:, None, None] + sky)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("name", INJECTED)
def test_every_class_changes_an_image_of_any_channels_and_keeps_its_form(name, channels):
    image = galaxy(channels=channels)
    strength = 0.3 if kind_of(name) == "astrophysical" else 0.5 if name == "missing_band" else 30.0
    planted = plant_in(image, name, strength, rng=np.random.default_rng(1))
    assert planted.image.shape == image.shape
    assert planted.image.dtype == np.uint8
    assert (planted.image != image).any()
    assert planted.snr > 3
    assert np.isfinite(planted.radius) == (kind_of(name) == "astrophysical")


@pytest.mark.parametrize("size", [24, 33, 64, 128])
def test_frames_of_any_side_can_be_planted_in(size):
    image = galaxy(size, radius=size / 16)
    planted = plant_in(image, "ring", 0.4, rng=np.random.default_rng(0))
    assert planted.image.shape == image.shape
    assert plant_in(image, "bleed", 10.0, rng=np.random.default_rng(0)).image.shape == image.shape


def test_the_stretch_is_undone_to_the_last_level():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    np.testing.assert_array_equal(stretched(unstretched(levels)), levels)
    assert unstretched(levels).max() == 1
    assert unstretched(levels)[0, 8, 0] == pytest.approx(np.sinh(STRETCH * 128 / 255) / np.sinh(STRETCH))


def test_a_hosts_shape_is_measured():
    round_one, flat = host_of(galaxy(ratio=1.0)), host_of(galaxy(ratio=0.4, angle=0.8))
    assert round_one.axis_ratio > 0.9
    assert flat.axis_ratio < 0.7
    assert flat.angle == pytest.approx(0.8, abs=0.1)
    assert host_of(galaxy(radius=9.0)).radius > 1.2 * host_of(galaxy(radius=5.0)).radius
    assert 0.0005 < round_one.noise[0] < 0.002  # drawn with 0.001


def test_what_an_astrophysical_oddity_takes_its_host_loses():
    image = galaxy(peak=0.02)
    for name in (*ASTROPHYSICAL, "second_nucleus"):
        planted = plant_in(image, name, 0.2, rng=np.random.default_rng(3))
        host = host_of(image).flux
        change = (unstretched(planted.image) - unstretched(image)).sum(axis=(1, 2))
        assert np.all(np.abs(change) < 0.06 * host), name  # of the 0.2 and more that moved


def test_blue_oddities_take_more_of_the_bluer_channels():
    image = galaxy()
    changed = unstretched(plant_in(image, "lensed_arc", 0.1, rng=np.random.default_rng(5)).image) - unstretched(image)
    added = np.where(changed > 0, changed, 0).sum(axis=(1, 2)) / host_of(image).flux
    assert added[2] > 1.5 * added[0]


def test_more_light_is_more_signal_and_a_larger_scale_lies_further_out():
    image = galaxy()
    by_share = [plant_in(image, "ring", share, rng=np.random.default_rng(2)).snr for share in (0.03, 0.1, 0.4)]
    assert by_share == sorted(by_share)
    sizes = [plant_in(image, "ring", 0.3, rng=np.random.default_rng(2), scale=each).radius for each in (1.5, 2.0)]
    assert sizes[1] > sizes[0]
    trails = [plant_in(image, "satellite_trail", depth, rng=np.random.default_rng(2)).snr for depth in (3, 30)]
    assert trails[1] > trails[0]


def test_signal_to_noise_is_of_what_changed():
    image = galaxy()
    planted = plant_in(image, "background_step", 20.0, rng=np.random.default_rng(4))
    change = (unstretched(planted.image) - unstretched(image)) / host_of(image).noise[:, None, None]
    assert planted.snr == pytest.approx(np.sqrt((change**2).sum()))


def test_the_same_random_numbers_give_the_same_copy():
    image = galaxy()
    copies = [plant_in(image, "merger", 0.3, rng=np.random.default_rng(7)).image for _ in range(2)]
    np.testing.assert_array_equal(*copies)


def test_a_frame_without_light_is_no_host():
    assert plant_in(np.zeros((64, 64, 3), np.uint8), "ring", 0.3, rng=np.random.default_rng(0)) is None
    assert plant_in(np.full((64, 64, 3), 255, np.uint8), "bleed", 9.0, rng=np.random.default_rng(0)) is None


def test_kinds_and_an_unknown_class():
    assert {kind_of(each) for each in (*ASTROPHYSICAL, "second_nucleus")} == {"astrophysical"}
    assert {kind_of(each) for each in ARTEFACTS} == {"artefact"}
    with pytest.raises(KeyError, match="no oddity 'cow'; there are merger"):
        plant_in(galaxy(), "cow", 0.3, rng=np.random.default_rng(0))


def test_light_of_less_than_a_level_is_added_on_average_and_untouched_levels_stay():
    levels = np.full((64, 64, 1), 9, np.uint8)
    light = unstretched(np.array([[[9], [9]], [[9], [10]]], np.uint8))
    one_level = light[0, 1, 1] - light[0, 0, 0]
    changed = stretched(unstretched(levels) + 0.3 * one_level, rng=np.random.default_rng(0))
    assert changed.mean() == pytest.approx(9.3, abs=0.03)
    np.testing.assert_array_equal(stretched(unstretched(levels), rng=np.random.default_rng(0)), levels)
