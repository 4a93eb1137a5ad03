"""The models this server answers with: loaded from the store at start, each from its active version."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.errors import InvalidError, NotFoundError, NotReadyError
from app.scoring.predictor import Predictor
from app.settings import Settings
from models.checkpoints.shipped import install_shipped
from models.core.device import choose_device
from models.core.store import CheckpointStore
from models.pipeline import load_pipeline

log = logging.getLogger("howsure.catalog")


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """Why a model of the store is not served."""

    model: str
    reason: str


class Catalog:
    """Empty until `load` has run. One bad model does not hide the others."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = CheckpointStore(settings.store)
        self.predictors: dict[str, Predictor] = {}
        self.failures: list[LoadFailure] = []
        self.loaded = False

    def load(self) -> None:
        """Install what ships with the release, then load, verify and warm up the active version of every model."""
        with self._recorded("shipped checkpoints"):
            install_shipped(self.store)
        for model in self.store.models():
            with self._recorded(model):
                self.predictors[model] = self._load(model)
        self.loaded = True

    def get(self, model: str | None) -> Predictor:
        """The predictor of a model; None is the default one. Raises NotFoundError, InvalidError or NotReadyError."""
        if not self.loaded:
            raise NotReadyError("the models are still loading")
        name = model or self.settings.default_model or self._only_model()
        if name in self.predictors:
            return self.predictors[name]
        failed = next((failure for failure in self.failures if failure.model == name), None)
        if failed is not None:
            raise NotReadyError(f"model {name} could not be loaded: {failed.reason}", seconds=60)
        raise NotFoundError(f"no model {name!r}; there are: {', '.join(self.predictors) or 'none'}")

    def _only_model(self) -> str:
        if len(self.predictors) != 1:
            known = ", ".join(self.predictors) or "none"
            raise InvalidError(f"name a model (there are: {known}) or set HOWSURE_DEFAULT_MODEL")
        return next(iter(self.predictors))

    @contextmanager
    def _recorded(self, model: str) -> Iterator[None]:
        # A damaged version can raise nearly anything; whatever it is must not hide the other models.
        try:
            yield
        except Exception as error:
            log.error("model not loaded", exc_info=error, extra={"event": "model_not_loaded", "model": model})
            self.failures.append(LoadFailure(model, str(error) or repr(error)))

    def _load(self, model: str) -> Predictor:
        started = time.perf_counter()
        number = self.store.active(model).version
        version = self.store.read(model, number)
        pipeline = load_pipeline(
            self.store,
            version,
            choose_device(self.settings.device),
            precision=self.settings.precision,
            compiled=self.settings.compiled,
        )
        predictor = Predictor(model, number, version.manifest, pipeline)
        predictor.warm_up(self.settings.max_batch, self.settings.cores)
        network = pipeline.network
        fields = {"event": "model_loaded", "model": model, "version": number, "device": str(network.device)}
        seconds = round(time.perf_counter() - started, 2)
        log.info("model loaded", extra=fields | {"precision": network.precision, "seconds": seconds})
        return predictor
