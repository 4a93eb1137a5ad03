"""How far sampled answers to one prompt agree: Lyu et al. 2024, arXiv 2402.13904, section 3."""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Consistency:
    """All in [0, 1], higher is surer, over n answers; f1 and f2 are how often the two most frequent ones came.

    `agreement` is f1 / n. `entropy_consistency` is 1 - H / log(number of distinct answers), H the entropy of their
    frequencies. `first_second_distance` is (f1 - f2) / n. The last two are 1 where only one answer is distinct.
    """

    agreement: float
    entropy_consistency: float
    first_second_distance: float
    distinct: int


def consistency(answers: Sequence[Hashable | None]) -> Consistency:
    """Of answers that are equal where they say the same, None for an invalid one.

    Invalid answers count as one answer of their own only if none is valid, but always in n. Raises ValueError without
    any answer.
    """
    if not answers:
        raise ValueError("consistency needs at least one answer")
    counts = Counter(answer for answer in answers if answer is not None) or Counter(answers)
    frequent = [count for _, count in counts.most_common()]
    if len(frequent) == 1:
        return Consistency(frequent[0] / len(answers), 1.0, 1.0, 1)
    shares = [count / sum(frequent) for count in frequent]
    entropy = -sum(share * math.log(share) for share in shares)
    even = frequent[0] == frequent[-1]  # where rounding would leave something beside 0
    return Consistency(
        agreement=frequent[0] / len(answers),
        entropy_consistency=0.0 if even else 1 - entropy / math.log(len(shares)),
        first_second_distance=(frequent[0] - frequent[1]) / len(answers),
        distinct=len(frequent),
    )


def canonical(text: str) -> str | None:
    """What two free texts must share to say the same: all but case, space and a full stop at the end; None if empty.

    Ours: the paper's answers are numbers and choices.
    """
    return " ".join(text.casefold().split()).removesuffix(".").rstrip() or None
