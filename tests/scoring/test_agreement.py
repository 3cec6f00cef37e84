import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import cohen_kappa_score

from peculiar.scoring.agreement import (
    agree,
    agree_on_classes,
    class_kappas,
    cohen_kappa,
    fleiss_kappa,
    summarize,
)


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


# --- several classes


def class_votes(n_objects=400, n_classes=4, seed=0, right=(0.95, 0.9, 0.85, 0.4)):
    """Experts of several skills, who when wrong say any other class; classes are not equally frequent."""
    random = np.random.default_rng(seed)
    truth = random.choice(n_classes, n_objects, p=np.arange(1, n_classes + 1) / np.arange(1, n_classes + 1).sum())
    objects, experts = np.repeat(np.arange(n_objects), len(right)), np.tile(np.arange(len(right)), n_objects)
    is_right = random.random(len(objects)) < np.array(right)[experts]
    other = (truth[objects] + random.integers(1, n_classes, len(objects))) % n_classes
    return truth, objects, experts, np.where(is_right, truth[objects], other)


@pytest.mark.parametrize("seed", range(3))
def test_for_two_classes_it_is_the_same(seed):
    _, objects, experts, is_yes, _ = votes(200, seed)
    kept = np.random.default_rng(seed).random(len(objects)) < 0.6
    kept[::5] = True  # every object has a vote
    old = agree(objects[kept], experts[kept], is_yes[kept])
    new = agree_on_classes(objects[kept], experts[kept], is_yes[kept].astype(np.int64), 2)
    assert_allclose(new.probability[:, 1], old.probability, atol=1e-9)
    assert_allclose(new.confusion[:, 1, 1], old.sensitivity, atol=1e-9)
    assert_allclose(new.confusion[:, 0, 0], old.specificity, atol=1e-9)
    assert_allclose(new.disagreement, old.disagreement, atol=1e-12)
    assert_array_equal(new.n_votes, old.n_votes)


def test_confusion_is_found_and_the_truth_better_than_by_the_majority():
    truth, objects, experts, classes = class_votes(2_000)
    found = agree_on_classes(objects, experts, classes, 4)
    skill = np.einsum("ekk->ek", found.confusion).mean(axis=1)
    assert_allclose(skill, [0.95, 0.9, 0.85, 0.4], atol=0.05)
    assert_allclose(found.confusion.sum(axis=2), 1)
    assert_allclose(found.probability.sum(axis=1), 1)
    assert (found.probability.argmax(axis=1) != truth).mean() < (found.majority != truth).mean()


def test_a_class_that_an_expert_takes_for_another_is_understood():
    random = np.random.default_rng(1)
    truth = random.integers(0, 3, 600)
    objects, experts = np.repeat(np.arange(600), 3), np.tile(np.arange(3), 600)
    classes = truth[objects].copy()
    classes[(experts == 2) & (classes == 0)] = 1  # the third calls every 0 a 1
    found = agree_on_classes(objects, experts, classes, 3)
    assert found.confusion[2, 0, 1] > 0.9
    assert_array_equal(found.probability.argmax(axis=1), truth)


def test_the_majority_of_a_tie_is_none_and_one_expert_is_taken_at_the_word():
    found = agree_on_classes(
        np.array([0, 0, 1, 1, 1, 3]), np.array([0, 1, 0, 1, 2, 0]), np.array([0, 2, 1, 1, 0, 2]), 3
    )
    assert_array_equal(found.majority, [-1, 1, -1, 2])
    assert_array_equal(found.n_votes, [2, 3, 0, 1])
    assert_allclose(found.disagreement[[0, 2, 3]], [np.log(2), 0, 0])
    alone = agree_on_classes(np.array([0, 1]), np.array([0, 0]), np.array([2, 0]), 3)
    assert_array_equal(alone.probability, [[0, 0, 1], [1, 0, 0]])


def test_no_vote_for_a_class_is_no_error():
    none = np.empty(0, np.int64)
    assert agree_on_classes(none, none, none, 3).probability.shape == (0, 3)
    assert summarize(none, np.empty(0, str), np.empty(0, str)).pairs == []


def test_votes_by_the_hundred_thousand_are_quick():
    random = np.random.default_rng(0)
    objects, experts, classes = (random.integers(0, high, 200_000) for high in (50_000, 20, 10))
    found = agree_on_classes(objects, experts, classes, 10)
    assert np.isfinite(found.probability).all()


# --- kappa


@pytest.mark.parametrize("seed", range(4))
def test_cohens_kappa_is_that_of_scikit_learn(seed):
    random = np.random.default_rng(seed)
    a = random.integers(0, 5, 80)
    b = np.where(random.random(80) < 0.6, a, random.integers(0, 5, 80))
    assert_allclose(cohen_kappa(a, b), cohen_kappa_score(a, b), atol=1e-12)


def test_kappa_without_chance_is_nan():
    assert np.isnan(cohen_kappa(np.empty(0, np.int64), np.empty(0, np.int64)))
    assert np.isnan(cohen_kappa(np.ones(5, np.int64), np.ones(5, np.int64)))
    assert cohen_kappa(np.array([0, 1]), np.array([0, 1])) == 1
    assert np.isnan(fleiss_kappa(np.array([[1, 0], [0, 1]])))
    assert np.isnan(fleiss_kappa(np.array([[3, 0], [2, 0]])))
    assert np.isnan(fleiss_kappa(np.empty((0, 2), np.int64)))


# The worked example of Wikipedia, "Fleiss' kappa": 14 raters, 10 subjects, 5 categories; kappa 0.210.
WORKED = np.array(
    [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
)


def test_fleiss_kappa_is_that_of_the_worked_example():
    assert_allclose(fleiss_kappa(WORKED), 0.210, atol=5e-4)
    share = WORKED.sum(axis=0) / WORKED.sum()
    same = (WORKED**2).sum(axis=1) - 14
    expected = (same.mean() / (14 * 13) - (share**2).sum()) / (1 - (share**2).sum())  # eq. 7, written out
    assert_allclose(fleiss_kappa(WORKED), expected, atol=1e-12)
    lonely = np.vstack([WORKED, [[1, 0, 0, 0, 0]], [[0, 0, 0, 0, 0]]])
    assert fleiss_kappa(lonely) == fleiss_kappa(WORKED)


def test_kappa_of_all_is_the_mean_of_the_classes_weighted_by_chance():
    share = WORKED.sum(axis=0) / WORKED.sum()
    weight = share * (1 - share)  # Fleiss 1971
    assert_allclose((weight * class_kappas(WORKED)).sum() / weight.sum(), fleiss_kappa(WORKED), atol=1e-12)


def test_kappa_of_guesses_is_about_zero_also_for_unequal_numbers_of_votes():
    random = np.random.default_rng(0)
    counts = np.stack([random.multinomial(n, [0.5, 0.3, 0.2]) for n in random.integers(2, 9, 4_000)])
    assert abs(fleiss_kappa(counts)) < 0.02
    assert np.abs(class_kappas(counts)).max() < 0.02


# --- summary


def test_a_summary_counts_by_name_and_names_the_most_disputed():
    object_id = np.array([9, 9, 9, -4, -4, 2**60, 7, 7, 7])
    expert = np.array(["ann", "bob", "cy", "ann", "bob", "cy", "ann", "bob", "cy"])
    label = np.array(["lens", "lens", "merger", "lens", "merger", "merger", "normal", "normal", "normal"])
    found = summarize(object_id, expert, label)
    assert (found.experts, found.classes) == (["ann", "bob", "cy"], ["lens", "merger", "normal"])
    assert_array_equal(found.n_votes, [[2, 0, 1], [1, 1, 1], [0, 2, 1]])
    assert [(each.experts, each.n_objects) for each in found.pairs] == [
        (("ann", "bob"), 3),
        (("ann", "cy"), 2),
        (("bob", "cy"), 2),
    ]
    assert_allclose(found.pairs[0].kappa, cohen_kappa(np.array([0, 0, 2]), np.array([0, 1, 2])))
    assert (found.n_objects, found.n_shared) == (4, 3)
    assert_array_equal(found.disputed, [-4, 9])
    assert len(found.class_kappa) == 3
