"""A version like another, but for the temperature that the tokens of free answers have; and what its report says."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version as installed_version
from typing import Any

from torch import nn

from models.core.checkpoint import Version
from models.core.device import machine
from models.core.manifest import DataUse
from models.core.prompt_spec import PromptSpec
from models.data.splits import fingerprint
from models.language.read_tokens import ReadTokens
from models.language.token_temperature import token_figures
from models.training.gate import Gate, of_plain_figures

TOKENS = "tokens"  # the part of a report
MOST_TOKENS = 8192  # of a part that is fitted or reported on. Ours: a minute of one core


@dataclass(frozen=True, slots=True)
class TokenPart:
    """Some rows of a data set with the tokens of their answers; `note` tells how far to trust a figure on them."""

    data: str
    sha256: str
    role: str  # fit | report
    names: tuple[str, ...]
    read: ReadTokens
    note: str

    def use(self) -> DataUse:
        return DataUse(self.data, self.sha256, self.role, len(self.names), fingerprint(self.names))


def token_record(
    part: TokenPart, unembedding: nn.Linear, precision: str, serving: float, fitted: float
) -> dict[str, Any]:
    """Figures of the tokens as the network has them (`before`), at the `serving` temperature (`active`), and at the
    `fitted` one (`after`)."""
    temperatures = {"before": 1.0, "active": serving, "after": fitted}
    figures = {each: asdict(token_figures(unembedding, part.read, each)) for each in set(temperatures.values())}
    return {
        "data": part.data,
        "role": part.role,
        "rows": len(part.names),
        "note": part.note,
        "precision": precision,
        "temperature": fitted,
        **{when: figures[each] for when, each in temperatures.items()},
    }


def judged_tokens(gate: Gate, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """As the gate judges answers to choices; rows are tokens here."""
    return gate.judge([_as_evaluation(record) for record in records])


def with_token_temperatures(
    base: Version,
    temperatures: Mapping[str, float],
    records: Sequence[Mapping[str, Any]],
    uses: Sequence[DataUse],
    gate: Mapping[str, Any],
    origin: Mapping[str, Any],
) -> Version:
    """`base` with temperatures by precision; its choices are answered as before.

    `origin` says which version was the base, if any, and how the rows were split.
    """
    told = {"evaluations": list(records), "data": [asdict(use) for use in uses], "gate": dict(gate), **origin}
    manifest = replace(
        base.manifest,
        prompts=replace(_prompts(base), token_temperatures=dict(temperatures)),
        code_version=installed_version("howsure"),
        machine=machine(),
        report={**base.manifest.report, TOKENS: told},
    )
    return replace(base, manifest=manifest)


def _prompts(version: Version) -> PromptSpec:
    assert version.manifest.prompts is not None
    return version.manifest.prompts


def _as_evaluation(record: Mapping[str, Any]) -> dict[str, Any]:
    return of_plain_figures(record) | {"rows": record["after"]["tokens"], "data": f"tokens of {record['data']}"}
