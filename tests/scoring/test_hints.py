import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from peculiar.scoring.evaluation import auroc
from peculiar.scoring.hints import ScoreLine, artefact_hint, missing_light, straightness

SIZE = 96


def skies(n, channels=3, seed=0, size=SIZE):
    """A round galaxy of any size on a noisy sky, float."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    radius = random.uniform(2, 5, (n, 1, 1, 1))
    light = random.uniform(60, 200, (n, 1, 1, channels)) * np.exp(-np.hypot(x, y)[None, :, :, None] / radius)
    return light + random.normal(25, 5, (n, size, size, channels))


def stored(images):
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def trail(angle, width=2.5, size=SIZE, offset=12):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.exp(-0.5 * ((x * np.cos(angle) + y * np.sin(angle) - offset) / width) ** 2)


@pytest.mark.parametrize("angle", [0.0, 0.4, np.pi / 2, 2.5])
def test_a_trail_at_any_angle_is_straight(angle):
    plain = skies(12)
    with_trail = plain.copy()
    with_trail[..., 1] += 30 * trail(angle)
    assert straightness(stored(with_trail)).min() > 2 * straightness(stored(plain)).max()


def test_an_edge_of_the_sky_is_straight_and_a_round_neighbor_is_not():
    plain, edge, neighbor = skies(12), skies(12), skies(12)
    edge[:, :, 60:, 0] += 12
    y, x = np.mgrid[:SIZE, :SIZE]
    neighbor[..., 0] += 90 * np.exp(-np.hypot(x - 75, y - 70) / 3)
    values = [straightness(stored(each)) for each in (plain, neighbor, edge)]
    assert values[2].min() > 1.5 * values[1].max()
    assert values[2].min() > 1.5 * values[0].max()


def test_the_brighter_the_trail_the_straighter():
    faint_to_bright = np.stack([skies(1)[0] + height * trail(0.4)[..., None] * [1, 0, 0] for height in (0, 8, 16, 40)])
    assert (np.diff(straightness(stored(faint_to_bright))) > 0).all()


def test_missing_light_is_the_part_of_the_frame_that_one_channel_lacks():
    images = stored(skies(3))
    images[0, :48, :, 2] = 0
    images[1, :48] = 0  # nothing at all: no band is missing alone
    assert_allclose(missing_light(images), [47 / 95, 0, 0], atol=0.001)
    assert_array_equal(missing_light(np.zeros((2, 32, 32, 1), np.uint8)), 0)


def test_constant_images_and_none_at_all_have_a_finite_hint():
    for level in (0, 90, 255):
        images = np.full((2, 33, 33, 3), level, np.uint8)
        assert_array_equal(straightness(images), 0)
        assert np.isfinite(artefact_hint(images, np.zeros(2))).all()
    assert artefact_hint(np.empty((0, 32, 32, 3), np.uint8), np.empty(0)).shape == (0,)


@pytest.mark.parametrize(("size", "channels"), [(32, 1), (47, 2), (128, 3), (200, 5)])
def test_any_size_and_number_of_channels_will_do(size, channels):
    images = skies(6, channels, size=size)
    with_trail = images + 60 * trail(0.4, size / 40, size, size / 8)[None, :, :, None] * (np.arange(channels) == 0)
    assert straightness(stored(with_trail)).min() > straightness(stored(images)).max()


def test_images_do_not_influence_one_another():
    images = stored(skies(300, size=32))
    excess = np.linspace(-4, 4, 300)
    assert_allclose(artefact_hint(images[255:258], excess[255:258]), artefact_hint(images, excess)[255:258], rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(first=st.floats(-50, 50), second=st.floats(-50, 50))
def test_the_hint_never_falls_with_the_excess_and_stays_between_0_and_1(first, second):
    image = stored(skies(1, size=32))
    low, high = (artefact_hint(image, np.array([each]))[0] for each in sorted((first, second)))
    assert 0 < low <= high < 1


def test_without_scores_the_image_alone_decides():
    image = stored(skies(2, size=32))
    assert_array_equal(artefact_hint(image, np.full(2, np.nan)), artefact_hint(image, np.zeros(2)))


def test_planted_artefacts_stand_above_planted_galaxies():
    from peculiar.sky.oddities import ARTEFACTS, stain

    random = np.random.default_rng(2)
    arms = skies(40, seed=3)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    ring = np.exp(-0.5 * ((np.hypot(x, y) - random.uniform(12, 30, (40, 1, 1))) / 1.5) ** 2)
    arms += 12 * ring[..., None] * np.array([0.4, 0.7, 1.0])
    spoiled = skies(40, seed=4)
    for each, image in enumerate(spoiled):
        name = list(ARTEFACTS)[each % len(ARTEFACTS)]
        strength = 0.3 if name == "missing_band" else 4.0
        made = stain(name, strength, sky_sigma=np.full(3, 5.0), rng=random, size=SIZE)
        image[:] = np.where(made.kept, image.transpose(2, 0, 1) + made.light, 0).transpose(1, 2, 0)
    hint = artefact_hint(stored(np.concatenate([arms, spoiled])), np.zeros(80))
    assert auroc(hint, np.arange(80) >= 40) > 0.9


def test_the_line_is_found_whatever_a_few_objects_do():
    random = np.random.default_rng(0)
    gen = random.lognormal(3, 0.5, 5_000)
    disc = np.exp(1.5 + 0.4 * np.log(gen) + random.normal(0, 0.1, 5_000))
    disc[:400] *= 50
    line = ScoreLine.of(gen, disc)
    assert_allclose([line.slope, line.intercept], [0.4, 1.5], atol=0.08)
    assert line.deviation == pytest.approx(0.1, rel=0.2)
    shuffled = random.permutation(5_000)
    assert ScoreLine.of(gen[shuffled], disc[shuffled]) == line
    assert line.excess(gen[:400], disc[:400]).min() > 10


def test_constant_few_and_missing_scores_have_no_excess():
    line = ScoreLine.of(np.ones(9), np.ones(9))
    assert_array_equal(line.excess(np.array([1.0, np.nan]), np.array([5.0, 1.0])), [0, np.nan])
    assert ScoreLine.of(np.array([]), np.array([])) == ScoreLine(0, 0, 0)
    with_nan = ScoreLine.of(np.array([1, 2, 4, np.nan]), np.array([1, 4, 16, 3.0]))
    assert with_nan.slope == pytest.approx(2)
