"""`GET /v1/models…`: what is served, how well calibrated, on what data, and every published version."""

from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import HTMLResponse

from app.api.deps import CatalogDep, problems, require
from app.api.reliability import reliability_svg
from app.api.report_page import report_page
from app.api.schemas import Limit, ModelCard, ModelList, Move, ScoreDescription, VersionList, VersionSummary
from app.errors import NotFoundError
from app.keys import Scope
from app.scoring.catalog import Catalog
from models.core.errors import CheckpointError

router = APIRouter(
    prefix="/v1/models",
    tags=["models"],
    dependencies=[Depends(require(Scope.READ))],
    responses=problems(401, 403, 404, 422, 500),
)

SVG = "image/svg+xml"
SVG_RESPONSE: dict[int | str, dict[str, Any]] = {200: {"content": {SVG: {"schema": {"type": "string"}}}}}
ModelName = Annotated[str, Path(max_length=100)]
VersionNumber = Annotated[int, Path(ge=1, le=2**31)]


@router.get("")
def list_models(catalog: CatalogDep, limit: Annotated[Limit, Query()] = 20, after: str | None = None) -> ModelList:
    """Every model that has an active version, by name."""
    names = [name for name in catalog.store.models() if after is None or name > after]
    page = names[:limit]
    return ModelList(
        data=[_card(catalog, name) for name in page],
        has_more=len(names) > len(page),
        first_id=page[0] if page else None,
        last_id=page[-1] if page else None,
    )


@router.get("/{model}")
def get_model(catalog: CatalogDep, model: ModelName) -> ModelCard:
    """The model card: active version, scores, and calibration before and after with warnings."""
    return _card(catalog, model)


@router.get("/{model}/versions")
def list_versions(
    catalog: CatalogDep,
    model: ModelName,
    limit: Annotated[Limit, Query()] = 20,
    after: Annotated[int | None, Query(description="Go on below this version", ge=1)] = None,
) -> VersionList:
    """Published versions, newest first, and the history of which one served."""
    numbers = [number for number in reversed(catalog.store.versions(model)) if after is None or number < after]
    active = catalog.store.active(model)
    return VersionList(
        data=[_summary(catalog, model, number, active.version) for number in numbers[:limit]],
        history=[Move(**asdict(move)) for move in active.history],
        has_more=len(numbers) > limit,
    )


@router.get("/{model}/versions/{version}")
def get_version(catalog: CatalogDep, model: ModelName, version: VersionNumber) -> dict[str, Any]:
    """The whole manifest: backbone, input spec, methods, data fingerprints, seeds, report."""
    return {"model": model, "version": version, **catalog.store.read_manifest(model, version).to_dict()}


@router.get("/{model}/versions/{version}/report")
def get_report(catalog: CatalogDep, model: ModelName, version: VersionNumber) -> dict[str, Any]:
    """The evaluation report: every measure before and after calibration, by data and precision."""
    manifest = catalog.store.read_manifest(model, version)
    return {"model": model, "version": version, "data": [asdict(use) for use in manifest.data], **manifest.report}


@router.get("/{model}/versions/{version}/report.html", response_class=HTMLResponse)
def get_report_page(catalog: CatalogDep, model: ModelName, version: VersionNumber) -> HTMLResponse:
    """The report as a page for people, with reliability diagrams and warnings."""
    return HTMLResponse(report_page(model, version, catalog.store.read_manifest(model, version)))


@router.get("/{model}/versions/{version}/reliability.svg", response_class=Response, responses=SVG_RESPONSE)
def get_reliability(
    catalog: CatalogDep,
    model: ModelName,
    version: VersionNumber,
    data: Annotated[str | None, Query(description="Which data set; left out: the one reported on")] = None,
    precision: Annotated[str | None, Query(description="bfloat16 or float32; left out: the first fitted")] = None,
) -> Response:
    """The reliability diagram of one evaluation, before and after calibration."""
    manifest = catalog.store.read_manifest(model, version)
    wanted = {"data": data, "precision": precision or manifest.precisions[0], "role": None if data else "report"}
    for evaluation in manifest.report["evaluations"]:
        if all(value in (None, evaluation[name]) for name, value in wanted.items()):
            return Response(reliability_svg(evaluation), media_type=SVG)
    raise NotFoundError(f"version {version} of {model} has no evaluation on data={data}, precision={precision}")


def _card(catalog: Catalog, model: str) -> ModelCard:
    if model not in catalog.store.models():
        raise NotFoundError(f"no model {model!r}; there are: {', '.join(catalog.store.models()) or 'none'}")
    predictor = catalog.predictors.get(model)
    if predictor is None:
        return _unserved(catalog, model)
    manifest, network = predictor.manifest, predictor.pipeline.network
    return ModelCard(
        id=model,
        created=_created(catalog, model),
        status="ready",
        version=predictor.version,
        task=manifest.task,
        classes=len(manifest.classes),
        device=str(network.device),
        precision=network.precision,
        calibrator=manifest.calibrator,
        scores=[
            ScoreDescription(name=name, kind=scored.score.kind.value)
            for name, scored in predictor.pipeline.scores.items()
        ],
        calibration=predictor.calibration,
    )


def _unserved(catalog: Catalog, model: str) -> ModelCard:
    reasons = [failure.reason for failure in catalog.failures if failure.model == model]
    reason = reasons[0] if reasons else "published after this server was started" if catalog.loaded else None
    card = ModelCard(
        id=model, created=_created(catalog, model), status="failed" if reason else "loading", reason=reason
    )
    with suppress(CheckpointError):  # the pointer itself may be what is damaged
        card.version = catalog.store.active(model).version
    return card


def _created(catalog: Catalog, model: str) -> int | None:
    with suppress(CheckpointError, IndexError, ValueError):
        return int(datetime.fromisoformat(catalog.store.active(model).history[-1].at).timestamp())
    return None


def _summary(catalog: Catalog, model: str, number: int, active: int) -> VersionSummary:
    try:
        manifest = catalog.store.read_manifest(model, number)
    except CheckpointError as error:
        return VersionSummary(version=number, active=number == active, reason=str(error))
    return VersionSummary(
        version=number,
        active=number == active,
        calibrator=manifest.calibrator,
        scores=list(manifest.scores),
        precisions=list(manifest.precisions),
        code_version=manifest.code_version,
    )
