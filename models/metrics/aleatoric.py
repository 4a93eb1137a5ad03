"""Whether an uncertainty is of the input's ambiguity: more for less to see, as people's doubt, none for the unknown.

Checks of arXiv 2402.16569 and its benchmark URL (arXiv 2307.03810). Uncertainties are (N,), higher is more uncertain.
"""

import torch
from torch import Tensor

from models.metrics._checks import class_probabilities, real_vector, same_length
from models.metrics.ranking import auroc, spearman


def crop_test(u_crop: Tensor, u_image: Tensor) -> float:
    """Share of images with u(crop) > u(image), equal ones counting half; in [0, 1], 0.5 is no information.

    Both (N,), of the same images in the same order; a crop's side is 0.1 to 0.75 of the image's there.
    """
    same_length(u_crop=u_crop, u_image=u_image)
    difference = real_vector(u_crop, "u_crop") - real_vector(u_image, "u_image")
    return float((difference.sign() + 1).mean() / 2)


def human_correlation(uncertainty: Tensor, soft_labels: Tensor) -> float:
    """Spearman's correlation with the entropy of people's labels; in [-1, 1].

    `soft_labels` (N, C) are the shares of people who gave each class. Raises ValueError where either is constant.
    """
    same_length(uncertainty=uncertainty, soft_labels=soft_labels)
    return spearman(uncertainty, torch.special.entr(class_probabilities(soft_labels)).sum(dim=1))


def auroc_ood(u_in: Tensor, u_out: Tensor) -> float:
    """Chance that an input of an unknown domain scores above one of the known; ties count half.

    `u_in` (N,), `u_out` (M,). Right for an aleatoric score is about 0.5, since it is not to tell them apart; for an
    epistemic one 1.
    """
    both = torch.cat([real_vector(u_in, "u_in"), real_vector(u_out, "u_out")])
    return auroc(both, torch.arange(len(both)) >= len(u_in))
