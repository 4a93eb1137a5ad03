"""From a stored version to a predictor that is ready to answer."""

from app.scoring.predictor import Predictor
from app.settings import Settings
from models.core.device import choose_device, choose_precision
from models.core.manifest import Manifest
from models.core.store import CheckpointStore
from models.pipeline import Pipeline, load_pipeline, same_network


def load_predictor(
    store: CheckpointStore, settings: Settings, model: str, number: int, beside: Predictor | None
) -> Predictor:
    """Load, verify and warm up a version; the network of `beside` is used where the version needs the same one.

    Raises a ModelSideError, or nearly anything else when the version is damaged.
    """
    version = store.read(model, number)
    shared = _shared(settings, version.manifest, beside)
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


def _shared(settings: Settings, manifest: Manifest, beside: Predictor | None) -> Pipeline | None:
    if beside is None or not same_network(beside.manifest, manifest):
        return None
    network = beside.pipeline.network
    precision = choose_precision(network.device, manifest.precisions, settings.precision)
    return beside.pipeline if network.precision == precision else None
