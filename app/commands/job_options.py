"""What `howsure jobs submit` makes of its options: parameters, the model where none is named, and data to upload."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.terminal import fail, say

if TYPE_CHECKING:
    from app.client import Client


def parse_params(settings: Iterable[str]) -> dict[str, Any]:
    """`gate.max_ece_increase=0.01` as nested values: JSON where it is JSON, else text. Ends with status 2."""
    params: dict[str, Any] = {}
    for setting in settings:
        name, equals, written = setting.partition("=")
        *groups, last = name.split(".")
        if not equals or not all((*groups, last)):
            fail(f"write a parameter as name=value, as in fit_share=0.5, not {setting!r}", status=2)
        group = params
        for part in groups:
            group = group.setdefault(part, {})
            if not isinstance(group, dict):
                fail(f"{part} is given as a value and as a group, in {setting!r}", status=2)
        if last in group:
            fail(f"{name} is given twice", status=2)
        group[last] = _value(written)
    return params


def require_model(kind: str, model: str | None) -> None:
    """Of a job that may make a new model no name is guessed. Ends with status 2."""
    if kind == "train" and model is None:
        fail("say with --model what to train: the name of a new model, or that of one to train a version of", status=2)


def only_model(client: "Client") -> str:
    """The one that answers where none is named. Ends with status 2 where there is no such model."""
    cards = client.models()
    names = [card.id for card in cards]
    chosen = [card.id for card in cards if card.default or len(cards) == 1]
    if not chosen:
        fail(f"say which model with --model; there are: {', '.join(names) or 'none'}", status=2)
    return chosen[0]


def dataset_id(client: "Client", given: str) -> str:
    """Uploads what is a path here; anything else is the id of a dataset. Ends with status 2 for what can be neither."""
    if Path(given).exists():
        dataset = client.add_dataset(given)
        say(f"{given} is dataset {dataset.id}, {dataset.good} good rows")
        return dataset.id
    if not given.startswith("ds_"):
        fail(f"there is no file or folder {given} here, and a dataset's id begins with ds_", status=2)
    return given


def _value(written: str) -> Any:
    try:
        return json.loads(written, parse_constant=_refuse)
    except ValueError:
        return written


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
