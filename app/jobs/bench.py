"""What a stage works with: the base version, its network, the labelled data, and the outputs collected so far."""

import copy
import json
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import nn

from app.datasets.catalog import DatasetCatalog
from app.jobs.stage import StageContext
from app.settings import Settings
from models.backbones.prepared import PreparedNetwork, build_network, prepare, suggested_plan
from models.calibration import calibrator
from models.core.atomic import write_json
from models.core.checkpoint import Version
from models.core.device import choose_device
from models.core.errors import DataError
from models.core.gradient_plan import GradientPlan
from models.core.manifest import Manifest
from models.core.method import Calibrator
from models.core.outputs import ModelOutputs
from models.core.store import CheckpointStore
from models.data.dataset import Dataset, ImageDataset, OutputDataset
from models.data.labels import label_indexes
from models.training.labelled_outputs import LabelledOutputs, collect_in_parts, gather

LARGEST_BAD_SHARE = 0.05


class Bench:
    """Opened by each stage anew; what it finds in the job's folder is what an earlier stage or attempt has left."""

    def __init__(self, context: StageContext) -> None:
        self.context = context
        self.spec = context.spec
        # Who may bind where, and with which key, is the server's concern.
        self.settings = Settings(host="127.0.0.1", api_keys=())
        self.store = CheckpointStore(self.settings.store)
        self.outputs = context.folder / "outputs"

    @cached_property
    def base(self) -> int:
        """The version that the job starts from: as asked, else the one active when the job began, in every attempt."""
        path = self.context.folder / "base.json"
        if not path.exists():
            write_json(path, self.spec.params["version"] or self.store.active(self.spec.model).version)
        return int(json.loads(path.read_bytes()))

    @cached_property
    def version(self) -> Version:
        return self.store.read(self.spec.model, self.base)

    @property
    def manifest(self) -> Manifest:
        return self.version.manifest

    @cached_property
    def data(self) -> Dataset:
        return DatasetCatalog.of(self.settings).open(self.spec.dataset)

    @property
    def images(self) -> ImageDataset:
        """The data. Raises DataError for a table."""
        if not isinstance(self.data, ImageDataset):
            raise DataError(f"{self.data.name} is a table of outputs: send the images themselves")
        return self.data

    @cached_property
    def labels(self) -> dict[str, int]:
        """Row name → class index of the model. Raises DataError for labels that the model does not have."""
        return dict(zip(self.data.labels, label_indexes(self.data.labels, self.manifest.classes), strict=True))

    @cached_property
    def plan(self) -> GradientPlan | None:
        """That of the base version; a version without scores, to which the job gives its first, gets one if it can.

        A table has no gradients, so with one the first epistemic score is that of the last layer.
        """
        if self.manifest.scores or isinstance(self.data, OutputDataset):
            return self.manifest.gradients
        backbone = self.manifest.backbone
        found = suggested_plan(self.stored_network(), backbone.kind, self.manifest.input_spec)
        if isinstance(found, GradientPlan):
            return found
        self.context.log(f"the epistemic score is that of the last layer alone: {found}")
        return None

    def with_plan(self, plan: GradientPlan, outputs: str) -> "Bench":
        """The same, but that gradients are taken by this plan, and outputs lie in this folder of the job's own."""
        other = copy.copy(self)
        other.plan = plan
        other.outputs = self.context.folder / outputs
        return other

    def stored_network(self) -> nn.Module:
        backbone = self.manifest.backbone
        return build_network(backbone, self.store.read_weights(backbone.sha256))

    @property
    def device(self) -> torch.device:
        return choose_device(self.settings.device)

    def network(self, precision: str) -> PreparedNetwork:
        """As it is served."""
        kind, spec = self.manifest.backbone.kind, self.manifest.input_spec
        return prepare(self.stored_network(), kind, spec, self.device, precision, plan=self.plan)

    def calibrator(self, network: PreparedNetwork) -> Calibrator | None:
        """That of the base version, in the network's precision."""
        name = self.manifest.calibrator
        if name is None:
            return None
        state = self.version.method_state(network.precision, "calibrator")
        return calibrator(name)(network.dimensions).load_state(state)

    def collect(self, names: Sequence[str], until: float) -> None:
        """Run the network over the images of these rows in every precision; a table has its outputs already."""
        if isinstance(self.data, OutputDataset):
            self._check_columns(self.data)
            return
        share = until / len(self.manifest.precisions)
        for turn, precision in enumerate(self.manifest.precisions):
            self.collect_in(precision, names, turn * share, share)

    def collect_in(self, precision: str, names: Sequence[str], begin: float, share: float) -> None:
        """Run the network over the images of these rows; the job's progress goes from `begin` up by `share`.

        Raises DataError for a table, and where too many images cannot be read.
        """
        network = self.network(precision)

        def told(done: int) -> None:
            message = f"{done} of {len(names)} images, {precision}"
            self.context.report(begin + share * done / len(names), message)

        bad = collect_in_parts(network, names, self.images.contents, self.outputs / precision, told)
        for row in bad:
            self.context.log(f"left out {row.name}: {row.reason}")
        if len(bad) > LARGEST_BAD_SHARE * len(names):
            first = f"{bad[0].name}: {bad[0].reason}"
            raise DataError(f"{len(bad)} of {len(names)} images cannot be read, the first is {first}")

    def collected(self, precision: str, names: Sequence[str]) -> tuple[tuple[str, ...], LabelledOutputs]:
        """The rows of `names` that could be read, and their outputs and labels."""
        if isinstance(self.data, OutputDataset):
            kept, outputs = tuple(names), self._table(self.data, names)
        else:
            found = gather(self.outputs / precision)
            places = {name: place for place, name in enumerate(found.names)}
            kept = tuple(name for name in names if name in places)
            outputs = found.outputs.take(torch.tensor([places[name] for name in kept], dtype=torch.int64))
        return kept, LabelledOutputs(outputs, torch.tensor([self.labels[name] for name in kept]))

    def _check_columns(self, data: OutputDataset) -> None:
        classes = len(self.manifest.classes)
        if data.logits.shape[1] != classes:
            raise DataError(f"{data.logits.shape[1]} logits a row, but {self.spec.model} has {classes} classes")

    def _table(self, data: OutputDataset, names: Sequence[str]) -> ModelOutputs:
        logits, features = data.outputs(names)
        return ModelOutputs(torch.from_numpy(logits), features=None if features is None else torch.from_numpy(features))
