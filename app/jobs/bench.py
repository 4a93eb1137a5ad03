"""What a stage works with: the base version, its network, the labelled data, and what the network gave for them.

That lies in caches which jobs share: the same network, data and input spec need no second forward pass.
"""

import copy
import json
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import nn

from app.datasets.catalog import DatasetCatalog
from app.jobs.stage import StageContext
from app.jobs.training.split import split_of
from app.settings import Settings
from models.backbones.prepared import PreparedNetwork, build_network, prepare, suggested_plan
from models.calibration import calibrator
from models.core.atomic import write_json
from models.core.checkpoint import Version
from models.core.device import choose_device, model_threads
from models.core.errors import DataError
from models.core.gradient_plan import GradientPlan
from models.core.manifest import Manifest
from models.core.method import Calibrator
from models.core.outputs import ModelOutputs
from models.core.store import CheckpointStore
from models.data.dataset import Dataset, ImageDataset, OutputDataset
from models.data.labels import label_indexes
from models.feature_cache.cache import FeatureCache
from models.feature_cache.fill import fill
from models.feature_cache.forward import ForwardPasses
from models.feature_cache.image_rows import ImageRows
from models.feature_cache.key import CacheKey
from models.feature_cache.outputs import CachedOutputs
from models.feature_cache.room import make_room, size_of
from models.feature_cache.row_format import RowFormat
from models.feature_cache.view_plan import ViewPlan
from models.feature_cache.views import CachedViews
from models.training.labelled_outputs import LabelledOutputs

LARGEST_BAD_SHARE = 0.05


class Bench:
    """Opened by each stage anew; what it finds in the job's folder is what an earlier stage or attempt has left."""

    def __init__(self, context: StageContext, version: Version | None = None) -> None:
        """`version` takes the place of the one in the store that the job starts from."""
        self.context = context
        self.spec = context.spec
        # Who may bind where, and with which key, is the server's concern.
        self.settings = Settings(host="127.0.0.1", api_keys=())
        self.store = CheckpointStore(self.settings.store)
        self._held: dict[str, FeatureCache] = {}  # by digest; nobody takes their room meanwhile, this job included
        if version is not None:
            self.version = version

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
    def whole(self) -> Dataset:
        """The data, with the rows that the version's network was trained on."""
        return DatasetCatalog.of(self.settings).open(self.spec.dataset)

    @cached_property
    def data(self) -> Dataset:
        """The rows that are left to fit and report on: on those that a network was trained on it is too sure."""
        found = split_of(self.manifest, self.whole.sha256)
        return self.whole if found is None else self.whole.without(frozenset(found.parts(self.whole.names)[2]))

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
        found = suggested_plan(self.stored_network(), backbone.kind, self.manifest.image_input)
        if isinstance(found, GradientPlan):
            return found
        self.context.log(f"the epistemic score is that of the last layer alone: {found}")
        return None

    def with_plan(self, plan: GradientPlan | None) -> "Bench":
        """The same, but that gradients are taken by this plan, or not at all."""
        other = copy.copy(self)
        other.plan = plan
        return other

    def with_version(self, version: Version) -> "Bench":
        """The same rows, for another version, which need not be in the store."""
        other = Bench(self.context, version)
        other.whole, other.data, other._held = self.whole, self.data, self._held
        return other

    def stored_network(self) -> nn.Module:
        backbone = self.manifest.backbone
        return build_network(backbone, self.store.read_weights(backbone.sha256))

    @property
    def device(self) -> torch.device:
        return choose_device(self.settings.device)

    def network(self, precision: str) -> PreparedNetwork:
        """As it is served."""
        kind, spec = self.manifest.backbone.kind, self.manifest.image_input
        return prepare(self.stored_network(), kind, spec, self.device, precision, plan=self.plan)

    def calibrator(self, network: PreparedNetwork) -> Calibrator | None:
        """That of the base version, in the network's precision."""
        name = self.manifest.calibrator
        if name is None:
            return None
        state = self.version.method_state(network.precision, "calibrator")
        return calibrator(name)(network.dimensions).load_state(state)

    def collect(self, until: float) -> None:
        """Run the network over all images in every precision; a table has its outputs already."""
        if isinstance(self.data, OutputDataset):
            self._check_columns(self.data)
            return
        share = until / len(self.manifest.precisions)
        for turn, precision in enumerate(self.manifest.precisions):
            self.collect_in(precision, turn * share, share)

    def collect_in(self, precision: str, begin: float, share: float) -> None:
        """Run the network over all images; the job's progress goes from `begin` up by `share`.

        Raises DataError for a table, and where too many images cannot be read.
        """
        names = self.data.names
        cache, made = self._filled(precision, names, None, self._teller(f"images, {precision}", begin, share))
        self._tell_of_rest(cache, made)
        bad = list(cache.bad())
        for position, reason in bad:
            self.context.log(f"left out {names[position]}: {reason}")
        if len(bad) > LARGEST_BAD_SHARE * len(names):
            first = f"{names[bad[0][0]]}: {bad[0][1]}"
            raise DataError(f"{len(bad)} of {len(names)} images cannot be read, the first is {first}")

    def collected(self, precision: str, names: Sequence[str]) -> tuple[tuple[str, ...], LabelledOutputs]:
        """The rows of `names` that could be read, and their outputs and labels."""
        if isinstance(self.data, OutputDataset):
            outputs = self._table(self.data, names)
            return tuple(names), LabelledOutputs(outputs, torch.tensor([self.labels[name] for name in names]))
        # Another job may have removed them since this one collected them; then they are made anew.
        found = CachedOutputs(self._filled(precision, self.data.names, None, _untold)[0])
        places = {name: place for place, name in enumerate(self.data.names)}
        kept = found.readable([places[name] for name in names])
        return tuple(self.data.names[place] for place in kept), LabelledOutputs(*found.take(kept))

    def collect_views(self, precision: str, names: Sequence[str], plan: ViewPlan, begin: float, share: float) -> None:
        """Run the network over augmented views of these rows, as `collect_in` does. Raises DataError for a table."""
        told = self._teller(f"views, {precision}", begin, share)
        self._tell_of_rest(*self._filled(precision, names, plan, told))

    def views(self, precision: str, names: Sequence[str], plan: ViewPlan) -> CachedViews:
        """The views that were collected; made anew where another job has removed them since."""
        return CachedViews(self._filled(precision, names, plan, _untold)[0])

    def _teller(self, what: str, begin: float, share: float) -> Callable[[int, int], None]:
        def told(done: int, total: int) -> None:
            self.context.report(begin + share * done / total, f"{done} of {total} {what}")

        return told

    def _filled(
        self, precision: str, names: Sequence[str], views: ViewPlan | None, told: Callable[[int, int], None]
    ) -> tuple[FeatureCache, int]:
        """The cache of these rows, or of views of them, and how many outputs were made for it just now.

        `told` hears how many rows it has, and how many it will have.
        """
        rows = self._rows(names)
        backbone, spec = self.manifest.backbone, self.manifest.image_input
        key = CacheKey.of(backbone, spec, precision, self.plan, self.device, rows, views=views, logits=views is None)
        cache = self._held.get(key.digest) or FeatureCache(self.settings.feature_cache, key)
        self._held[key.digest] = cache
        if cache.is_complete():
            told(key.total, key.total)
            return cache, 0
        network = self.network(precision)
        self._make_room(cache, network)
        threads = self.settings.cores
        passes = ForwardPasses(network, rows, views, model_threads(self.settings.device, threads))
        made = fill(cache, passes, lambda done: told(done, key.total), threads=threads)
        return cache, made

    def _tell_of_rest(self, cache: FeatureCache, made: int) -> None:
        if made < cache.key.total:
            self.context.log(f"outputs of {cache.key.total - made} rows were there already")

    def _rows(self, names: Sequence[str]) -> ImageRows:
        labels = np.array([self.labels[name] for name in names], np.int64)
        return ImageRows(tuple(names), labels, self.images.contents, self.images.sha256)

    def _make_room(self, cache: FeatureCache, network: PreparedNetwork) -> None:
        key, allowed = cache.key, self.settings.feature_cache_bytes
        layout = RowFormat.of(network, key.floats, logits=key.logits, energies=key.energies)
        needed = key.total * layout.row_bytes
        if needed > allowed:
            raise DataError(
                f"outputs of {key.total} rows take {needed} bytes, more than HOWSURE_FEATURE_CACHE_BYTES ({allowed}):"
                " raise it, or take fewer rows or views"
            )
        for name in make_room(cache.root, needed - size_of(cache.folder), allowed):
            self.context.log(f"removed the cached outputs {name[:12]}, used longest ago, to make room")

    def _check_columns(self, data: OutputDataset) -> None:
        classes = len(self.manifest.classes)
        if data.logits.shape[1] != classes:
            raise DataError(f"{data.logits.shape[1]} logits a row, but {self.spec.model} has {classes} classes")

    def _table(self, data: OutputDataset, names: Sequence[str]) -> ModelOutputs:
        logits, features = data.outputs(names)
        return ModelOutputs(torch.from_numpy(logits), features=None if features is None else torch.from_numpy(features))


def _untold(done: int, total: int) -> None:
    pass
