import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from peculiar.scoring.significance import discovery_rates, mirrored_null, p_values


def test_p_is_the_part_of_the_null_that_is_as_large():
    null = np.array([1.0, 2.0, 2.0, 5.0, np.nan])
    assert_allclose(p_values(np.array([0.0, 2.0, 3.0, 9.0]), null), [5 / 5, 4 / 5, 2 / 5, 1 / 5])
    assert np.isnan(p_values(np.array([np.nan]), null)).all()
    with pytest.raises(ValueError, match="holds no finite value"):
        p_values(np.array([1.0]), np.array([np.nan]))


def test_ordinary_objects_have_every_p_equally_often():
    random = np.random.default_rng(0)
    p = p_values(random.normal(size=20_000), random.normal(size=20_000))
    assert_allclose(np.histogram(p, 10, (0, 1))[0] / 20_000, 0.1, atol=0.01)


def test_the_null_is_that_of_ordinary_objects_whatever_the_upper_tail():
    random = np.random.default_rng(1)
    values = np.concatenate([random.normal(size=20_000), random.uniform(4, 9, 400)])
    null = mirrored_null(values)
    assert_allclose(np.percentile(null, [16, 50, 84, 97.7]), [-1, 0, 1, 2], atol=0.1)
    assert_array_equal(mirrored_null(np.append(values, np.nan)), null)
    with pytest.raises(ValueError, match="two finite values or more, got 1"):
        mirrored_null(np.array([1.0, np.nan]))


def test_rates_are_benjamini_and_hochbergs():
    p = np.array([0.01, 0.04, 0.03, 0.5, np.nan])
    # m p / rank, the least of all larger ones: 4 x 0.01 / 1, 4 x 0.04 / 3, the same, 0.5
    assert_allclose(discovery_rates(p)[:4], [0.04, 0.16 / 3, 0.16 / 3, 0.5])
    assert np.isnan(discovery_rates(p)[4])
    assert np.isnan(discovery_rates(p[4:])).all()


def test_among_those_found_no_more_are_false_than_said():
    random = np.random.default_rng(2)
    parts = []
    for _ in range(20):
        values = np.concatenate([random.normal(size=5_000), random.normal(5, 1, 100)])
        found = discovery_rates(p_values(values, mirrored_null(values))) <= 0.1
        parts.append(found[:5_000].sum() / max(1, found.sum()))
        assert found[5_000:].mean() > 0.8
    assert np.mean(parts) < 0.13
