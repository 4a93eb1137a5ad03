"""The models this server answers with: for each the version that the store says is active, or the last that loaded."""

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TypeVar

from app.errors import InvalidError, NotFoundError, NotReadyError
from app.scoring.loading import Served, load_served
from app.scoring.predictor import Predictor
from app.scoring.prompt_predictor import PromptPredictor
from app.settings import Settings
from models.checkpoints.shipped import IMAGE_DEFAULT, LANGUAGE_DEFAULT, install_shipped, shipped_models
from models.core.store import CheckpointStore

log = logging.getLogger("howsure.catalog")

Kind = TypeVar("Kind", Predictor, PromptPredictor)
DEFAULTS: Mapping[type, str] = {Predictor: IMAGE_DEFAULT, PromptPredictor: LANGUAGE_DEFAULT}
TAKES = {Predictor: "images: POST them to /v1/images/score", PromptPredictor: "prompts: POST them to /v1/prompts/score"}


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """Why the active version of a model is not served; `version` is None when not even its number could be read."""

    model: str
    reason: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Swap:
    """`after` serves in the place of `before`, which is None for a model that was not served until now."""

    before: Served | None
    after: Served
    seconds: float

    @property
    def reused(self) -> bool:
        """Whether both use one loaded network."""
        return self.before is not None and self.before.pipeline.network is self.after.pipeline.network


class Catalog:
    """Empty until `load` has run. One bad model does not hide the others, a bad version not the one that serves.

    `predictors` and `failures` are replaced, never changed: whoever reads one, in any thread, sees one state of it.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = CheckpointStore(settings.store)
        self.predictors: Mapping[str, Served] = {}
        self.failures: Mapping[str, LoadFailure] = {}
        self.loaded = False

    def load(self) -> None:
        """Install what ships with the release, then load, verify and warm up the active version of every model."""
        try:
            install_shipped(self.store, self.settings.shipped)
        except Exception as error:  # a damaged store must not hide what else is in it
            self._failed(LoadFailure("shipped checkpoints", _reason(error)), error)
        for model in self.store.models():
            self.refresh(model)
        self.loaded = True

    def refresh(self, model: str) -> Swap | LoadFailure | None:
        """Load the active version beside the one that serves, and swap; None where it serves already.

        Whatever goes wrong is a failure on record and leaves the serving version where it is.
        """
        number = None
        try:
            number = self.store.active(model).version
            return self._take_up(model, number)
        except Exception as error:  # a damaged version can raise nearly anything
            failure = LoadFailure(model, _reason(error), number)
            self._failed(failure, error)
            return failure

    def lost(self, model: str) -> None:
        """The store has the model no longer: what serves goes on to, and says so; a failure is forgotten."""
        if model in self.predictors:
            self._failed(LoadFailure(model, f"{model} is no longer in the store {self.store.root}"))
        else:
            self._succeeded(model)

    def get(self, model: str | None) -> Predictor:
        """What answers images; None is the default one. Raises NotFoundError, InvalidError or NotReadyError."""
        return self._get(model, Predictor)

    def get_for_prompts(self, model: str | None) -> PromptPredictor:
        """As `get`, of what answers prompts."""
        return self._get(model, PromptPredictor)

    def is_default(self, predictor: Served) -> bool:
        """Whether it answers requests that name no model."""
        return self._default(type(predictor)) == predictor.model

    def _get(self, model: str | None, kind: type[Kind]) -> Kind:
        if not self.loaded:
            raise NotReadyError("the models are still loading")
        name = model or self._default(kind)
        if name is None:
            known = ", ".join(self._of(kind)) or "none"
            raise InvalidError(f"name a model (there are: {known}) or set HOWSURE_DEFAULT_MODEL")
        found = self.predictors.get(name)
        if isinstance(found, kind):
            return found
        if found is not None:
            raise InvalidError(f"model {name} takes {TAKES[type(found)]}")
        failed = self.failures.get(name)
        if failed is not None:
            raise NotReadyError(f"model {name} could not be loaded: {failed.reason}", seconds=60)
        raise NotFoundError(f"no model {name!r}; there are: {', '.join(self.predictors) or 'none'}")

    def _of(self, kind: type[Served]) -> list[str]:
        return [name for name, predictor in self.predictors.items() if isinstance(predictor, kind)]

    def _default(self, kind: type[Served]) -> str | None:
        """As set, else the only one of the kind, else the shipped one meant for that: whoever adds a model beside it
        takes nothing from those who name none."""
        names, chosen = self._of(kind), self.settings.default_model
        if chosen in names or (chosen is not None and chosen not in self.predictors):
            return chosen
        shipped, meant = set(shipped_models()), DEFAULTS[kind]
        # Another that ships must not stand in, unnoticed, for the one that could not be loaded.
        if len(names) == 1 and not (meant in self.failures and names[0] in shipped - {meant}):
            return names[0]
        return meant if meant in names else None

    def _take_up(self, model: str, number: int) -> Swap | None:
        started = time.perf_counter()
        before = self.predictors.get(model)
        swap = None
        if before is None or before.version != number:
            after = load_served(self.store, self.settings, model, number, before)
            self.predictors = {**self.predictors, model: after}
            swap = Swap(before, after, time.perf_counter() - started)
            _log_swap(swap)
        self._succeeded(model)
        return swap

    def _failed(self, failure: LoadFailure, error: Exception | None = None) -> None:
        serving = self.predictors.get(failure.model)
        fields = {"event": "model_not_loaded", "serving": serving.version if serving else None, **asdict(failure)}
        log.error("model not loaded", exc_info=error, extra=fields)
        self.failures = {**self.failures, failure.model: failure}

    def _succeeded(self, model: str) -> None:
        self.failures = {name: failure for name, failure in self.failures.items() if name != model}


def _reason(error: Exception) -> str:
    return str(error) or repr(error)


def _log_swap(swap: Swap) -> None:
    network = swap.after.pipeline.network
    fields: dict[str, object] = {
        "event": "model_loaded" if swap.before is None else "model_swapped",
        "model": swap.after.model,
        "version": swap.after.version,
        "device": str(network.device),
        "precision": network.precision,
        "milliseconds": round(1000 * swap.seconds, 1),
    }
    if swap.before is not None:
        fields |= {"previous": swap.before.version, "reused": swap.reused}
    log.info("model loaded" if swap.before is None else "model swapped", extra=fields)
