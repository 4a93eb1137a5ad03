"""Chat completions of a server beside plain transformers: `python -m tests.benchmarks.language.generation`.

OpenAI's client over a socket to a server in this process, against `generate` of transformers on the same loaded
network; greedy, on one thread, pair by pair in turns: one client against one call, and eight clients at once against
eight calls one after the other. Ratios are of tokens a processor second, which other programs disturb less than the
clock does; the processor time of clients, sockets and event loop counts as the server's.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import openai
import torch

from app.scoring.loading import load_served
from app.scoring.prompt_predictor import PromptPredictor
from app.settings import Settings
from models.core.device import PRECISIONS
from models.core.manifest import BackboneRecord
from models.core.store import CheckpointStore
from models.language.causal_lm import CausalLM
from models.language.generation.decoding import end_tokens
from models.language.pipeline import KIND
from models.language.registration import unfitted_language
from tests.benchmarks.epistemic.tables import Report, Table
from tests.benchmarks.language import RESULTS
from tests.benchmarks.language.smollm2 import FOLDER
from tests.fixtures.formed import served

CLIENTS = 8
AIMS = {1: 0.9, CLIENTS: 2.0}
SUBJECTS = ("the sea", "a lake in winter", "two brothers and their boat", "rain", "the king's cook", "a mountain")


@dataclass(frozen=True, slots=True)
class Run:
    """Tokens of all answers, seconds of the processor and of the clock."""

    tokens: int
    work: float
    clock: float

    @property
    def speed(self) -> float:
        return self.tokens / self.work


def conversations(count: int, pair: int) -> list[list[dict[str, str]]]:
    """Other ones in every pair, of several lengths."""
    texts = [f"Tell a story about {SUBJECTS[(pair + n) % len(SUBJECTS)]}. {'Slowly! ' * n}" for n in range(count)]
    return [[{"role": "user", "content": text}] for text in texts]


def by_transformers(model: CausalLM, asked: Sequence[list[dict[str, str]]], most: int) -> int:
    tokens = 0
    for messages in asked:
        prompt = torch.tensor([model.encode(model.chat(messages))])
        found = model.network.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=most,
            eos_token_id=sorted(end_tokens(model)),
            pad_token_id=min(end_tokens(model)),
        )
        tokens += found.shape[1] - prompt.shape[1]
    return tokens


def by_clients(client: openai.OpenAI, model: str, asked: Sequence[list[dict[str, str]]], most: int) -> int:
    def one(messages: list[dict[str, str]]) -> int:
        reply = client.chat.completions.create(model=model, messages=messages, max_tokens=most, temperature=0)
        # The token that ends an answer was made too.
        return reply.usage.completion_tokens + (reply.choices[0].finish_reason == "stop")

    with ThreadPoolExecutor(len(asked)) as clients:
        return sum(clients.map(one, asked))


def timed(way: Callable[[], int]) -> Run:
    work, clock = time.process_time(), time.perf_counter()
    tokens = way()
    return Run(tokens, time.process_time() - work, time.perf_counter() - clock)


def pairs(predictor: PromptPredictor, url: str, count: int, most: int) -> dict[int, list[tuple[Run, Run]]]:
    """By number of clients, (ours, transformers) a pair."""
    language = predictor.pipeline.language
    found: dict[int, list[tuple[Run, Run]]] = {clients: [] for clients in AIMS}
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=600) as client:
        by_clients(client, predictor.model, conversations(1, 0), 2)
        for pair in range(count):
            for clients, runs in found.items():
                asked = conversations(clients, pair)
                ours = timed(lambda asked=asked: by_clients(client, predictor.model, asked, most))
                theirs = timed(lambda asked=asked: by_transformers(language, asked, most))
                runs.append((ours, theirs))
                print(f"{clients} clients: {ours.speed:.1f} and {theirs.speed:.1f} tokens a processor s", flush=True)
    return found


def table(found: dict[int, list[tuple[Run, Run]]]) -> Table:
    rows = {}
    for clients, runs in found.items():
        ours, theirs = ([run.speed for run in side] for side in zip(*runs, strict=True))
        ratios = [run.speed / other.speed for run, other in runs]
        clock = median(run.tokens / run.clock / (other.tokens / other.clock) for run, other in runs)
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        row = [f"{median(ours):.1f}", f"{median(theirs):.1f}", f"{median(ratios):.2f}", spread, f"{clock:.2f}"]
        rows[f"{clients} clients" if clients > 1 else "1 client"] = row
    columns = ["ours, tokens a processor s", "transformers", "ratio, median", "of all pairs", "ratio by the clock"]
    return Table("Speed", "at once", columns, rows)


def words(found: dict[int, list[tuple[Run, Run]]]) -> list[str]:
    told = []
    for clients, runs in found.items():
        ratio = median(ours.speed / theirs.speed for ours, theirs in runs)
        verdict = "met" if ratio >= AIMS[clients] else "not met"
        told.append(f"{clients} at once: {ratio:.2f} times transformers; the aim of {AIMS[clients]} is {verdict}.")
    return told


def load(folder: Path, precision: str) -> PromptPredictor:
    store = CheckpointStore(folder)
    record = BackboneRecord(KIND, "smollm2", {}, store.add_language_folder(FOLDER))
    number = store.publish("smollm2", unfitted_language(store, record, (precision,)))
    predictor = load_served(store, Settings(store=folder, precision=precision), "smollm2", number, None)
    assert isinstance(predictor, PromptPredictor)
    return predictor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--precision", choices=list(PRECISIONS), default="bfloat16")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        predictor = load(Path(folder) / "store", given.precision)
        with served(predictor, threads=1, request_seconds=600, answer_seconds=600) as url:
            found = pairs(predictor, url, given.pairs, given.tokens)
    about = {
        "model": "SmolLM2-135M-Instruct, 4-bit weights unpacked",
        "precision": given.precision,
        "pairs": f"{given.pairs}, at most {given.tokens} tokens an answer",
    }
    command = f"python -m tests.benchmarks.language.generation --pairs {given.pairs} --tokens {given.tokens}"
    made = Report(
        "generation", "Text generation, beside plain transformers", command, about, [table(found)], words(found)
    )
    made.write(given.out)
    print(made.markdown())


if __name__ == "__main__":
    main()
