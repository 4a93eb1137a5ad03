"""Builds the shipped checkpoint `smollm2-135m`: `python -m models.checkpoints.smollm2_135m`.

A temperature for each of five sets of questions, and one for all other prompts; one for the tokens of free answers;
references; and a loss-rank head. What is fitted and what is reported on are different rows. Each precision is built by
itself, on a machine that is fast in it: the first one begins the version, the other joins it.
"""

import argparse
import logging
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from models.checkpoints.package_language import add_packaged_language
from models.checkpoints.question_sets import Chosen, chosen_rows
from models.checkpoints.reference_sets import Answered, answered_rows
from models.checkpoints.shipped import FOLDER
from models.core.checkpoint import Version, read_version, write_version
from models.core.device import use_cores
from models.core.errors import CheckpointError
from models.core.manifest import BackboneRecord
from models.core.prompt_spec import PromptSpec, Readout
from models.core.store import CheckpointStore
from models.data.splits import split
from models.language.calibrators import TASK_TEMPERATURE
from models.language.causal_lm import CausalLM, load_causal_lm
from models.language.pipeline import KIND, LanguagePipeline, assemble_language, language_dimensions
from models.language.read_tokens import ReadTokens, read_tokens
from models.language.registration import unfitted_language
from models.language.smollm2 import ORIGIN
from models.language.token_temperature import fit_token_temperature
from models.training.build import Part
from models.training.gate import Gate
from models.training.head_plan import HeadPlan
from models.training.labelled_outputs import LabelledOutputs
from models.training.loss_rank_gate import LossRankGate
from models.training.loss_rank_head import TrainedHead
from models.training.loss_rank_version import NAME as LOSS_RANK
from models.training.loss_rank_version import HeadOrigin, head_report
from models.training.prompts.calibration import own_tasks
from models.training.prompts.joined_precisions import with_more_precisions
from models.training.prompts.kept_readings import KeptReadings
from models.training.prompts.loss_rank import rank_prompts, train_on_prompts
from models.training.prompts.reference_answers import reference_answers
from models.training.prompts.token_version import (
    MOST_TOKENS,
    TokenPart,
    judged_tokens,
    token_record,
    with_token_temperatures,
)
from models.training.prompts.version import PromptPart, PromptRecipe, fit_prompts, prompt_version
from models.training.rescored import with_score
from models.uncertainty.loss_rank import LossRank

NAME = "smollm2-135m"
PRECISIONS = ("bfloat16", "float32")
FIRST = PRECISIONS[0]
SEED = 0
HEAD = HeadPlan(width=64, depth=2, passes=4, seed=SEED)
TIMES = 10  # that the head sees each prompt
HELD_OUT = 0.1

log = logging.getLogger(__name__)


def build(data: Path, work: Path, folder: Path, precision: str) -> None:
    """Write the version's files into `folder`; `work` keeps what was read, so that an ended build goes on from there.

    A precision but the first one joins the version that is in `folder`, and takes its loss-rank head. The same machine,
    releases and data give the same bytes.
    """
    use_cores(1)  # the number of threads decides the order of sums
    begun = None if precision == FIRST else read_version(folder)
    if begun is not None and precision in begun.manifest.precisions:
        raise CheckpointError(f"{folder} has {precision} already: build {FIRST} first, which begins the version anew")
    store = CheckpointStore(work / "store")
    sha256 = add_packaged_language(store, ORIGIN, FOLDER / "weights" / NAME)
    base = unfitted_language(store, BackboneRecord(KIND, NAME, {}, sha256, ORIGIN), (precision,))
    model = load_causal_lm(store.language_folder(sha256), torch.device("cpu"), precision)
    first, *others = chosen_rows(data, SEED)
    fitting, *judged = (_part(model, chosen, work / "readings" / precision) for chosen in (first, *others))
    version = _calibrated(base, model, fitting, judged)
    uses = (*first.uses, *(part.part.use() for part in judged))
    version = replace(version, manifest=replace(version.manifest, data=uses))
    serves = assemble_language(model, version)
    trained = _trained_head(serves, fitting) if begun is None else _begun_head(begun, serves)
    version = _with_head(version, serves, trained, fitting, judged[0])
    version = _with_token_temperature(version, model, data)
    folder.mkdir(parents=True, exist_ok=True)
    write_version(folder, version if begun is None else with_more_precisions(begun, version))


def _part(model: CausalLM, chosen: Chosen, readings: Path) -> PromptPart:
    kept = KeptReadings(readings / chosen.digest, chosen.rows, Readout.NEXT_TOKEN)
    for done, bad in kept.fill(model):
        log.info("%s: %d of %d questions%s", chosen.name, done, len(chosen.rows), f", left out {bad}" if bad else "")
    names = kept.readable(chosen.rows.names)
    reading = kept.take(names)
    found = LabelledOutputs(reading.outputs, chosen.rows.named(names).labels)
    part = Part(chosen.name, chosen.sha256, chosen.role, names, found, chosen.note)
    return PromptPart(part, reading, reading)


def _calibrated(base: Version, model: CausalLM, fitting: PromptPart, judged: list[PromptPart]) -> Version:
    prompts = PromptSpec(Readout.NEXT_TOKEN, own_tasks(fitting.reading.tasks))
    recipe = PromptRecipe(TASK_TEMPERATURE, prompts, SEED)
    fitted = fit_prompts(recipe, assemble_language(model, base), fitting, judged)
    return prompt_version(base, recipe, {model.precision: fitted}, {})


def _with_head(
    version: Version, serves: LanguagePipeline, trained: TrainedHead, fitting: PromptPart, judging: PromptPart
) -> Version:
    ranked = rank_prompts(version, serves, trained.head, fitting, judging, SEED)
    use: dict[str, Any] = asdict(replace(fitting.part.use(), role="reference"))
    held = len(_held(fitting))
    origin = HeadOrigin(data=use, views=None, held_out=held, seed=SEED, best=trained.best, curve=trained.curve)
    report = head_report(trained.head, [ranked.record], LossRankGate("auroc"), origin, judging.part.note)
    return with_score(version, LOSS_RANK, None, {serves.language.precision: ranked}, report)


def _trained_head(serves: LanguagePipeline, fitting: PromptPart) -> TrainedHead:
    """On the rows that the temperatures were fitted on, of which some are held out and say when to stop."""
    outputs, labels, dimensions = fitting.serving.outputs, fitting.labels, language_dimensions(serves.language)
    return train_on_prompts(outputs, labels, _held(fitting), TIMES, dimensions, HEAD, None, lambda *told: None)


def _held(fitting: PromptPart) -> list[int]:
    names = fitting.part.names
    apart = set(split(names, SEED, round(HELD_OUT * len(names)))[0])
    return [place for place, name in enumerate(names) if name in apart]


def _begun_head(begun: Version, serves: LanguagePipeline) -> TrainedHead:
    """One head in all precisions, as jobs have it."""
    state = begun.method_state(FIRST, f"scores.{LOSS_RANK}")
    del state["reference"]
    return TrainedHead(LossRank(language_dimensions(serves.language)).load_state(state), (), None)


def _with_token_temperature(version: Version, model: CausalLM, data: Path) -> Version:
    parts = [_answers(model, each) for each in answered_rows(data, SEED)]
    fitted = [part for part in parts if part.role == "fit"]
    temperature = fit_token_temperature(model.unembedding, ReadTokens.joined([part.read for part in fitted]))
    log.info("tokens of free answers: a temperature of %.3f", temperature)
    judged = [part for part in parts if part.role == "report"] + fitted
    records = [token_record(part, model.unembedding, model.precision, 1.0, temperature) for part in judged]
    uses, gate = [part.use() for part in parts], judged_tokens(Gate(), records)
    return with_token_temperatures(version, {model.precision: temperature}, records, uses, gate, {"seed": SEED})


def _answers(model: CausalLM, given: Answered) -> TokenPart:
    log.info("%s: reference answers to %s on", given.name, given.role)
    answers = reference_answers(model, given.rows, tuple(given.rows), MOST_TOKENS, len(given.rows))
    read = ReadTokens.joined(list(read_tokens(model, list(answers.found.values()))))
    return TokenPart(given.name, given.sha256, given.role, tuple(answers.found), read, given.note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(os.environ.get("HOWSURE_TEST_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=default, help="folder with the sets of questions")
    parser.add_argument("--work", type=Path, default=Path("build/smollm2"), help="for what is read of the questions")
    parser.add_argument("--out", type=Path, default=FOLDER / NAME, help="where the version's files go")
    parser.add_argument("--precision", choices=PRECISIONS, default=FIRST, help=f"{FIRST} begins the version anew")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    build(arguments.data, arguments.work, arguments.out, arguments.precision)


if __name__ == "__main__":
    main()
