"""The experiments by name. Adding one is one file and one line here."""

from collections.abc import Callable

from tests.benchmarks.experiments import noise_warmup_grid, noise_warmup_variants
from tests.benchmarks.experiments.experiment import Experiment

# quick → the experiment, or a small part of it that shows whether it works
EXPERIMENTS: dict[str, Callable[[bool], Experiment]] = {
    "noise_warmup": noise_warmup_grid.experiment,
    "noise_warmup_variants": noise_warmup_variants.experiment,
}
