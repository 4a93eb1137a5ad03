"""A first version out of labelled archives and a network: how the shipped checkpoints are made."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from models.backbones.prepared import PreparedNetwork, prepare
from models.core.checkpoint import Version
from models.data.image_archive import ImageArchive
from models.training.build import Fitted, Part, Recipe, fit, make_version
from models.training.labelled_outputs import collect


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of an archive and what they are for; `note` tells a reader how far to trust a figure on them."""

    archive: ImageArchive
    names: tuple[str, ...]
    role: str  # fit | report | shift
    note: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to build. `fit` rows calibrate and set the references; `judge` rows are only reported on."""

    recipe: Recipe
    fit: Rows
    judge: tuple[Rows, ...]


def build_version(plan: Plan, network: nn.Module, progress: Callable[[str], None] = lambda _: None) -> Version:
    """Fit and judge in every precision of the plan; `network` is float32, on the CPU, and stays as it is."""
    return make_version(
        plan.recipe, {precision: _fit(plan, network, precision, progress) for precision in plan.recipe.precisions}
    )


def _fit(planned: Plan, network: nn.Module, precision: str, progress: Callable[[str], None]) -> Fitted:
    progress(f"{precision}: preparing the network")
    recipe = planned.recipe
    kind, spec, plan = recipe.backbone.kind, recipe.input_spec, recipe.gradients
    prepared = prepare(network, kind, spec, torch.device("cpu"), precision, plan=plan)
    judged = [part_of(prepared, rows, progress) for rows in planned.judge]
    return fit(recipe, prepared, part_of(prepared, planned.fit, progress), judged)


def part_of(network: PreparedNetwork, rows: Rows, progress: Callable[[str], None] = lambda _: None) -> Part:
    """The rows with their outputs by this network."""
    progress(f"{network.precision}: {len(rows.names)} {rows.role} rows of {rows.archive.name}")
    found = collect(network, rows.archive.read(rows.names))
    return Part(rows.archive.name, rows.archive.sha256, rows.role, rows.names, found, rows.note)
