"""Agreement of sampled answers by plain counting, in exact fractions."""

import math
from fractions import Fraction


def consistency(answers):
    """(agreement, entropy consistency, first-second distance) of answers, None for an invalid one."""
    valid = [answer for answer in answers if answer is not None]
    counted = valid if valid else answers
    frequencies = sorted((sum(1 for other in counted if other == each) for each in set(counted)), reverse=True)
    agreement = Fraction(frequencies[0], len(answers))
    if len(frequencies) == 1:
        return agreement, 1, 1
    entropy = 0.0
    for frequency in frequencies:
        share = Fraction(frequency, len(counted))
        entropy -= share * math.log(share)
    distance = Fraction(frequencies[0] - frequencies[1], len(answers))
    return agreement, 1 - entropy / math.log(len(frequencies)), distance
