"""`GET /v1/models…`: what is served, how well calibrated, on what data, and every published version."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import HTMLResponse

from app.api.deps import CatalogDep, problems, require
from app.api.model_schemas import ModelCard, ModelList, Move, ScoreDescription, VersionList, VersionSummary
from app.api.reliability import reliability_svg
from app.api.report_page import version_report_page
from app.api.risk_coverage import risk_coverage_svg
from app.api.schemas import Limit
from app.errors import NotFoundError
from app.keys import Scope
from app.scoring.catalog import Catalog, LoadFailure
from app.scoring.loading import Served
from app.scoring.prompt_predictor import PromptPredictor
from models.core.errors import CheckpointError, ModelSideError
from models.core.manifest import Manifest

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
DataName = Annotated[str | None, Query(description="Which data set; left out: the one reported on")]
PrecisionName = Annotated[str | None, Query(description="bfloat16 or float32; left out: the first fitted")]


@router.get("")
def list_models(catalog: CatalogDep, limit: Annotated[Limit, Query()] = 20, after: str | None = None) -> ModelList:
    """Every model that has an active version, by name."""
    names = [name for name in _names(catalog) if after is None or name > after]
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
    active = catalog.store.find_active(model)  # none yet where a job made the first version without promoting it
    return VersionList(
        data=[_summary(catalog, model, number, active.version if active else None) for number in numbers[:limit]],
        history=[Move(**asdict(move)) for move in (active.history if active else ())],
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
    predictor = catalog.predictors.get(model)
    here = predictor.pipeline.network.precision if predictor is not None and predictor.version == version else None
    return HTMLResponse(version_report_page(model, version, catalog.store.read_manifest(model, version), here))


@router.get("/{model}/versions/{version}/reliability.svg", response_class=Response, responses=SVG_RESPONSE)
def get_reliability(
    catalog: CatalogDep,
    model: ModelName,
    version: VersionNumber,
    data: DataName = None,
    precision: PrecisionName = None,
) -> Response:
    """The reliability diagram of one evaluation, before and after calibration."""
    return Response(reliability_svg(_evaluation(catalog, model, version, data, precision)), media_type=SVG)


@router.get("/{model}/versions/{version}/risk-coverage.svg", response_class=Response, responses=SVG_RESPONSE)
def get_risk_coverage(
    catalog: CatalogDep,
    model: ModelName,
    version: VersionNumber,
    data: DataName = None,
    precision: PrecisionName = None,
) -> Response:
    """The risk-coverage diagram of one evaluation: errors among the rows the model is surest of."""
    evaluation = _evaluation(catalog, model, version, data, precision)
    if "risk_coverage" not in evaluation["after"]:
        raise NotFoundError(f"version {version} of {model} was evaluated before this curve was kept: evaluate it again")
    return Response(risk_coverage_svg(evaluation), media_type=SVG)


def _evaluation(
    catalog: Catalog, model: str, version: int, data: str | None, precision: str | None
) -> Mapping[str, Any]:
    manifest = catalog.store.read_manifest(model, version)
    wanted = {"data": data, "precision": precision or manifest.precisions[0], "role": None if data else "report"}
    for evaluation in manifest.report["evaluations"]:
        if all(value in (None, evaluation[name]) for name, value in wanted.items()):
            return dict(evaluation)
    raise NotFoundError(f"version {version} of {model} {_not_evaluated(manifest, data, precision)}")


def _not_evaluated(manifest: Manifest, data: str | None, precision: str | None) -> str:
    if not manifest.report["evaluations"]:
        return "was never evaluated: a job `calibrate` does so"
    asked = {"on": data, "in": precision}
    return " ".join(("has no evaluation", *(f"{word} {name}" for word, name in asked.items() if name)))


def _names(catalog: Catalog) -> list[str]:
    """Models with an active version, and those that are served although the store has lost them."""
    return sorted({*catalog.store.models(), *catalog.predictors})


def _card(catalog: Catalog, model: str) -> ModelCard:
    if model not in _names(catalog):
        raise NotFoundError(f"no model {model!r}; there are: {', '.join(_names(catalog)) or 'none'}")
    predictor, failure = catalog.predictors.get(model), catalog.failures.get(model)
    if predictor is None:
        return _unserved(catalog, model, failure)
    manifest, network = predictor.manifest, predictor.pipeline.network
    return ModelCard(
        id=model,
        created=_created(catalog, model, predictor.version),
        status="ready",
        default=catalog.is_default(predictor),
        reason=failure.reason if failure else None,
        version=predictor.version,
        failed_version=failure.version if failure else None,
        task=manifest.task,
        classes=len(manifest.classes),
        device=str(network.device),
        precision=network.precision,
        calibrator=manifest.calibrator,
        token_temperature=_token_temperature(predictor),
        scores=[
            ScoreDescription(name=name, kind=scored.score.kind.value)
            for name, scored in predictor.pipeline.scores.items()
        ],
        calibration=predictor.calibration,
    )


def _token_temperature(predictor: Served) -> float | None:
    return predictor.pipeline.token_temperature if isinstance(predictor, PromptPredictor) else None


def _unserved(catalog: Catalog, model: str, failure: LoadFailure | None) -> ModelCard:
    card = ModelCard(id=model, status="failed" if failure else "loading", reason=failure.reason if failure else None)
    with suppress(CheckpointError):  # the pointer itself may be what is damaged
        card.version = catalog.store.active(model).version
        card.created = _created(catalog, model, card.version)
    return card


def _created(catalog: Catalog, model: str, version: int) -> int | None:
    with suppress(ModelSideError, ValueError):
        moves = [move for move in catalog.store.active(model).history if move.version == version]
        return int(datetime.fromisoformat(moves[-1].at).timestamp()) if moves else None
    return None


def _summary(catalog: Catalog, model: str, number: int, active: int | None) -> VersionSummary:
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
        token_temperatures=dict(manifest.prompts.token_temperatures) if manifest.prompts else {},
    )
