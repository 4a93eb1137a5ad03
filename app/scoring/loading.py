"""From a stored version to a predictor that is ready to answer, of images or of prompts."""

from app.scoring.predictor import Predictor
from app.scoring.prompt_predictor import PromptPredictor
from app.settings import Settings
from models.core.checkpoint import Version
from models.core.device import choose_device, choose_precision
from models.core.store import CheckpointStore
from models.language.pipeline import LanguagePipeline, load_language_pipeline, same_language
from models.pipeline import Pipeline, load_pipeline, same_network

Served = Predictor | PromptPredictor


def load_served(store: CheckpointStore, settings: Settings, model: str, number: int, beside: Served | None) -> Served:
    """Load, verify and warm up a version; the network of `beside` is used where the version needs the same one.

    Raises a ModelSideError, or nearly anything else when the version is damaged.
    """
    version = store.read(model, number)
    if version.manifest.prompts is None:
        return _of_images(store, settings, model, number, version, beside)
    return _of_prompts(store, settings, model, number, version, beside)


def _of_images(
    store: CheckpointStore, settings: Settings, model: str, number: int, version: Version, beside: Served | None
) -> Predictor:
    shared = _shared_images(settings, version, beside)
    pipeline = load_pipeline(
        store,
        version,
        choose_device(settings.device),
        precision=settings.precision,
        compiled=settings.compiled,
        loaded=shared,
    )
    predictor = Predictor(model, number, version.manifest, pipeline)
    # A shared network is warm, and the golden check has just run every method.
    if shared is None:
        predictor.warm_up(settings.max_batch, settings.cores)
    return predictor


def _of_prompts(
    store: CheckpointStore, settings: Settings, model: str, number: int, version: Version, beside: Served | None
) -> PromptPredictor:
    shared = _shared_prompts(settings, version, beside)
    device = choose_device(settings.device)
    pipeline = load_language_pipeline(store, version, device, precision=settings.precision, loaded=shared)
    return PromptPredictor(model, number, version.manifest, pipeline)


def _shared_images(settings: Settings, version: Version, beside: Served | None) -> Pipeline | None:
    if not isinstance(beside, Predictor) or not same_network(beside.manifest, version.manifest):
        return None
    return beside.pipeline if _precision(settings, version, beside) == beside.pipeline.network.precision else None


def _shared_prompts(settings: Settings, version: Version, beside: Served | None) -> LanguagePipeline | None:
    if not isinstance(beside, PromptPredictor) or not same_language(beside.manifest, version.manifest):
        return None
    return beside.pipeline if _precision(settings, version, beside) == beside.pipeline.language.precision else None


def _precision(settings: Settings, version: Version, beside: Served) -> str:
    return choose_precision(beside.pipeline.network.device, version.manifest.precisions, settings.precision)
