"""What a request wants of every item: which scores in which form, and until when they may take."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from app.errors import InvalidError
from app.settings import Settings

# Of the time that a request may take at all, so that neither its own limit nor a shutdown cuts stage two off.
ENDS = 0.8
LATEST = 0.9
# Of which the first that a version has says how far its embedding can be trusted.
EMBEDDING_SCORES = ("loss_rank", "entropy")


class Form(StrEnum):
    """How a score is computed that can be had in several ways, dearest first."""

    EXACT = "exact"
    FAST = "fast"
    LAST_LAYER = "last_layer"


Forms = Mapping[str, tuple[Form, ...]]


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """In seconds of `time.monotonic`; `latest` is for a last backward pass that has begun before `ends`."""

    ends: float
    latest: float

    @classmethod
    def of(cls, settings: Settings, budget_ms: int | None) -> Self:
        """From now on; the settings have the budget of a request that names none."""
        now = time.monotonic()
        budget = settings.exact_seconds if budget_ms is None else budget_ms / 1000
        most = min(settings.request_seconds, max(1.0, settings.drain_seconds))
        return cls(now + min(budget, ENDS * most), now + LATEST * most)


@dataclass(frozen=True, slots=True)
class Asked:
    """`exact` are the scores that stage two computes anew, for the `exact_top` most doubtful items or for all.

    `last_layer` keeps the scores that have forms from costing a backward pass. `embed` asks for the embedding too.
    """

    scores: tuple[str, ...]
    top_k: int
    limits: TimeLimits
    last_layer: bool = False
    exact: tuple[str, ...] = ()
    exact_top: int | None = None
    embed: bool = False


def embedding_scores(known: Forms) -> tuple[str, ...]:
    """What comes with an embedding where no score is named.

    A version without any gets the last of EMBEDDING_SCORES, which `read_scores` refuses with the names that it has.
    """
    return (next((name for name in EMBEDDING_SCORES if name in known), EMBEDDING_SCORES[-1]),)


def read_scores(model: str, known: Forms, entries: Sequence[str] | None) -> dict[str, Form | None]:
    """Score → form, in the order asked for, of entries such as `entropy` and `epistemic:exact`; None asks for all.

    Where none is named it is the dearest but the exact one; a score without forms has None. Raises InvalidError.
    """
    split = [(name, form if colon else None) for name, colon, form in (entry.partition(":") for entry in entries or ())]
    unknown = sorted({name for name, _ in split} - known.keys())
    if unknown:
        raise InvalidError(
            f"model {model} has no score {', '.join(unknown)}; it has: {', '.join(known)}",
            errors=[{"pointer": "/scores", "detail": f"unknown score {name}"} for name in unknown],
        )
    found: dict[str, Form | None] = {}
    for name, asked in split if entries is not None else [(name, None) for name in known]:
        form = _form(model, known, name, asked)
        if found.setdefault(name, form) is not form:
            raise _refused(f"score {name} is asked for as {found[name]} and as {form}; name one form of it")
    return found


def check_exact_top(forms: Mapping[str, Form | None], exact_top: int | None) -> None:
    """Raises InvalidError for a number of items where no score is asked for in its exact form."""
    if exact_top is not None and Form.EXACT not in forms.values():
        detail = "exact_top is for scores in their exact form; ask for one, as in scores=epistemic:exact"
        raise InvalidError(detail, errors=[{"pointer": "/exact_top", "detail": detail}])


def check_sort(model: str, known: Forms, computed: Sequence[str], sort: str | None) -> None:
    """Raises InvalidError for an order by a score that is not computed."""
    if sort is None or sort in computed:
        return
    name, colon, _ = sort.partition(":")
    if colon and name in known:
        reason = f"an order has no form; ask for it in scores={sort} and sort={name}"
    elif sort in known:
        reason = f"it is not computed; add it to scores, which name: {', '.join(computed) or 'none'}"
    else:
        reason = f"model {model} has no such score; it has: {', '.join(known)}"
    detail = f"cannot sort by {sort}: {reason}"
    raise InvalidError(detail, errors=[{"pointer": "/sort", "detail": detail}])


def _form(model: str, known: Forms, name: str, asked: str | None) -> Form | None:
    if asked is None:
        return next((form for form in known[name] if form is not Form.EXACT), None)
    if not known[name]:
        raise _refused(f"score {name} of model {model} has no forms; ask for {name} alone")
    if asked not in known[name]:
        raise _refused(f"score {name} of model {model} has no form {asked!r}; it has: {', '.join(known[name])}")
    return Form(asked)


def _refused(detail: str) -> InvalidError:
    return InvalidError(detail, errors=[{"pointer": "/scores", "detail": detail}])
