import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from peculiar.scoring.scores import SCORES, Distribution, Reference, score_anom

VALUES = np.random.default_rng(0).lognormal(5, 0.4, 4_000)


def made_reference(n=300, seed=0):
    random = np.random.default_rng(seed)
    scores = {name: random.lognormal(4, 0.3, n) for name in SCORES}
    object_id = random.permutation(n).astype(np.int64) - 20
    covariates = random.normal(size=(n, 3))
    return Reference.of(scores, {"object_id": object_id, **scores}, covariates), object_id, scores, covariates


def test_a_distribution_has_numpys_and_scipys_statistics():
    distribution = Distribution.of(VALUES)
    assert distribution.n_objects == 4_000
    assert distribution.mean == pytest.approx(VALUES.mean())
    assert distribution.deviation == pytest.approx(VALUES.std(ddof=0))
    assert distribution.median == pytest.approx(np.median(VALUES))
    assert distribution.mad == pytest.approx(stats.median_abs_deviation(VALUES))


def test_sigma_robust_sigma_and_percentile_are_the_fields_own():
    distribution, new = Distribution.of(VALUES), np.array([20.0, 150.0, 400.0, 5_000.0])
    assert_allclose(distribution.sigma(new), (new - VALUES.mean()) / VALUES.std())
    robust = (new - np.median(VALUES)) / stats.median_abs_deviation(VALUES, scale="normal")
    assert_allclose(distribution.robust_sigma(new), robust, rtol=1e-4)
    assert_allclose(distribution.percentile(new), stats.percentileofscore(VALUES, new), atol=0.1)
    assert_allclose(distribution.sigma(VALUES).std(), 1)


def test_percentiles_are_fine_toward_the_top():
    percentile = Distribution.of(VALUES).percentile(np.sort(VALUES)[-5:])
    assert_allclose(percentile, 100 * np.arange(3_995, 4_000) / 3_999, atol=0.01)
    assert (np.diff(percentile) > 0).all()


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6)),
    arrays(np.float64, 20, elements=st.floats(-2e6, 2e6)),
)
def test_all_forms_are_monotone_and_percentiles_lie_from_0_to_100(reference, new):
    distribution, new = Distribution.of(reference), np.sort(new)
    for form in (distribution.sigma, distribution.robust_sigma, distribution.percentile):
        assert np.isfinite(form(new)).all()
        assert (np.diff(form(new)) >= 0).all()
    percentile = distribution.percentile(new)
    assert percentile.min() >= 0
    assert percentile.max() <= 100
    assert (percentile[new < reference.min()] == 0).all()
    assert (percentile[new > reference.max()] == 100).all()


def test_against_a_constant_reference_every_sigma_is_0():
    distribution = Distribution.of(np.full(7, 3.5))
    values = np.array([3.0, 3.5, 4.0])
    assert_array_equal(distribution.sigma(values), 0)
    assert_array_equal(distribution.robust_sigma(values), 0)
    assert distribution.percentile(values)[[0, 2]].tolist() == [0, 100]


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [np.inf]])
def test_a_reference_that_is_no_numbers_is_refused(values):
    with pytest.raises(ValueError, match="a reference needs finite scores, got"):
        Distribution.of(np.array(values))


def test_a_distribution_survives_json_to_the_last_digit():
    distribution = Distribution.of(VALUES)
    assert Distribution.from_json(json.loads(json.dumps(distribution.to_json()))) == distribution


def test_the_combined_score_is_equation_6_in_float64():
    gen, disc = np.array([1e7 + 1, 2], np.float32), np.array([3, 5], np.float32)
    assert_allclose(score_anom(gen, disc, 0.3), [0.7 * (1e7 + 1) + 0.9, 1.4 + 1.5], rtol=1e-14)
    assert score_anom(gen, disc, 0.3).dtype == np.float64
    assert_array_equal(score_anom(gen, disc, 0.0), gen)
    assert_array_equal(score_anom(gen, disc, 1.0), disc)


def test_every_score_gets_its_four_forms_each_against_its_own_distribution():
    reference, object_id, scores, covariates = made_reference()
    found = reference.relate(object_id, scores, covariates)
    forms = ("sigma", "robust_sigma", "percentile", "conditional")
    assert set(found) == {f"{name}_{form}" for name in SCORES for form in forms}
    for name in SCORES:
        assert_allclose(found[f"{name}_sigma"], stats.zscore(scores[name]))
        single = reference.neighborhood.conditional(
            object_id, covariates, np.log(np.stack([scores[each] for each in SCORES], axis=1))
        )
        assert_array_equal(found[f"{name}_conditional"], single[:, SCORES.index(name)])


def test_relative_forms_do_not_depend_on_what_they_are_computed_beside():
    reference, object_id, scores, covariates = made_reference()
    whole = reference.relate(object_id, scores, covariates)
    chosen = np.random.default_rng(1).permutation(300)[:40]
    part = reference.relate(
        object_id[chosen], {name: values[chosen] for name, values in scores.items()}, covariates[chosen]
    )
    for name, values in part.items():
        assert_array_equal(values, whole[name][chosen])


def test_objects_with_a_covariate_that_is_no_number_are_no_neighbors():
    random = np.random.default_rng(0)
    scores = {name: random.lognormal(4, 0.3, 100) for name in SCORES}
    covariates = random.normal(size=(100, 2))
    covariates[::10, 1] = np.nan
    object_id = np.arange(100)
    reference = Reference.of(scores, {"object_id": object_id, **scores}, covariates)
    assert not set(reference.neighborhood.object_id) & set(range(0, 100, 10))
    found = reference.relate(object_id, scores, covariates)
    assert_array_equal(np.isnan(found["score_anom_conditional"]), np.isnan(covariates[:, 1]))
    assert np.isfinite(found["score_anom_sigma"]).all()


def test_the_digest_changes_when_any_number_does():
    digests = {made_reference()[0].digest}
    assert made_reference()[0].digest in digests
    for change in range(6):
        reference = made_reference()[0]
        near, distributions = reference.neighborhood, dict(reference.distributions)
        fields = [near.object_id.copy(), near.covariates.copy(), near.log_scores.copy()]
        if change < 3:
            fields[change].ravel()[7] = np.nextafter(fields[change].ravel()[7], np.inf) if change else 10**6
        else:
            written = distributions["score_disc"].to_json()
            key = ("mean", "mad", "n_objects")[change - 3]
            written[key] = written[key] + 1 if key == "n_objects" else float(np.nextafter(written[key], np.inf))
            distributions["score_disc"] = Distribution.from_json(written)
        digests.add(Reference(distributions, type(near)(*fields)).digest)
    assert len(digests) == 7
    assert all(len(each) == 32 for each in digests)
