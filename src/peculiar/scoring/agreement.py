"""What several experts' labels say together: probabilities by Dawid & Skene (1979), and how far experts disagree."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64

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
