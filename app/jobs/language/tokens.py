"""The stages of a job `calibrate` that fits a temperature for the tokens of free answers, on reference answers.

A part is bounded to some thousand tokens, so an interrupted stage begins anew: minutes at most.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from app.jobs.bench import LARGEST_BAD_SHARE, Bench
from app.jobs.calibrate import FITTED, tell
from app.jobs.parts import FEWEST_ROWS, fitted_on_others, uses_of
from app.jobs.publishing import keep, kept, promote_kept
from app.jobs.stage import StageContext
from models.core.device import on_cores
from models.core.errors import DataError
from models.core.manifest import DataUse
from models.data.questions import AskedDataset, AskedQuestion
from models.data.splits import split
from models.language.causal_lm import CausalLM, load_causal_lm
from models.language.read_tokens import READ_AT_ONCE, ReadTokens, read_tokens
from models.language.token_temperature import fit_token_temperature
from models.training.gate import Gate
from models.training.prompts.reference_answers import reference_answers
from models.training.prompts.token_version import (
    MOST_TOKENS,
    TOKENS,
    TokenPart,
    judged_tokens,
    token_record,
    with_token_temperatures,
)
from models.training.rescored import undecided

NO_EVIDENCE = "fitted on these rows: not evidence"


def collect(context: StageContext) -> dict[str, Any]:
    """Only looks at the rows: their tokens are read where they are needed."""
    bench = TokenBench(context)
    context.log(f"{bench.data.name}: reference answers of {len(bench.data.names)} rows, at most {MOST_TOKENS} tokens")
    return {"base": bench.bench.base}


def fit_candidate(context: StageContext) -> dict[str, Any]:
    """Fit on one part of the rows, report on the other, and put the candidate version into the job's folder."""
    bench = TokenBench(context)
    records, temperatures, uses = list[dict[str, Any]](), dict[str, float](), list[DataUse]()
    precisions = bench.bench.manifest.precisions
    for turn, precision in enumerate(precisions):
        begin, share = FITTED * turn / len(precisions), FITTED / len(precisions)
        found, parts = bench.fitted(precision, begin, share)
        temperatures[precision] = found[0]["temperature"]
        records += found
        uses = [part.use() for part in parts]
    gate = judged_tokens(Gate(**context.spec.params["gate"]), records)
    origin = {name: context.spec.params[name] for name in ("seed", "fit_share")} | {"base": bench.bench.base}
    version = with_token_temperatures(undecided(bench.bench.version), temperatures, records, uses, gate, origin)
    keep(context, version)
    tell(context, records, gate)
    return {"method": context.spec.params["method"], "gate": gate}


def promote(context: StageContext) -> dict[str, Any]:
    """Make the new version the active one, if the gate holds and nobody has moved the pointer meanwhile."""
    return promote_kept(context, kept(context).manifest.report[TOKENS]["gate"])


class TokenBench:
    """What the stages work with."""

    def __init__(self, context: StageContext) -> None:
        self.context = context
        self.bench = Bench(context)

    @cached_property
    def data(self) -> AskedDataset:
        """Raises DataError for data of another kind."""
        found = self.bench.data
        if not isinstance(found, AskedDataset):
            raise DataError(f"{found.name} has no reference answers: send prompts with a completion each, as .jsonl")
        return found

    @cached_property
    def rows(self) -> dict[str, AskedQuestion]:
        return dict(zip(self.data.names, self.data.questions(self.data.names), strict=True))

    def fitted(self, precision: str, begin: float, share: float) -> tuple[list[dict[str, Any]], list[TokenPart]]:
        """Records of the rows reported on, and of those fitted on; progress goes from `begin` up by `share`."""
        params, names = self.context.spec.params, self.data.names
        prompts = self.bench.manifest.prompts
        assert prompts is not None
        serving = prompts.token_temperatures.get(precision, 1.0)
        with on_cores(self.bench.settings.cores):
            model = self._model(precision)
            count = round(len(names) * params["fit_share"])
            chosen = split(names, params["seed"], count, len(names) - count)
            fitting = self._part(model, "fit", chosen[0], NO_EVIDENCE, begin, share * 0.4)
            note = self._evidence(fitting)
            judged = self._part(model, "report", chosen[1], note, begin + share * 0.4, share * 0.4)
            self.context.report(begin + share * 0.8, f"fitting on {len(fitting.read)} tokens, {precision}")
            temperature = fit_token_temperature(model.unembedding, fitting.read)
            self.context.log(f"{precision}: a temperature of {temperature:.3f}, by {len(fitting.read)} tokens")
            parts = [judged, fitting]
            found = [token_record(each, model.unembedding, precision, serving, temperature) for each in parts]
        return found, parts

    def _model(self, precision: str) -> CausalLM:
        folder = self.bench.store.language_folder(self.bench.manifest.backbone.sha256)
        return load_causal_lm(folder, self.bench.device, precision)

    def _part(
        self, model: CausalLM, role: str, names: tuple[str, ...], note: str, begin: float, share: float
    ) -> TokenPart:
        answers = reference_answers(model, self.rows, names, MOST_TOKENS, FEWEST_ROWS)
        self._refuse(role, len(answers.found), answers.bad)
        parts, few = list[ReadTokens](), READ_AT_ONCE / len(answers.found)
        for part in read_tokens(model, list(answers.found.values())):
            parts.append(part)
            done = min(1.0, len(parts) * few)
            self.context.report(begin + share * done, f"reading answers to {role} on, {model.precision}")
        read, used = ReadTokens.joined(parts), tuple(answers.found)
        return TokenPart(self.data.name, self.data.sha256, role, used, read, note)

    def _refuse(self, role: str, found: int, bad: Mapping[str, str]) -> None:
        for name, reason in bad.items():
            self.context.log(f"left out {name}: {reason}")
        if len(bad) > LARGEST_BAD_SHARE * (found + len(bad)):
            name, reason = next(iter(bad.items()))
            raise DataError(f"{len(bad)} of {found + len(bad)} answers cannot be read, the first is {name}: {reason}")
        if found < FEWEST_ROWS:
            raise DataError(f"{found} rows to {role} on, at least {FEWEST_ROWS} are needed: send more rows")

    def _evidence(self, fitting: TokenPart) -> str:
        told = "rows of the same data, not fitted on"
        if fitted_on_others(uses_of(self.bench.manifest.report.get(TOKENS, {})), fitting.use()):
            told += "; the serving version's temperature was fitted on some of them, which favours it"
        return told
