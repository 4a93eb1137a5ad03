"""What the warm-up depends on: one setting varied at a time, at the paper's main comparison (depth 6, 4000 images).

Other initial weights, another learning rule and other networks are held against their own training without it.
"""

from dataclasses import dataclass, replace
from typing import Any

from models.training.classifier.plan import NoiseWarmUp, TrainPlan
from tests.benchmarks.epistemic.tables import Table
from tests.benchmarks.experiments.cifar10_sets import OUTSIDE, subset, unseen_rows
from tests.benchmarks.experiments.experiment import Experiment, Findings
from tests.benchmarks.experiments.line_chart import line_chart
from tests.benchmarks.experiments.measured import measured
from tests.benchmarks.experiments.noise_warmup import NOISE, PLAN, SMOOTHING, WARM_UPS, WIDTH
from tests.benchmarks.experiments.noise_warmup_grid import ABOUT
from tests.benchmarks.experiments.results import Results, shown
from tests.benchmarks.experiments.warmed import Start, noise_figures, trained

DEPTH, IMAGES, SEEDS = 6, 4000, 3
STEPS, DEVIATIONS = (250, 1000, 7500), (0.5, 2.0)  # beside those of NOISE
PLAIN, WARMED = "plain", "warm-up"


@dataclass(frozen=True, slots=True)
class Variant:
    """`against` is the key of the training without a warm-up that it is held against."""

    key: str
    start: Start
    plan: TrainPlan = PLAN
    against: str = PLAIN


PERCEPTRON = Start("howsure", "perceptron", (("depth", DEPTH), ("width", WIDTH)))
RESNET = Start("howsure", "resnet", (("depth", 8),))
VIT = Start(
    "timm",
    "vit_tiny_patch16_224",
    (("num_classes", 10), ("img_size", 32), ("patch_size", 4), ("depth", 4), ("embed_dim", 64), ("num_heads", 4)),
    "as_built",
)
# Data phase as in the paper's Methods; the length of the noise phase is ours (5 of its epochs).
RESNET_PLAN = TrainPlan(epochs=50, batch=256, rate=0.1, weight_decay=0.0, warm_up=0.0, precision="float32")
VIT_PLAN = TrainPlan(optimiser="adamw", rate=1e-3, weight_decay=0.05, precision="float32")  # ours
SHORT = replace(NOISE, steps=1250)
BY_ITSELF = replace(NOISE, steps=15000, stop=True)


def warm(key: str, start: Start, noise: NoiseWarmUp, plan: TrainPlan = PLAN, against: str = PLAIN) -> Variant:
    return Variant(key, replace(start, noise=noise), plan, against)


def pair(name: str, start: Start, noise: NoiseWarmUp, plan: TrainPlan = PLAN) -> tuple[Variant, Variant]:
    """Without and with the warm-up."""
    plain = Variant(f"{name}, {PLAIN}", start, plan, f"{name}, {PLAIN}")
    return plain, warm(f"{name}, {WARMED}", start, noise, plan, plain.key)


VARIANTS = (
    Variant(PLAIN, PERCEPTRON),
    warm(WARMED, PERCEPTRON, NOISE),
    Variant(f"label smoothing {SMOOTHING}", PERCEPTRON, replace(PLAN, label_smoothing=SMOOTHING)),
    *(warm(f"{steps} steps", PERCEPTRON, replace(NOISE, steps=steps)) for steps in STEPS),
    warm("until it stops by itself", PERCEPTRON, BY_ITSELF),
    *(warm(f"deviation {wide:g}", PERCEPTRON, replace(NOISE, deviation=wide)) for wide in DEVIATIONS),
    warm("uniform noise", PERCEPTRON, replace(NOISE, distribution="uniform")),
    *pair("xavier", replace(PERCEPTRON, scheme="xavier"), NOISE),
    *pair("orthogonal", replace(PERCEPTRON, scheme="orthogonal"), NOISE),
    *pair("feedback alignment", replace(PERCEPTRON, learning_rule="feedback_alignment"), NOISE),
    *pair("ResNet-8", RESNET, SHORT, RESNET_PLAN),
    *pair("ViT", VIT, SHORT, VIT_PLAN),
)
QUICK = VARIANTS[:4]


def measure(cell: Variant, seed: int) -> dict[str, Any]:
    plan = replace(cell.plan, seed=seed, learning_rule=cell.start.learning_rule)
    network, _, record = trained(cell.start, plan, subset(IMAGES, seed), unseen_rows(), WARM_UPS)
    return measured(network) | noise_figures(record)


def experiment(quick: bool) -> Experiment:
    cells, seeds = (QUICK, 1) if quick else (VARIANTS, SEEDS)
    # Seed by seed, so that a part of the runs has some of every variant.
    tasks = [(cell, seed) for seed in range(seeds) for cell in cells]
    about = ABOUT | {
        "network": f"howsure perceptron, depth {DEPTH}, width {WIDTH}; howsure ResNet-8; timm ViT, 4 blocks, width 64",
        "data phase": f"perceptrons: {ABOUT['data phase']}; ResNet: 50 epochs, batch 256, SGD 0.1, momentum 0.9, "
        "cosine; ViT: 30 epochs, batch 128, AdamW 0.001, weight decay 0.05, cosine",
        "noise phase": f"{ABOUT['noise phase']}; {SHORT.steps} steps for ResNet and ViT; deviation 1 unless said",
        "seeds": f"0..{seeds - 1}: weights, order of the images, noise, and which images",
    }
    title = "What a warm-up on random noise depends on"
    return Experiment("noise_warmup_variants", title, tasks, measure, findings, about)


MEASURES = ["ECE 10", "ECE 15", "NLL", "accuracy", "confidence", "half ECE 15", "scaled ECE 15"]
PHASE = ["noise steps", "noise confidence before", "noise confidence after", "image confidence after"]
GAPS = ["ECE 10", "NLL", "accuracy", *(f"AUROC {name}" for name in OUTSIDE)]


def findings(results: Results) -> Findings:
    there = [cell for cell in VARIANTS if results.values(cell, "accuracy")]
    by_steps = {PLAIN: "0"} | {f"{steps} steps": str(steps) for steps in STEPS} | {WARMED: str(NOISE.steps)}
    points = {by_steps[cell.key]: cell for cell in VARIANTS if cell.key in by_steps}
    row = {steps: points[steps] for steps in sorted(points, key=int)}
    charts = [
        line_chart(results, f"{name} by length of the warm-up", "steps", (name, name), {"perceptron": row})
        for name in ("ECE 10", "accuracy")
    ]
    tables = [
        Table(
            "Mean [95 % interval] over seeds; the last two on half of the test rows, before and after a temperature",
            "variant",
            MEASURES,
            {cell.key: [shown(results.mean(cell, name)) for name in MEASURES] for cell in there},
        ),
        Table(
            "Less the same training without a warm-up",
            "variant",
            GAPS,
            {cell.key: [_gap(results, cell, name) for name in GAPS] for cell in there if cell.key != cell.against},
        ),
        Table(
            "The noise phase",
            "variant",
            PHASE,
            {cell.key: [shown(results.mean(cell, name)) for name in PHASE] for cell in there if cell.start.noise},
        ),
    ]
    return Findings(tables, [chart for chart in charts if chart is not None])


def _gap(results: Results, cell: Variant, measure: str) -> str | None:
    (against,) = (other for other in VARIANTS if other.key == cell.against)
    found = results.difference(against, cell, measure)
    return None if found is None else str(found)
