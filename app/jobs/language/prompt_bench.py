"""What a stage on questions works with: the base version, its language model, and what that has read of the rows.

Readings lie in the job's folder, chunk by chunk, so that a job that was ended goes on where it was.
"""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from app.jobs.bench import LARGEST_BAD_SHARE, Bench
from app.jobs.language.readouts import is_fitted
from app.jobs.parts import FEWEST_ROWS, evidence
from app.jobs.stage import StageContext
from models.core.checkpoint import Version
from models.core.device import on_cores
from models.core.errors import DataError
from models.core.manifest import Manifest
from models.core.prompt_spec import PromptSpec, Readout
from models.data.questions import QuestionDataset
from models.data.splits import split
from models.language.causal_lm import load_causal_lm
from models.language.pipeline import LanguagePipeline, assemble_language
from models.language.reading import ResidualStep
from models.training.build import Part
from models.training.labelled_outputs import LabelledOutputs
from models.training.prompts.kept_readings import KeptReadings, step_digest
from models.training.prompts.rows import QuestionRows
from models.training.prompts.version import PromptPart

READINGS = "readings"  # in the job's folder


@dataclass(frozen=True, slots=True)
class Readings:
    """Of all rows in one precision: as the version reads them that `serves`, and under the step of a candidate."""

    serves: LanguagePipeline
    own: KeptReadings
    moved: KeptReadings

    @property
    def precision(self) -> str:
        return self.serves.language.precision


class PromptBench:
    """Opened by each stage anew; what it finds in the job's folder is what an earlier stage or attempt has left."""

    def __init__(self, context: StageContext, readout: Callable[[Manifest, QuestionDataset], Readout]) -> None:
        """`readout` tells, by the base version and the data, how choices are read."""
        self.context = context
        self.bench = Bench(context)
        self._chosen = readout
        self._serves: LanguagePipeline | None = None

    @cached_property
    def readout(self) -> Readout:
        return self._chosen(self.bench.manifest, self.data)

    @cached_property
    def version(self) -> Version:
        """The base version; one that nothing was fitted for reads choices as the job does."""
        found = self.bench.version
        if is_fitted(found.manifest):
            return found
        before = found.manifest.prompts
        temperatures = before.token_temperatures if before else {}
        prompts = PromptSpec(self.readout, token_temperatures=temperatures)
        return replace(found, manifest=replace(found.manifest, prompts=prompts))

    @property
    def precisions(self) -> tuple[str, ...]:
        return self.version.manifest.precisions

    @cached_property
    def data(self) -> QuestionDataset:
        """Raises DataError for data of another kind."""
        found = self.bench.data
        if not isinstance(found, QuestionDataset):
            raise DataError(f"{found.name} has no questions: send prompts or questions with their choices, as .jsonl")
        return found

    @cached_property
    def rows(self) -> QuestionRows:
        return QuestionRows.of(self.data)

    def collect(self, until: float) -> None:
        """Have all rows read in every precision, as the base version reads them."""
        about = f"{len(self.rows)} rows for version {self.bench.base} of {self.bench.spec.model}"
        self.context.log(f"{self.data.name}: {about}, choices read as {self.readout}")
        share = until / len(self.precisions)
        for turn, precision in enumerate(self.precisions):
            self.read(self.serving(precision), None, turn * share, share)

    def serving(self, precision: str) -> LanguagePipeline:
        """The base version, loaded; only the last precision that was asked for is held."""
        if self._serves is None or self._serves.language.precision != precision:
            self._serves = None
            gc.collect()  # the hooks of a network's gradients lead back to it
            folder = self.bench.store.language_folder(self.version.manifest.backbone.sha256)
            language = load_causal_lm(folder, self.bench.device, precision)
            self._serves = assemble_language(language, self.version)
        return self._serves

    def read(
        self, serves: LanguagePipeline, step: ResidualStep | None = None, begin: float = 0.0, share: float = 0.0
    ) -> Readings:
        """What is not there yet is read now; the job's progress then goes from `begin` up by `share`.

        `step` is a candidate's. Raises DataError where too many rows cannot be read.
        """
        calibrator = serves.prompt_calibrator
        fits = calibrator is not None and serves.prompts.readout is self.readout
        own = self._filled(serves, calibrator.step if fits and calibrator else None, begin, share)
        moved = own if step is None else self._filled(serves, step, begin, share)
        return Readings(serves, own, moved)

    @property
    def split_names(self) -> tuple[tuple[str, ...], ...]:
        """Those to fit on and those to report on, by the job's `fit_share` and `seed`."""
        params, names = self.bench.spec.params, self.data.names
        fitted = round(len(names) * params["fit_share"])
        return split(names, params["seed"], fitted, len(names) - fitted)

    def fit_and_report(self, read: Readings) -> tuple[PromptPart, PromptPart]:
        """Raises DataError where either has too few rows."""
        fitting, judged = self.split_names
        fit_part = self.part(read, "fit", fitting, "fitted on these rows: not evidence")
        return fit_part, self.part(read, "report", judged, evidence(self.bench, fit_part.part))

    def part(self, read: Readings, role: str, names: Sequence[str], note: str, fewest: int = FEWEST_ROWS) -> PromptPart:
        """These rows, without those that could not be read. Raises DataError where too few are left."""
        kept = read.own.readable(names)
        if len(kept) < fewest:
            raise DataError(f"{len(kept)} rows to {role} on, at least {fewest} are needed: send more rows")
        reading, serving = read.moved.take(kept), read.own.take(kept)
        found = LabelledOutputs(serving.outputs, self.rows.named(kept).labels)
        return PromptPart(Part(self.data.name, self.data.sha256, role, kept, found, note), reading, serving)

    def _filled(self, serves: LanguagePipeline, step: ResidualStep | None, begin: float, share: float) -> KeptReadings:
        precision = serves.language.precision
        folder = self.context.folder / READINGS / f"{precision}-{self.readout}-{step_digest(step)}"
        kept, bad = KeptReadings(folder, self.rows, self.readout, step), dict[int, str]()
        with on_cores(self.bench.settings.cores):
            for done, more in kept.fill(serves.language):
                bad |= more
                self._refuse_too_many(bad)
                if share:
                    told = f"{done} of {len(self.rows)} prompts, {precision}"
                    self.context.report(begin + share * done / len(self.rows), told)
        for place, reason in bad.items() if share else ():
            self.context.log(f"left out {self.rows.names[place]}: {reason}")
        return kept

    def _refuse_too_many(self, bad: dict[int, str]) -> None:
        if len(bad) > LARGEST_BAD_SHARE * len(self.rows):
            place, reason = next(iter(bad.items()))
            told = f"{len(bad)} of {len(self.rows)} prompts cannot be read as {self.readout}"
            raise DataError(f"{told}, the first is {self.rows.names[place]}: {reason}")
