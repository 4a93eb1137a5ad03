"""Which gradients a job `epistemic_reference` takes: as the version before, as asked, or as fits the rows best."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.jobs.bench import Bench
from app.jobs.parts import fit_and_report
from models.backbones.prepared import suggested_plan
from models.core.errors import DataError, UnsupportedError
from models.core.gradient_plan import GradientPlan
from models.core.outputs import LayerGradients
from models.training.build import Part, with_head
from models.training.epistemic_choice import SIGMAS, Trial, best, compare
from models.training.epistemic_reference import base_decay
from models.training.rescored import are_wrong, served
from models.uncertainty.epistemic import DECAY

OF_PLAN = ("depth", "directions", "perturbations", "sigma")


@dataclass(frozen=True, slots=True)
class Settled:
    """The plan and λ of the new version, and the trials that they were chosen by, where they were."""

    plan: GradientPlan
    decay: float
    trials: tuple[Trial, ...] = ()


def plans_on_trial(bench: Bench) -> list[GradientPlan]:
    """As the base version has it, but for what the job sets; one for each sigma on trial."""
    params = bench.spec.params
    given = {name: params[name] for name in OF_PLAN if params[name] is not None}
    plan = replace(bench.manifest.gradients or _suggested(bench), **given)
    if not (params["choose"] and plan.perturbations):
        return [plan]
    return [replace(plan, sigma=sigma) for sigma in SIGMAS]


def check_depth(bench: Bench, plan: GradientPlan) -> None:
    """Raises DataError where the job asks for more layers than there are."""
    asked = bench.spec.params["depth"]
    if asked is None:
        return
    gradients = with_plan(bench, plan).network(bench.manifest.precisions[0]).gradients
    layers = 1 if gradients is None else len(gradients.layers) + 1
    if asked > layers:
        raise DataError(f"depth {asked}: {bench.spec.model} has {layers} layers, ask for no more than those")


def with_plan(bench: Bench, plan: GradientPlan) -> Bench:
    """The same, but that gradients are taken by this plan."""
    return bench.with_plan(plan)


def plans_compared(bench: Bench, settled: Settled) -> list[GradientPlan]:
    """The new plan and that of the version before, if it had one."""
    return list(dict.fromkeys((settled.plan, bench.manifest.gradients or settled.plan)))


def settle(bench: Bench) -> Settled:
    """The same in every stage and attempt: it follows from the job and from what is in its folder."""
    params, first = bench.spec.params, bench.manifest.precisions[0]
    plans = plans_on_trial(bench)
    if params["choose"]:
        return _choose(bench, plans)
    if params["decay"] is not None:
        return Settled(plans[0], params["decay"])
    stored = base_decay(bench.version, first)
    return Settled(plans[0], DECAY if stored is None else stored)


def gradients_of(part: Part) -> LayerGradients:
    """Those of rows that were collected by a plan."""
    found = part.found.outputs.gradients
    assert found is not None
    return found


def _suggested(bench: Bench) -> GradientPlan:
    found = suggested_plan(bench.stored_network(), bench.manifest.backbone.kind, bench.manifest.image_input)
    if isinstance(found, GradientPlan):
        return found
    raise UnsupportedError(f"{bench.spec.model} stays with the last layer's form: {found}")


def _choose(bench: Bench, plans: Sequence[GradientPlan]) -> Settled:
    """In the first precision: all of them get the same, so that they stay comparable."""
    first = bench.manifest.precisions[0]
    network = with_plan(bench, plans[0]).network(first)
    fitting = {plan.sigma: fit_and_report(with_plan(bench, plan), first)[0] for plan in plans}
    one = next(iter(fitting.values())).found
    wrong = are_wrong(served(bench.calibrator(network), with_head(network, one.outputs)), one.labels)
    trials = compare({sigma: gradients_of(part) for sigma, part in fitting.items()}, wrong, network.dimensions)
    won = best(trials)
    return Settled(replace(plans[0], sigma=won.sigma), won.decay, trials)
