"""Copies the shipped checkpoints into a store at first start."""

import logging
from collections.abc import Collection
from pathlib import Path

from models.checkpoints.package_language import add_packaged_language, is_installed
from models.checkpoints.package_weights import package_weights
from models.core.checkpoint import MANIFEST, Version, file_sha256, read_version
from models.core.errors import UnknownNameError
from models.core.store import CheckpointStore

log = logging.getLogger("howsure.shipped")

FOLDER = Path(__file__).parent
ACTOR = "howsure"
IMAGE_MODELS = ("cifar10-resnet", "efficientnet-lite0")
# What answers where no other model of the kind is there but what ships.
IMAGE_DEFAULT, LANGUAGE_DEFAULT = "efficientnet-lite0", "smollm2-135m"


def shipped_models() -> list[str]:
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{MANIFEST}"))


def install_shipped(store: CheckpointStore, models: Collection[str] | None = None) -> list[str]:
    """Publish those of `models`, None for all, that the store does not have yet; returns the names.

    A shipped version that nobody has moved away from gives way to that of a newer release, once; any other active
    version stays. Safe when several processes start at once on one store. A language model whose weights are in a
    package that is not installed is left out. Raises UnknownNameError for a model that does not ship.
    """
    for unknown in set(models or ()) - set(shipped_models()):
        raise UnknownNameError("shipped checkpoint", unknown, shipped_models())
    with store.lock("_install"):
        return [model for model in shipped_models() if (models is None or model in models) and _install(store, model)]


def _install(store: CheckpointStore, model: str) -> bool:
    folder = FOLDER / model
    published = store.manifest_hashes(model).get(file_sha256(folder / MANIFEST))
    number = _publish(store, model, read_version(folder)) if published is None else published
    if number is None:
        return False
    # Asked for in any case: a process may have been killed between publishing and activating.
    if model not in store.models() or (published is None and _is_untouched(store, model)):
        store.activate(model, number, actor=ACTOR, reason="shipped with this release")
    return published is None


def _is_untouched(store: CheckpointStore, model: str) -> bool:
    return all(move.actor == ACTOR for move in store.active(model).history)


def _publish(store: CheckpointStore, model: str, version: Version) -> int | None:
    backbone = version.manifest.backbone
    if version.manifest.prompts is not None:
        if not is_installed(backbone):
            log.info("left out: its weights are not installed", extra={"event": "not_shipped", "model": model})
            return None
        add_packaged_language(store, backbone.origin, FOLDER / "weights" / model, backbone.sha256)
    elif not store.weights_path(backbone.sha256).exists():
        store.add_weights(package_weights(backbone), expected=backbone.sha256)
    return store.publish(model, version)
