"""`GET /v1/models/{m}/versions/{n}/layers` and `/layers.svg`: accuracy and confidence over a language model's depth."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Depends, Response

from app.api.deps import CatalogDep, problems, require
from app.api.layers_diagram import layers_svg
from app.api.models import SVG, SVG_RESPONSE, ModelName, VersionNumber
from app.errors import NotFoundError
from app.keys import Scope
from app.scoring.catalog import Catalog

router = APIRouter(
    prefix="/v1/models/{model}/versions/{version}",
    tags=["models"],
    dependencies=[Depends(require(Scope.READ))],
    responses=problems(401, 403, 404, 422, 500),
)


@router.get("/layers")
def get_layers(catalog: CatalogDep, model: ModelName, version: VersionNumber) -> dict[str, Any]:
    """The layer study: curves, correction phase, calibration direction, and its controls beside a temperature.

    `curves` are what the model would answer after each layer, on the rows that phase and step were found on (`fit`) and
    on others (`report`); `compared` has the ECE, with its interval, of each way to set confidence right.
    """
    return {"model": model, "version": version, **_study(catalog, model, version)}


@router.get("/layers.svg", response_class=Response, responses=SVG_RESPONSE)
def get_layers_diagram(catalog: CatalogDep, model: ModelName, version: VersionNumber) -> Response:
    """Accuracy, confidence and ECE over the layers, the correction phase and the layer of the step."""
    return Response(layers_svg(_study(catalog, model, version)), media_type=SVG)


def _study(catalog: Catalog, model: str, version: int) -> Mapping[str, Any]:
    manifest = catalog.store.read_manifest(model, version)
    if "layers" in manifest.report:
        return dict(manifest.report["layers"])
    if manifest.prompts is None:
        raise NotFoundError(f"version {version} of {model} is of images: the layers of language models are studied")
    raise NotFoundError(
        f"version {version} of {model} has no layer study: POST a job to /v1/jobs with the type calibrate and the"
        " method calibration_direction, its new version has one"
    )
