import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from peculiar.scoring.agreement import agree


def votes(n_objects=300, seed=0):
    """Five experts, the last of whom guesses, on objects of which a third are one."""
    random = np.random.default_rng(seed)
    truth = random.random(n_objects) < 1 / 3
    right = np.array([0.95, 0.9, 0.9, 0.85, 0.5])
    objects, experts = np.repeat(np.arange(n_objects), 5), np.tile(np.arange(5), n_objects)
    is_right = random.random(len(objects)) < right[experts]
    return truth, objects, experts, np.where(is_right, truth[objects], ~truth[objects]), right


def test_experts_are_known_by_how_they_agree():
    _, objects, experts, is_yes, right = votes()
    found = agree(objects, experts, is_yes)
    assert_allclose(found.sensitivity, right, atol=0.08)
    assert_allclose(found.specificity, right, atol=0.08)


def test_it_is_right_more_often_than_the_majority_with_one_who_guesses():
    truth, objects, experts, is_yes, _ = votes(2_000)
    few = experts != 0
    found = agree(objects[few], experts[few] - 1, is_yes[few])
    share = np.bincount(objects[few], is_yes[few]) / 4
    majority = np.where(share == 0.5, 0.5, share > 0.5)
    assert np.abs((found.probability > 0.5) - 1.0 * truth).mean() < np.abs(majority - 1.0 * truth).mean()


def test_one_expert_is_taken_at_the_word():
    found = agree(np.array([0, 1, 2]), np.zeros(3, np.int64), np.array([True, False, True]))
    assert_array_equal(found.probability, [1, 0, 1])
    assert_array_equal(found.disagreement, [0, 0, 0])


def test_experts_of_different_objects_are_taken_at_their_word():
    found = agree(np.array([0, 1]), np.array([0, 1]), np.array([True, False]))
    assert_array_equal(found.probability, [1, 0])


def test_contradiction_is_in_the_middle_and_named():
    found = agree(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([True, False, True, True]))
    assert 0.2 < found.probability[0] < 0.8
    assert found.probability[1] > 0.8
    assert_allclose(found.disagreement, [np.log(2), 0])
    assert_array_equal(found.n_votes, [2, 2])


def test_no_vote_is_no_error():
    found = agree(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, bool))
    assert len(found.probability) == len(found.sensitivity) == 0
