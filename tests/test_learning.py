import numpy as np
import pytest

from peculiar.learning import ENOUGH_LABELS, N_PRESUMED, learn, look_through


def drawn(n, seed=0):
    """Features of two kinds, scores, and whether each is of the rarer kind."""
    random = np.random.default_rng(seed)
    is_one = np.arange(n) % 10 == 0
    return random.normal(size=(n, 3)) + 2.5 * is_one[:, None], random.normal(size=(n, 1)), is_one


@pytest.mark.parametrize("model", ["gaussian-process", "logistic", "forest"])
def test_objects_at_random_teach_what_labels_that_all_say_yes_cannot(model):
    features, scores, is_one = drawn(400)
    yes, others = np.flatnonzero(is_one)[:8], np.flatnonzero(~is_one)[:100]
    rest = np.setdiff1d(np.arange(400), [*yes, *others])
    presumed = features[others], scores[others]
    with_them = learn(model, features[yes], scores[yes], np.ones(8), presumed=presumed)
    mean, _ = with_them.predict(features[rest], scores[rest])
    assert mean[is_one[rest]].mean() > mean[~is_one[rest]].mean() + 0.1
    assert mean[~is_one[rest]].mean() < 0.3


def test_where_labels_are_many_nothing_is_presumed():
    features, scores, is_one = drawn(ENOUGH_LABELS)
    presumed = features[:N_PRESUMED], scores[:N_PRESUMED]
    alone, with_them = (
        learn("logistic", features, scores, is_one.astype(float), presumed=each) for each in (None, presumed)
    )
    np.testing.assert_array_equal(alone.predict(features, scores)[0], with_them.predict(features, scores)[0])


def test_what_looks_like_nothing_that_was_labelled_stays_at_the_prior():
    features, scores, _ = drawn(60)
    said = learn("gaussian-process", features[:1], scores[:1], np.ones(1), presumed=(features, scores))
    mean, _ = said.predict(features, scores)
    assert mean[0] == mean.max()
    far = np.argsort(((features - features[0]) ** 2).sum(axis=1))[-20:]
    assert np.median(mean[far]) < 0.2


def test_until_something_is_found_the_order_is_gone_on_with():
    """Those of interest lie in the middle of the order; all that comes before says no, and must not lead to its end."""
    features, scores, _ = drawn(500)
    order = np.argsort(-scores[:, 0], kind="stable")
    is_odd = np.zeros(500, bool)
    is_odd[order[65:75]] = True
    looked = look_through(
        *(features, scores, scores[:, 0], is_odd),
        model="gaussian-process",
        acquisition="upper-bound",
        n_labels=100,
        batch_size=20,
    )
    assert looked[:80].tolist() == order[:80].tolist()
    assert is_odd[looked].sum() == 10


def test_the_loop_looks_at_each_object_once_and_finds_the_rarer_kind():
    features, scores, is_one = drawn(500)
    looked = look_through(
        features,
        scores,
        scores[:, 0],
        is_one,
        model="gaussian-process",
        acquisition="upper-bound",
        n_labels=100,
        batch_size=20,
    )
    assert len(set(looked.tolist())) == 100
    assert looked[:20].tolist() == np.argsort(-scores[:, 0], kind="stable")[:20].tolist()
    assert is_one[looked].sum() > 40  # of 50; 10 at random
