"""What several experts' labels say together: probabilities by Dawid & Skene (1979), and how far experts disagree."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int64, Shaped

N_ROUNDS = 100
ENOUGH = 1e-6  # change of a probability at which the rounds end
RIGHT, WRONG = 4.0, 1.0  # votes of each kind that an expert is credited with: a new one is right four times in five


@dataclass(frozen=True)
class Agreement:
    """What votes of yes or no say of objects, and of those who voted.

    Parameters
    ----------
    probability
        That each object is one, in the order of the objects' numbers.
    n_votes
        On each object.
    disagreement
        Entropy of each object's votes, in nats: 0 where all agree.
    sensitivity, specificity
        Of each expert: how often yes is said of what is one, and no of what is none.
    """

    probability: Float[np.ndarray, " n_objects"]
    n_votes: Int64[np.ndarray, " n_objects"]
    disagreement: Float[np.ndarray, " n_objects"]
    sensitivity: Float[np.ndarray, " n_experts"]
    specificity: Float[np.ndarray, " n_experts"]


@dataclass(frozen=True)
class ClassAgreement:
    """What votes for one of several classes say of objects, and of those who voted.

    Parameters
    ----------
    probability
        Of each class, of each object; the same for all classes where nobody voted. Rows sum to 1.
    majority
        The class of most votes; -1 where two have as many, or nobody voted.
    n_votes
        On each object.
    disagreement
        Entropy of each object's votes, in nats: 0 where all agree.
    confusion
        Of each expert: how often an object of the class of the row is said to be of that of the column. Rows sum to 1.
    """

    probability: Float[np.ndarray, "n_objects n_classes"]
    majority: Int64[np.ndarray, " n_objects"]
    n_votes: Int64[np.ndarray, " n_objects"]
    disagreement: Float[np.ndarray, " n_objects"]
    confusion: Float[np.ndarray, "n_experts n_classes n_classes"]


@dataclass(frozen=True)
class PairAgreement:
    """How two experts agree, beyond chance, on the objects that both voted on."""

    experts: tuple[str, str]
    n_objects: int
    kappa: float


@dataclass(frozen=True, eq=False)
class Summary:
    """Votes counted, and how experts agree.

    Parameters
    ----------
    experts, classes
        Names, sorted.
    n_votes
        Of each expert for each class.
    pairs
        Experts who voted on the same objects.
    n_objects, n_shared
        Objects that anybody, and that two or more voted on.
    kappa, class_kappa
        Fleiss' kappa over the shared objects, of all classes and of each against all others.
    disputed
        Ids, those whose votes have the largest entropy first, then those of more votes; none that all agree on.
    """

    experts: list[str]
    classes: list[str]
    n_votes: Int64[np.ndarray, "n_experts n_classes"]
    pairs: list[PairAgreement]
    n_objects: int
    n_shared: int
    kappa: float
    class_kappa: Float[np.ndarray, " n_classes"]
    disputed: Int64[np.ndarray, " n_disputed"]


def agree(
    objects: Int64[np.ndarray, " n_votes"], experts: Int64[np.ndarray, " n_votes"], is_yes: Bool[np.ndarray, " n_votes"]
) -> Agreement:
    """Weigh experts by how they agree with one another: expectation maximization, Dawid & Skene (1979), sect. 2.

    Objects and experts are numbered from 0. An expert is credited with four right votes and a wrong one of each kind,
    so that few votes make no oracle and no fool; with one expert, or without objects that several have seen, the votes
    stand as they are. A vote that is given twice counts twice.
    """
    n_objects, n_experts = int(objects.max(initial=-1)) + 1, int(experts.max(initial=-1)) + 1
    n_votes = np.bincount(objects, minlength=n_objects)
    share = np.bincount(objects, is_yes, minlength=n_objects) / np.maximum(n_votes, 1)
    probability = share.copy()
    sensitivity, specificity = _credited(probability, objects, experts, is_yes, n_experts)
    if n_experts > 1 and (n_votes > 1).any():
        for _ in range(N_ROUNDS):
            sensitivity, specificity = _credited(probability, objects, experts, is_yes, n_experts)
            rate = (probability[n_votes > 0].sum() + 1) / ((n_votes > 0).sum() + 2)
            yes = np.log(np.where(is_yes, sensitivity[experts], 1 - sensitivity[experts]))
            no = np.log(np.where(is_yes, 1 - specificity[experts], specificity[experts]))
            odds = np.log(rate / (1 - rate)) + np.bincount(objects, yes - no, minlength=n_objects)
            before, probability = probability, 1 / (1 + np.exp(-odds))
            if np.abs(probability - before).max() < ENOUGH:
                break
    entropy = -sum(np.where(each > 0, each * np.log(np.maximum(each, 1e-300)), 0.0) for each in (share, 1 - share))
    return Agreement(probability, n_votes, np.asarray(entropy), sensitivity, specificity)


def _credited(
    probability: np.ndarray, objects: np.ndarray, experts: np.ndarray, is_yes: np.ndarray, n_experts: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sensitivity and specificity of every expert, given what the objects are thought to be."""
    right_yes = np.bincount(experts, probability[objects] * is_yes, minlength=n_experts)
    all_yes = np.bincount(experts, probability[objects], minlength=n_experts)
    right_no = np.bincount(experts, (1 - probability[objects]) * ~is_yes, minlength=n_experts)
    all_no = np.bincount(experts, 1 - probability[objects], minlength=n_experts)
    return (right_yes + RIGHT) / (all_yes + RIGHT + WRONG), (right_no + RIGHT) / (all_no + RIGHT + WRONG)


def agree_on_classes(
    objects: Int64[np.ndarray, " n_votes"],
    experts: Int64[np.ndarray, " n_votes"],
    classes: Int64[np.ndarray, " n_votes"],
    n_classes: int,
) -> ClassAgreement:
    """Do as `agree` where there are several classes, and find the classes and the experts' confusion together.

    Dawid & Skene (1979), sect. 2. Objects, experts and classes are numbered from 0. Of every class an expert is
    credited with four right votes, and with one wrong one that is shared among all other classes, so that for two
    classes this is `agree`. With one expert, or without objects that several have seen, the votes stand as they are.
    """
    n_experts = int(experts.max(initial=-1)) + 1
    counts = vote_counts(objects, classes, n_classes)
    n_objects, n_votes = len(counts), counts.sum(axis=1)
    share = np.where(n_votes[:, None] > 0, counts / np.maximum(n_votes, 1)[:, None], 1 / n_classes)
    probability = share
    confusion = _confusion(probability, objects, experts, classes, n_experts)
    if n_experts > 1 and (n_votes > 1).any():
        for _ in range(N_ROUNDS):
            confusion = _confusion(probability, objects, experts, classes, n_experts)
            rate = (probability[n_votes > 0].sum(axis=0) + 1) / ((n_votes > 0).sum() + n_classes)
            likely = np.empty_like(probability)
            for true in range(n_classes):  # a class at a time: votes by the million, classes by the dozen
                said = np.log(confusion[:, true])[experts, classes]
                likely[:, true] = np.log(rate[true]) + np.bincount(objects, said, minlength=n_objects)
            likely = np.exp(likely - likely.max(axis=1, keepdims=True, initial=-np.inf))
            before, probability = probability, likely / likely.sum(axis=1, keepdims=True)
            if np.abs(probability - before).max() < ENOUGH:
                break
    return ClassAgreement(probability, _majority(counts), n_votes, _entropy(counts), confusion)


def _confusion(
    probability: np.ndarray, objects: np.ndarray, experts: np.ndarray, classes: np.ndarray, n_experts: int
) -> np.ndarray:
    """Confusion of every expert, given what the objects are thought to be."""
    n_classes = probability.shape[1]
    cell = experts * n_classes + classes
    counts = np.empty((n_experts, n_classes, n_classes))
    for true in range(n_classes):
        voted = np.bincount(cell, probability[objects, true], minlength=n_experts * n_classes)
        counts[:, true] = voted.reshape(n_experts, n_classes)
    credit = np.full((n_classes, n_classes), WRONG / max(n_classes - 1, 1))
    np.fill_diagonal(credit, RIGHT)
    counts += credit
    return counts / counts.sum(axis=2, keepdims=True)


def vote_counts(
    objects: Int64[np.ndarray, " n_votes"], classes: Int64[np.ndarray, " n_votes"], n_classes: int
) -> Int64[np.ndarray, "n_objects n_classes"]:
    """Votes on each object for each class; objects and classes are numbered from 0."""
    n_objects = int(objects.max(initial=-1)) + 1
    return np.bincount(objects * n_classes + classes, minlength=n_objects * n_classes).reshape(n_objects, n_classes)


def _majority(counts: np.ndarray) -> np.ndarray:
    most = counts.max(axis=1, keepdims=True, initial=0)
    is_one = (counts == most).sum(axis=1) == 1
    return np.where(is_one & (most[:, 0] > 0), counts.argmax(axis=1), -1).astype(np.int64)


def _entropy(counts: np.ndarray) -> np.ndarray:
    """Entropy of each object's votes, in nats; 0 where nobody voted."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return -np.where(share > 0, share * np.log(np.where(share > 0, share, 1.0)), 0.0).sum(axis=1) + 0.0


def cohen_kappa(a: Int64[np.ndarray, " n_objects"], b: Int64[np.ndarray, " n_objects"]) -> float:
    """Agreement of two experts beyond chance, on the same objects in the same order: Cohen (1960), eq. 1.

    1 where they always agree, 0 where as often as by chance. NaN without objects, or where both say the same one class
    of all, as nothing is left to chance then.
    """
    if not len(a):
        return float("nan")
    names, number = np.unique(np.concatenate([a, b]), return_inverse=True)
    first, second = (np.bincount(each, minlength=len(names)) / len(a) for each in np.split(number, 2))
    return _beyond_chance(float((a == b).mean()), float((first * second).sum()))


def fleiss_kappa(counts: Int64[np.ndarray, "n_objects n_classes"]) -> float:
    """Agreement beyond chance of however many experts: Fleiss (1971), eq. 7, of the votes on objects for classes.

    We allow another number of votes on each object, where Fleiss has one for all: the pairs that agree are a part of
    the object's own pairs, averaged over objects, and chance is by all votes. Objects of fewer than two votes are left
    out. NaN where none is left, or where all votes are for one class.
    """
    n_votes = counts.sum(axis=1)
    counts, n_votes = counts[n_votes > 1], n_votes[n_votes > 1]
    if not len(counts):
        return float("nan")
    same = (counts * (counts - 1)).sum(axis=1) / (n_votes * (n_votes - 1))
    return _beyond_chance(float(same.mean()), float(((counts.sum(axis=0) / n_votes.sum()) ** 2).sum()))


def class_kappas(counts: Int64[np.ndarray, "n_objects n_classes"]) -> Float[np.ndarray, " n_classes"]:
    """Fleiss' kappa of each class against all others together: Fleiss (1971), eq. 12."""
    rest = counts.sum(axis=1, keepdims=True) - counts
    pairs = (np.stack([counts[:, each], rest[:, each]], axis=1) for each in range(counts.shape[1]))
    return np.array([fleiss_kappa(each) for each in pairs])


def _beyond_chance(observed: float, by_chance: float) -> float:
    return (observed - by_chance) / (1 - by_chance) if by_chance < 1 else float("nan")


def summarize(
    object_id: Int64[np.ndarray, " n_votes"],
    expert: Shaped[np.ndarray, " n_votes"],
    label: Shaped[np.ndarray, " n_votes"],
) -> Summary:
    """Count votes, given by names, at most one of an expert on an object, and say how experts agree."""
    ids, objects = np.unique(object_id, return_inverse=True)
    experts, by = np.unique(expert, return_inverse=True)
    classes, said = np.unique(label, return_inverse=True)
    counts = vote_counts(objects, said, len(classes))
    n_votes, disagreement = counts.sum(axis=1), _entropy(counts)
    order = np.lexsort((ids, -n_votes, -disagreement))
    votes = [np.stack([objects[by == each], said[by == each]]) for each in range(len(experts))]
    pairs = []
    for one, other in combinations(range(len(experts)), 2):
        _, mine, yours = np.intersect1d(votes[one][0], votes[other][0], assume_unique=True, return_indices=True)
        if len(mine):
            kappa = cohen_kappa(votes[one][1][mine], votes[other][1][yours])
            pairs.append(PairAgreement((str(experts[one]), str(experts[other])), len(mine), kappa))
    return Summary(
        [str(each) for each in experts],
        [str(each) for each in classes],
        vote_counts(by, said, len(classes)),
        pairs,
        len(ids),
        int((n_votes > 1).sum()),
        fleiss_kappa(counts),
        class_kappas(counts),
        ids[order[disagreement[order] > 0]],
    )
