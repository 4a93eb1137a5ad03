"""Copies the shipped checkpoints into a store at first start."""

from pathlib import Path

from models.checkpoints.package_weights import package_weights
from models.core.checkpoint import MANIFEST, file_sha256, read_version
from models.core.store import CheckpointStore

FOLDER = Path(__file__).parent
ACTOR = "howsure"
DEFAULT = "efficientnet-lite0"  # answers where no other model is there but what ships


def shipped_models() -> list[str]:
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{MANIFEST}"))


def install_shipped(store: CheckpointStore) -> list[str]:
    """Publish what the store does not have yet; returns the names.

    A shipped version that nobody has moved away from gives way to that of a newer release, once; any other active
    version stays. Safe when several processes start at once on one store.
    """
    with store.lock("_install"):
        return [model for model in shipped_models() if _install(store, model)]


def _install(store: CheckpointStore, model: str) -> bool:
    folder = FOLDER / model
    published = store.manifest_hashes(model).get(file_sha256(folder / MANIFEST))
    number = _publish(store, model, folder) if published is None else published
    # Asked for in any case: a process may have been killed between publishing and activating.
    if model not in store.models() or (published is None and _is_untouched(store, model)):
        store.activate(model, number, actor=ACTOR, reason="shipped with this release")
    return published is None


def _is_untouched(store: CheckpointStore, model: str) -> bool:
    return all(move.actor == ACTOR for move in store.active(model).history)


def _publish(store: CheckpointStore, model: str, folder: Path) -> int:
    version = read_version(folder)
    backbone = version.manifest.backbone
    if not store.weights_path(backbone.sha256).exists():
        store.add_weights(package_weights(backbone), expected=backbone.sha256)
    return store.publish(model, version)
