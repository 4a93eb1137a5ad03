"""The epistemic score by the last layers and by the last alone: `python -m tests.benchmarks.language.epistemic_forms`.

AUROC of right against wrong on the report splits, beside max probability and entropy, none of which has learnt from a
label, and what the gradients cost, in processor seconds of one thread.
"""

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from models.core.device import PRECISIONS
from models.core.method import Dimensions
from models.core.outputs import ModelOutputs
from models.language.causal_lm import CausalLM
from models.language.choices import score_next_token
from models.language.tree_forward import BUDGET
from models.metrics.bootstrap import bootstrap_interval
from models.metrics.ranking import auroc, spearman
from models.uncertainty.epistemic import Epistemic
from tests.benchmarks.epistemic.tables import Report, Table
from tests.benchmarks.language import RESULTS
from tests.benchmarks.language.comparison import told
from tests.benchmarks.language.mmlu import Asked
from tests.benchmarks.language.sets import SETS, parts
from tests.benchmarks.language.smollm2 import smollm2
from tests.benchmarks.language.usefulness import difference

LAYERS, LAST = "epistemic, last layers", "epistemic, last layer"
DEFAULT = ("sst2", "ag_news", "commonsenseqa")


def scores(outputs: ModelOutputs) -> dict[str, Tensor]:
    assert outputs.gradients is not None
    method = Epistemic(Dimensions(outputs.logits.shape[1], outputs.require_features().shape[1]))
    logarithms = outputs.log_probabilities()
    return {
        LAYERS: method.of_layers(outputs.gradients),
        LAST: method.of_last_layer(outputs),
        "max_prob": 1 - logarithms.exp().max(dim=1).values,
        "entropy": -(logarithms.exp() * logarithms).sum(dim=1),
    }


def of_set(name: str, outputs: ModelOutputs, labels: Tensor) -> tuple[Table, str]:
    found, wrong = scores(outputs), outputs.logits.argmax(dim=1) != labels
    rows = {
        label: [
            told(bootstrap_interval(auroc, score, wrong)),
            None if label == LAST else told(difference(score, found[LAST], wrong), "+.3f"),
            f"{spearman(score, found[LAYERS]):.3f}",
        ]
        for label, score in found.items()
    }
    columns = ["AUROC of right against wrong (95 %)", f"more than {LAST} (95 %)", f"Spearman to {LAYERS}"]
    return Table(name, "score", columns, rows), f"{len(labels)} questions, accuracy {1 - wrong.double().mean():.3f}"


def cost(model: CausalLM, chosen: Asked) -> tuple[ModelOutputs, float]:
    """Outputs with gradients, and the share of processor seconds that these take on top of the answers alone."""
    seconds = []
    for gradients in (False, True):
        began = time.process_time()
        outputs = score_next_token(model, chosen.items, BUDGET, gradients=gradients)
        seconds.append(time.process_time() - began)
    return outputs, seconds[1] / seconds[0] - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=DEFAULT)
    parser.add_argument("--precision", choices=list(PRECISIONS), default="float32")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = smollm2(given.precision)
    assert model.gradients is not None
    tables, about, costs = [], dict[str, str](), []
    for name in given.sets:
        chosen = parts(name)
        outputs, more = cost(model, chosen.report)
        table, told_of = of_set(name, outputs, chosen.report.labels)
        tables.append(table)
        about[name] = f"{told_of}; {chosen.about}"
        costs.append(f"{name} {more:+.1%}")
    first = {
        "model": "SmolLM2-135M-Instruct, 4-bit weights unpacked",
        "precision": given.precision,
        "layers": f"{model.gradients.depth}: those of the last block after its attention, and the unembedding",
    }
    words = [f"The gradients on top of the answers, in processor seconds: {', '.join(costs)}."]
    sets = " ".join(given.sets)
    command = f"python -m tests.benchmarks.language.epistemic_forms --sets {sets} --precision {given.precision}"
    title = "The epistemic score of prompts by the last layers and by the last one"
    made = Report("epistemic_forms", title, command, first | about, tables, words)
    made.write(given.out)
    print(made.markdown())


if __name__ == "__main__":
    main()
