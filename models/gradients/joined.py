"""Parameters with several uses: their gradients add up before the norm is taken."""

from collections.abc import Sequence

import torch

from models.gradients.looked_up import LookedUp, Tied, looked_up
from models.gradients.terms import Direct, Inputs, Outer, Term


def joined(terms: Sequence[Term]) -> Term:
    """One term for all uses of a parameter, in a form that is not built where there is one."""
    outers = [term for term in terms if isinstance(term, Outer)]
    lookups = [term for term in terms if isinstance(term, LookedUp)]
    if len(terms) == 1:
        return terms[0]
    if len(outers) + len(lookups) < len(terms) or len({_form(outer) for outer in outers}) > 1:
        return Direct(torch.stack([term.gradients() for term in terms]).sum(dim=0))
    if not lookups:
        return _one_outer(outers)
    embedding = _one_lookup(lookups)
    return Tied(_one_outer(outers), embedding) if outers else embedding


def _form(outer: Outer) -> tuple[int, bool]:
    return outer.outputs.shape[1], outer.transposed


def _one_outer(terms: Sequence[Outer]) -> Outer:
    """Positions of every use, in a row."""
    if len(terms) == 1:
        return terms[0]
    outputs = torch.cat([term.outputs for term in terms], dim=2)
    return Outer(
        outputs, Inputs(torch.cat([term.inputs.values for term in terms], dim=2)), transposed=terms[0].transposed
    )


def _one_lookup(terms: Sequence[LookedUp]) -> LookedUp:
    if len(terms) == 1:
        return terms[0]
    ids = torch.cat([term.ids for term in terms], dim=1)
    return looked_up(ids, torch.cat([term.rows for term in terms], dim=1), terms[0].size)
