"""Multiple choice, ours beside plain transformers: `python -m tests.benchmarks.language.choices`.

MMLU questions with five solved ones of their subject before them, five or six questions a subject, lettered choices,
every way on the same questions in one process on one thread. Ratios are of processor seconds, which other programs
disturb less than seconds on the clock; still, let the machine do nothing else.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.core.device import PRECISIONS
from models.language.causal_lm import CausalLM
from models.language.choices import score_next_token, score_texts
from models.language.continuations import ChoiceItem
from models.language.layers import layer_outputs, layer_states
from models.language.next_token import next_token_questions
from tests.benchmarks.epistemic.tables import Report, Table
from tests.benchmarks.language import RESULTS
from tests.benchmarks.language.mmlu import SHOTS, Asked, asked, some_subjects
from tests.benchmarks.language.plain import batch_of_choices, batch_of_questions, loop_over_choices
from tests.benchmarks.language.smollm2 import smollm2

A_SUBJECT = 6  # 57 subjects, 300 questions
AIM = 3
LOOP, CHOICES, QUESTIONS = "loop over choices", "batch, a row a choice", "batch, a row a question, last logits"
LETTERS, TEXTS, LAYERS = "ours, letters", "ours, choices as texts", "ours, letters after every layer"


@dataclass(frozen=True, slots=True)
class Timed:
    """Processor seconds, seconds on the clock, and the log-probabilities (N, C) among the choices."""

    work: float
    clock: float
    answers: Tensor


def every_layer(model: CausalLM, items: Sequence[ChoiceItem]) -> Tensor:
    questions = next_token_questions(model, items)
    return list(layer_outputs(model, layer_states(model, questions), questions.tokens))[-1].logits


WAYS: dict[str, Callable[[CausalLM, Sequence[ChoiceItem]], Tensor]] = {
    LETTERS: lambda model, items: score_next_token(model, items).logits,
    LAYERS: every_layer,
    TEXTS: lambda model, items: score_texts(model, items).logits,
    QUESTIONS: batch_of_questions,
    CHOICES: batch_of_choices,
    LOOP: loop_over_choices,
}


def timed(way: Callable[[CausalLM, Sequence[ChoiceItem]], Tensor], model: CausalLM, asked_: Asked) -> Timed:
    work, clock = time.process_time(), time.perf_counter()
    answers = way(model, asked_.items)
    return Timed(time.process_time() - work, time.perf_counter() - clock, answers.log_softmax(dim=1))


def speed_table(found: Mapping[str, Timed], tokens: int) -> Table:
    rows = {}
    for name, run in found.items():
        apart = float((run.answers - found[LOOP].answers).abs().max())
        same = float((run.answers.argmax(dim=1) == found[LOOP].answers.argmax(dim=1)).double().mean())
        ratios = [f"{found[other].work / run.work:.2f}" for other in (LOOP, CHOICES, QUESTIONS)]
        rows[name] = [f"{run.work:.1f}", f"{run.clock:.1f}", f"{tokens / run.work:.0f}", *ratios, f"{apart:.1e}", same]
    columns = ["processor s", "clock s", "prompt tokens a processor s"]
    columns += [f"times as fast as: {name}" for name in (LOOP, CHOICES, QUESTIONS)]
    return Table("Speed", "way", [*columns, "largest difference to the loop, nats", "same answers"], rows)


def words(found: Mapping[str, Timed], other: Tensor, precision: str) -> list[str]:
    told = []
    for name, ours in ((CHOICES, TEXTS), (QUESTIONS, LETTERS)):
        ratio = found[name].work / found[ours].work
        verdict = "met" if ratio >= AIM else "not met"
        told.append(f"{ours}: {ratio:.2f} times as fast as {name}; the aim of {AIM} is {verdict}.")
    more = found[LAYERS].work / found[LETTERS].work - 1
    told.append(f"Reading every layer costs {more:.1%} on top of the letters; the aim is at most 10 %.")
    apart = (found[LETTERS].answers - other).abs()
    told.append(
        f"Letters in {precision} differ from float32 by {float(apart.mean()):.3f} nats in the mean,"
        f" {float(apart.max()):.3f} at most."
    )
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--precision", choices=list(PRECISIONS), default="bfloat16")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    chosen = asked("mmlu_test_shared", some_subjects(-(-given.questions // A_SUBJECT)), A_SUBJECT)
    most = given.questions
    chosen = Asked(chosen.items[:most], chosen.labels[:most], chosen.subjects[:most])
    exact = score_next_token(smollm2("float32"), chosen.items).log_probabilities()
    model = smollm2(given.precision)
    found = {}
    for name, way in WAYS.items():
        found[name] = timed(way, model, chosen)
        print(f"{name}: {found[name].work:.1f} s of the processor, {found[name].clock:.1f} s", flush=True)
    tokens = sum(len(model.encode(item.prompt)) for item in chosen.items)
    about = {
        "model": "SmolLM2-135M-Instruct, 4-bit weights unpacked",
        "precision": given.precision,
        "questions": f"{len(chosen.items)} of {len(set(chosen.subjects))} subjects of mmlu_test_shared, {SHOTS}-shot,"
        f" {tokens} tokens of prompts",
        "accuracy": f"{float((exact.argmax(dim=1) == chosen.labels).double().mean()):.3f} in float32",
    }
    command = f"python -m tests.benchmarks.language.choices --questions {given.questions}"
    tables, told = [speed_table(found, tokens)], words(found, exact, given.precision)
    made = Report("choices", "Multiple choice, beside plain transformers", command, about, tables, told)
    made.write(given.out)
    print(made.markdown())


if __name__ == "__main__":
    main()
