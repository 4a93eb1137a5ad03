"""What the epistemic score costs and how near the fast form is: `python -m tests.benchmarks.epistemic.speed`.

Every way in one process, in turn, on one core; ratios are taken round by round. Memory is the peak of a process of its
own for each way, above what that holds with its network and images. Let the machine do nothing else.
"""

import argparse
import copy
import ctypes
import gc
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import torch
from scipy.stats import spearmanr
from torch import Tensor

from models.backbones.prepared import prepare
from models.checkpoints.efficientnet_lite0 import GRADIENTS, INPUT_SPEC
from models.core.gradient_plan import GradientPlan
from models.core.outputs import LinearHead
from models.gradients.last_layer import last_layer_energy
from tests.benchmarks.epistemic import ways
from tests.benchmarks.epistemic.cifar10_network import DATA, trained_network
from tests.benchmarks.epistemic.fast_form import planned
from tests.benchmarks.epistemic.perceptron import random_perceptron
from tests.benchmarks.epistemic.sets import SEED, archive_rows, cifar10_outside, strip_rows
from tests.benchmarks.epistemic.subject import Subject, cifar10_subject, lite0_subject
from tests.benchmarks.epistemic.tables import Report, Table
from tests.benchmarks.epistemic.ways import Way

FORWARD = "forward pass"
NAMES = ("cifar10", "perceptron", "lite0")
PEAK_RESET = Path("/proc/self/clear_refs")
FEW = 3  # classes that the slowest ways are timed for where there are a thousand


def subject_of(name: str) -> Subject:
    if name == "perceptron":
        return cifar10_subject(random_perceptron(SEED), "Perceptron of 4 layers of 256, CIFAR-10, random weights")
    return cifar10_subject(trained_network()) if name == "cifar10" else lite0_subject(DATA)


def images_of(name: str, subject: Subject, count: int) -> Tensor:
    """Real images, half of them in distribution."""
    half = count // 2
    if name != "lite0":
        inside = strip_rows(DATA / "cifar10_test_shared.npz", "in", half)[0]
        outside = [rows for rows in cifar10_outside(DATA, half // 4) if rows.name != "Gaussian noise"]
    else:
        inside = archive_rows(DATA / "imagenet_nips17dev_shared.zip", "in", INPUT_SPEC, half)[0]
        outside = archive_rows(DATA / "dtd_textures10_shared.zip", "textures", INPUT_SPEC, half)
    return subject.images(torch.cat([rows.pixels for rows in (inside, *outside)])[:count])


def served(name: str, subject: Subject, images: Tensor) -> tuple[Way, Way]:
    """The forward pass that is served, and the fast form on it."""
    if name != "lite0":
        trunk, head = copy.deepcopy(subject.backbone.trunk), subject.backbone.head
        plan = planned(len(subject.gradients.layers))
        plain: Way = subject.network
        return _without_graph(plain), ways.fast(trunk, LinearHead(head.weight, head.bias), plan, images[:2])
    precision, dtype = "bfloat16", torch.bfloat16
    folded = prepare(subject.network, "timm", INPUT_SPEC, torch.device("cpu"), precision)
    kept = prepare(subject.network, "timm", INPUT_SPEC, torch.device("cpu"), precision, plan=GRADIENTS)
    assert kept.gradients is not None
    gradients, layers = kept.gradients, len(subject.gradients.layers)
    return (
        _without_graph(lambda rows: folded.head(folded.trunk(rows.to(dtype)).float())),
        lambda rows: ways.weighted(gradients.outputs(rows.to(dtype))[1].energies, layers),
    )


def _without_graph(network: Callable[[Tensor], Tensor]) -> Way:
    def forward(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return network(images)

    return forward


def choices(name: str, subject: Subject, images: Tensor) -> dict[str, tuple[Way, int, float]]:
    """Way → what to call, for how many images, and by what its time is multiplied for all classes."""
    forward, fast = served(name, subject, images)
    classes = subject.backbone.head.out_features
    some, times = (classes, 1.0) if classes <= 10 else (FEW, classes / FEW)
    found: dict[str, tuple[Way, int, float]] = {
        FORWARD: (forward, 64 if name != "lite0" else 16, 1.0),
        "forward pass, float32, as stored": (_without_graph(subject.network), 16, 1.0),
        "naive, an image and class at a time": (ways.naive(subject, some), 2, times),
        "vmap(grad) over images": (ways.vectorised(subject, some), 8 if name != "lite0" else 2, times),
        "GradNorm of pytorch-ood, all layers": (ways.gradnorm(subject), 4, 1.0),
        "fast form": (fast, 64 if name != "lite0" else 16, 1.0),
    }
    if classes <= 10:
        found["exact form"] = (ways.exact(subject, images), 64, 1.0)
    return found


def timed(found: Mapping[str, tuple[Way, int, float]], images: Tensor, rounds: int) -> dict[str, list[float]]:
    """Milliseconds an image, round by round."""
    taken: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(rounds + 1):
        for name, (way, count, times) in found.items():
            begin = torch.randperm(len(images), generator=torch.Generator().manual_seed(turn))[:count]
            rows = images[begin].contiguous(memory_format=torch.channels_last)
            started = time.perf_counter()
            way(rows)
            if turn:  # the first round makes kernels
                taken[name].append(1000 * times * (time.perf_counter() - started) / count)
    return taken


def memory(name: str, way: str, count: int) -> float:
    """MiB that `way` needs for a batch at most, above what its process holds before."""
    command = [sys.executable, "-m", "tests.benchmarks.epistemic.speed", "--memory", name, way, str(count)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def print_memory(name: str, way: str, count: int) -> None:
    subject = subject_of(name)
    images = images_of(name, subject, count)
    call = choices(name, subject, images)[way][0]
    call(images[:1])  # makes kernels
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    PEAK_RESET.write_text("5")
    before = resident("VmRSS")
    call(images)
    print((resident("VmHWM") - before) / 1024)


def resident(field: str) -> int:
    """KiB of this process: VmRSS now, VmHWM at most since the last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def agreement(name: str, subject: Subject, images: Tensor) -> dict[str, float]:
    """Spearman of the fast form and of cheaper ones to the exact form, or to the nearest thing to it."""
    forward, fast = served(name, subject, images)
    if name != "lite0":
        reference = ways.exact(subject, images)(images)
    else:
        one, other = ways.near_exact(subject, images, SEED)
        reference = (one + other) / 2
    last = ways.fast(subject.backbone.trunk, _head(subject), GradientPlan(depth=2, directions=1), images[:2])
    probabilities = torch.cat([forward(part) for part in images.split(16)]).softmax(dim=1)
    features = torch.cat([subject.backbone.trunk(part) for part in images.split(16)])
    scores = {
        "fast form": torch.cat([fast(part) for part in images.split(16)]),
        "last two layers": torch.cat([last(part) for part in images.split(16)]),
        "last layer in closed form": last_layer_energy(probabilities, features),
        "entropy": torch.special.entr(probabilities).sum(dim=1),
        "1 - max probability": 1 - probabilities.amax(dim=1),
    }
    found = {way: float(spearmanr(score, reference).statistic) for way, score in scores.items()}
    if name == "lite0":
        found["the reference's halves to each other"] = float(spearmanr(one, other).statistic)
    return found


def _head(subject: Subject) -> LinearHead:
    return LinearHead(subject.backbone.head.weight, subject.backbone.head.bias)


def tables(name: str, rounds: int, count: int) -> list[Table]:
    subject = subject_of(name)
    images = images_of(name, subject, count)
    found = choices(name, subject, images)
    taken = timed(found, images, rounds)
    batch = 64 if name != "lite0" else 16
    rows = {}
    for way, milliseconds in taken.items():
        ratios = [mine / plain for mine, plain in zip(milliseconds, taken[FORWARD], strict=True)]
        naive = [
            slow / mine for mine, slow in zip(milliseconds, taken["naive, an image and class at a time"], strict=True)
        ]
        measured = found[way][2] == 1 and "naive" not in way
        needs = f"{memory(name, way, batch):.0f}" if measured else None
        rows[way] = (f"{median(milliseconds):.2f}", f"{median(ratios):.2f}", f"{median(naive):.1f}", needs)
    spearman = {way: (value,) for way, value in agreement(name, subject, images).items()}
    columns = ("ms an image", "÷ forward pass", "naive ÷ this", f"MiB at batch {batch}")
    title = subject.name
    return [
        Table(f"{title}: cost", "way", columns, rows),
        Table(f"{title}: Spearman to exact REGrad over {count} real images", "score", ("Spearman",), spearman),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--memory", nargs=3, metavar=("NETWORK", "WAY", "BATCH"), help="of one way, in this process")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.memory:
        print_memory(given.memory[0], given.memory[1], int(given.memory[2]))
        return
    found = [table for name in given.networks for table in tables(name, given.rounds, given.images)]
    about = {
        "rows": f"{given.images} real images each, half in distribution, half textures and other photographs",
        "seed": str(SEED),
        "1,000 classes": f"naive and vmap(grad) are timed for {FEW} classes and multiplied; exact means {ways.LEADING}"
        f" leading directions and {ways.PROBES} random probes of all others, over all layers",
    }
    report = Report(
        "speed", "What the epistemic score costs", "python -m tests.benchmarks.epistemic.speed", about, found
    )
    report.write()
    print(report.markdown())


if __name__ == "__main__":
    main()
