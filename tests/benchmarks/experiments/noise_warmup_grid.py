"""The whole grid of the paper's figure, or a part of it, as an experiment."""

from tests.benchmarks.epistemic.sets import SEED
from tests.benchmarks.experiments.cifar10_sets import OUTSIDE, UNSEEN
from tests.benchmarks.experiments.experiment import Experiment
from tests.benchmarks.experiments.noise_warmup import DEPTHS, NOISE, PLAN, SEEDS, SIZES, WIDTH, measure, tasks
from tests.benchmarks.experiments.noise_warmup_findings import findings

QUICK = ((6, 2), (500, 4000), 2)  # depths, sizes, seeds


def experiment(quick: bool) -> Experiment:
    depths, sizes, seeds = QUICK if quick else (DEPTHS, SIZES, SEEDS)
    about = ABOUT | {"seeds": f"0..{seeds - 1}: weights, order of the images, noise, and which images"}
    title = "A warm-up on random noise before training, perceptrons on CIFAR-10"
    return Experiment("noise_warmup", title, tasks(depths, sizes, seeds), measure, findings, about)


ABOUT = {
    "paper": "arXiv 2412.17411; its settings as its figure scripts pass them",
    "network": f"howsure perceptron, width {WIDTH}, He weights; depth counts linear layers",
    "noise phase": f"normal pixels, new labels each batch, {NOISE.steps} steps of {NOISE.batch}, Adam {NOISE.rate:g}; "
    "one for all sizes of a depth and seed",
    "data phase": f"{PLAN.epochs} epochs, batch {PLAN.batch}, Adam {PLAN.rate:g}, weight decay {PLAN.weight_decay:g}, "
    f"{PLAN.precision}, no augmentation; the same start, images and order with and without the warm-up",
    "data": f"random subsets of cifar10_train.npz without {UNSEEN} rows that are never trained on (split seed {SEED}); "
    "measured on cifar10_test_shared.npz, 5,000 images",
    "temperature": "minimum of the NLL on 2,500 of the test images, judged on the other 2,500; the paper's code takes "
    "the best ECE of a grid on half of the test set",
    "out of distribution": f"{', '.join(OUTSIDE)}; outside is positive, the score is 1 - max softmax. The paper's set "
    "is SVHN, of which only 50 digits could be had here",
}
