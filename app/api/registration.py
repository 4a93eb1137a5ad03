"""`POST /v1/models`: take up a network that lies on the server below its data root, or on the hub."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends

from app.api.deps import CatalogDep, ReloaderDep, SettingsDep, problems, require
from app.api.model_schemas import NetworkOfFile, Registered, RegisterRequest
from app.datasets.data_root import below
from app.errors import BadGatewayError, InvalidError
from app.keys import ApiKey, Scope
from app.settings import Settings
from models.backbones.backbone import ImportedNetwork
from models.core.errors import UnreachableError, UnsupportedError
from models.core.hub import hub_folder
from models.core.input_spec import InputSpec
from models.core.store import MODEL_NAME, CheckpointStore
from models.language.pipeline import KIND as LANGUAGE
from models.language.registration import register_language
from models.registration import UNUSABLE, from_file, from_folder, register

router = APIRouter(prefix="/v1/models", tags=["models"], responses=problems(400, 401, 403, 404, 413, 422, 500, 502))

SWAP_SECONDS = 30.0


@router.post("", status_code=201)
def register_model(
    settings: SettingsDep,
    catalog: CatalogDep,
    reloader: ReloaderDep,
    key: Annotated[ApiKey | None, Depends(require(Scope.ADMIN))],
    wanted: RegisterRequest,
) -> Registered:
    """Publish a network as a version: uncalibrated and without scores, until a job `calibrate` has run on it.

    `path` is a folder as timm or transformers save it, or a .safetensors file with `network` saying what it is of. A
    language model (`causal_lm`) is a folder in the hub's layout with safetensors, or a GGUF file; to convert it can
    take minutes. `hub` names a model whose folder is fetched from there, safetensors only, where the server was started
    with HOWSURE_HUB=true. The first version of a model becomes active; of a known model it stays a candidate.
    """
    if not MODEL_NAME.fullmatch(wanted.model):
        raise _refused("/model", f"{wanted.model!r} is no model name: lower-case letters, digits, dots and dashes")
    try:
        version = _version(settings, catalog.store, wanted)
    except UnreachableError as error:
        raise BadGatewayError(str(error)) from error
    except UNUSABLE as error:
        pointer = "/path" if wanted.hub is None else "/hub"
        raise _refused(pointer, f"{wanted.source} cannot be taken up: {error}") from error
    if wanted.model not in catalog.store.models():
        actor = key.name if key else "anonymous"
        catalog.store.activate(wanted.model, version, actor=actor, reason=f"registered from {wanted.source}")
        reloader.look_now(SWAP_SECONDS)
    return Registered(model=wanted.model, version=version, active=catalog.store.active(wanted.model).version)


def _version(settings: Settings, store: CheckpointStore, wanted: RegisterRequest) -> int:
    if wanted.kind == LANGUAGE:
        _refuse_fields_of_images(wanted)
    if wanted.hub is None:
        return _published(store, below(settings.data_root, wanted.source), wanted)
    if not settings.hub:
        raise _refused("/hub", "names of the hub are off: start the server with HOWSURE_HUB=true, or give a path")
    if wanted.kind == "torchvision":
        raise _refused("/kind", "torchvision keeps no networks on the hub: kind is timm, transformers or causal_lm")
    if wanted.network is not None:
        raise _refused("/network", "network is for a .safetensors file: leave it out, the hub's folder says what it is")
    with hub_folder(wanted.hub) as folder:
        return _published(store, folder, wanted)


def _refuse_fields_of_images(wanted: RegisterRequest) -> None:
    given = {"network": wanted.network, "classes": wanted.classes}
    if useless := [name for name, value in given.items() if value is not None]:
        raise _refused(f"/{useless[0]}", f"{useless[0]} is for networks of images: leave it out")


def _published(store: CheckpointStore, place: Path, wanted: RegisterRequest) -> int:
    if wanted.kind == LANGUAGE:
        return register_language(store, wanted.model, _language_source(place))
    return register(store, wanted.model, wanted.kind, _imported(place, wanted.kind, wanted.network), wanted.classes)


def _language_source(place: Path) -> Path:
    if not place.is_dir() and place.suffix != ".gguf":
        raise UnsupportedError("give a folder in the hub's layout, or a .gguf file")
    return place


def _imported(place: Path, kind: str, network: NetworkOfFile | None) -> ImportedNetwork:
    if network is None:
        return from_folder(kind, place)
    spec = InputSpec.from_dict(network.input.model_dump())
    return from_file(kind, place, network.name, network.arguments, spec)


def _refused(pointer: str, detail: str) -> InvalidError:
    return InvalidError(detail, errors=[{"pointer": pointer, "detail": detail}])
