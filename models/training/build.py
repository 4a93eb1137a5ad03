"""Make a version of a classifier out of outputs: fit calibrator and references, judge on other rows, golden rows.

Everything is fitted once for each precision, since a calibration holds for the precision it was fitted in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version as installed_version
from typing import Any

from torch import Tensor

from models.answers import LAST_LAYER, ScoredReference
from models.backbones.prepared import PreparedNetwork
from models.calibration import calibrator
from models.core.checkpoint import Version
from models.core.device import machine
from models.core.errors import DataError
from models.core.golden import GOLDEN_SEEDS, Golden, GoldenRow
from models.core.gradient_plan import GradientPlan
from models.core.input_spec import InputSpec
from models.core.manifest import BackboneRecord, DataUse, Manifest
from models.core.method import Calibrator, GradientScore, UncertaintyScore
from models.core.outputs import LinearHead, ModelOutputs, Needs
from models.core.reference import Reference
from models.data.splits import fingerprint
from models.pipeline import Pipeline
from models.training.judged import judged_record
from models.training.labelled_outputs import LabelledOutputs
from models.uncertainty import score


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a version is made of, but for the data. `compared` are calibrators to report on beside the chosen one."""

    backbone: BackboneRecord
    classes: tuple[str, ...]
    input_spec: InputSpec
    calibrator: str
    scores: tuple[str, ...]
    precisions: tuple[str, ...]
    seed: int
    compared: tuple[str, ...] = ()
    gradients: GradientPlan | None = None
    options: Mapping[str, Any] = field(default_factory=dict)  # keyword arguments of the chosen calibrator's `fit`
    trained: tuple[DataUse, ...] = ()  # what the network was trained on, as far as it is known


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a data set with the outputs for them; `note` tells a reader how far to trust a figure on them."""

    data: str
    sha256: str
    role: str  # fit | report | shift
    names: tuple[str, ...]
    found: LabelledOutputs
    note: str = ""

    def use(self) -> DataUse:
        return DataUse(self.data, self.sha256, self.role, len(self.names), fingerprint(self.names))

    def about(self, precision: str) -> dict[str, Any]:
        """What a report says of the rows themselves."""
        told = {"data": self.data, "role": self.role, "rows": len(self.names), "note": self.note}
        return told | {"precision": precision}


@dataclass(frozen=True, slots=True)
class Fitted:
    """What came of one precision."""

    tensors: dict[str, Tensor]
    golden: tuple[GoldenRow, ...]
    evaluations: list[dict[str, Any]]
    data: tuple[DataUse, ...]
    record: Mapping[str, Any] = field(default_factory=dict)  # the chosen calibrator's


@dataclass(frozen=True, slots=True)
class Serving:
    """The version that serves now, in one precision: the candidate is compared with it.

    Its scores go on as they were fitted, and so do references that the data at hand cannot give anew, such as those of
    scores that need features.
    """

    calibrator: Calibrator | None
    scores: Mapping[str, ScoredReference] = field(default_factory=dict)


def fit(
    recipe: Recipe, network: PreparedNetwork, fitting: Part, judged: Sequence[Part], serving: Serving | None = None
) -> Fitted:
    """Fit on `fitting`, report on `judged` and on `fitting` itself. Raises ValueError where rows are in both."""
    refuse_leaks(fitting, judged)
    fitting, *judged = (_with_head(network, part) for part in (fitting, *judged))
    outputs, labels = fitting.found.outputs, fitting.found.labels
    names = dict.fromkeys((*recipe.compared, recipe.calibrator))
    options = {recipe.calibrator: recipe.options}
    candidates = {
        name: calibrator(name)(network.dimensions).fit(outputs, labels, **options.get(name, {})) for name in names
    }
    chosen = candidates[recipe.calibrator]
    scores = _references(recipe, network, chosen.transform(outputs), serving)
    prefix = network.precision
    tensors = {f"{prefix}.calibrator.{name}": value for name, value in chosen.state().items()}
    for name, scored in scores.items():
        tensors |= {f"{prefix}.scores.{name}.{key}": value for key, value in scored.state().items()}
    return Fitted(
        tensors=tensors,
        golden=tuple(Pipeline(network, chosen, scores).golden_rows(GOLDEN_SEEDS)),
        evaluations=[
            evaluation_record(part, prefix, candidates, recipe.calibrator, serving=serving, seed=recipe.seed)
            for part in (*judged, fitting)
        ],
        data=tuple(part.use() for part in (fitting, *judged)),
        record=chosen.record,
    )


def make_version(recipe: Recipe, fitted: Mapping[str, Fitted], extra: Mapping[str, Any] | None = None) -> Version:
    """One version out of what was fitted for each precision; `extra` joins the evaluations in its report.

    So do the calibrator's records, by precision, as `fitting`, where it has something to tell.
    """
    records = {precision: fitted[precision].record for precision in recipe.precisions if fitted[precision].record}
    fitting = {"fitting": records} if records else {}
    evaluations = [row for precision in recipe.precisions for row in fitted[precision].evaluations]
    return Version(
        manifest=Manifest(
            task="image-classification",
            backbone=recipe.backbone,
            classes=recipe.classes,
            input_spec=recipe.input_spec,
            calibrator=recipe.calibrator,
            scores=recipe.scores,
            precisions=recipe.precisions,
            data=(*fitted[recipe.precisions[0]].data, *recipe.trained),
            seeds={"split": recipe.seed, "bootstrap": recipe.seed},
            code_version=installed_version("howsure"),
            machine=machine(),
            report={"evaluations": evaluations, **fitting, **(extra or {})},
            files={},
            gradients=recipe.gradients,
        ),
        tensors={name: value for precision in recipe.precisions for name, value in fitted[precision].tensors.items()},
        golden=Golden(GOLDEN_SEEDS, {precision: fitted[precision].golden for precision in recipe.precisions}),
    )


def calibrated(candidate: Calibrator | None, outputs: ModelOutputs) -> Tensor:
    """(N, C): the candidate's logits, without one the network's own."""
    if candidate is None:
        return outputs.logits
    logits = candidate.transform(outputs).calibrated
    assert logits is not None
    return logits


def with_head(network: PreparedNetwork, outputs: ModelOutputs) -> ModelOutputs:
    """Stored outputs, which are on the CPU, with the network's last layer for the calibrators that change it.

    Raises DataError for features that are not as wide as the network's.
    """
    head = network.linear_head
    width = None if outputs.features is None else outputs.features.shape[1]
    if width not in (None, head.weight.shape[1]):
        raise DataError(f"{width} features a row, but the network has {head.weight.shape[1]}: is this its data?")
    return replace(outputs, head=LinearHead(head.weight.cpu(), head.bias.cpu()))


def _with_head(network: PreparedNetwork, part: Part) -> Part:
    return replace(part, found=replace(part.found, outputs=with_head(network, part.found.outputs)))


def refuse_leaks(fitting: Part, judged: Sequence[Part]) -> None:
    """Raises ValueError where rows to judge on are among those to fit on."""
    fitted = {(fitting.sha256, name) for name in fitting.names}
    for part in judged:
        if any((part.sha256, name) in fitted for name in part.names):
            raise ValueError(f"{part.data}: rows of role {part.role} were also fitted on")


def _references(
    recipe: Recipe, network: PreparedNetwork, outputs: ModelOutputs, serving: Serving | None
) -> dict[str, ScoredReference]:
    scores = {}
    for name in recipe.scores:
        base = None if serving is None else serving.scores.get(name)
        if base is None:
            scores[name] = reference_of(score(name)(network.dimensions), outputs)
        elif _lacks(outputs, base.score, network):
            scores[name] = base
        else:
            scores[name] = reference_of(base.score, outputs, base.forms)
    return scores


def reference_of(
    method: UncertaintyScore, outputs: ModelOutputs, kept: Mapping[str, Reference] | None = None
) -> ScoredReference:
    """The score with references fitted on `outputs`, in each form that they give; those `kept` stay beside them."""
    forms = dict(kept or {})
    if isinstance(method, GradientScore) and outputs.gradients is not None:
        forms[LAST_LAYER] = Reference.fit(method.of_last_layer(outputs))
    return ScoredReference(method, Reference.fit(method.score(outputs)), forms)


def _lacks(outputs: ModelOutputs, method: UncertaintyScore, network: PreparedNetwork) -> bool:
    """Whether the data are a table without what the score needs, or has in the serving network."""
    if Needs.FEATURES in method.needs and outputs.features is None:
        return True
    return isinstance(method, GradientScore) and network.gradients is not None and outputs.gradients is None


def evaluation_record(
    part: Part,
    precision: str,
    calibrators: Mapping[str, Calibrator | None],
    chosen: str,
    *,
    serving: Serving | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Every measure of the network alone (`before`) and with the chosen calibrator (`after`) on the part's rows.

    `compared` has the measures that are one number for each of `calibrators`, `active` those of the serving version.
    """
    outputs = part.found.outputs
    return judged_record(
        part.about(precision),
        part.found,
        {name: calibrated(candidate, outputs) for name, candidate in calibrators.items()},
        chosen,
        active=None if serving is None else calibrated(serving.calibrator, outputs),
        seed=seed,
    )
