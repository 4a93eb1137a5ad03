"""How a job reads the choices of its rows where nobody says: as the rows are made, or as the version was fitted for."""

from collections.abc import Mapping
from typing import Any

from models.core.manifest import Manifest
from models.core.prompt_spec import Readout
from models.data.questions import QuestionDataset
from models.language.calibrators import DIRECTION
from models.language.few_shot_recalibration import FEW_SHOT


def is_fitted(manifest: Manifest) -> bool:
    """Whether the version has anything that was fitted for its readout."""
    return manifest.calibrator is not None or bool(manifest.scores) or FEW_SHOT in manifest.report


def calibrated_readout(params: Mapping[str, Any], manifest: Manifest, data: QuestionDataset) -> Readout:
    """Of a job `calibrate`: the calibration direction is one of the next token, whatever version and rows."""
    if params["readout"] is None and params["method"] == DIRECTION:
        return Readout.NEXT_TOKEN
    return served_readout(params, manifest, data)


def served_readout(params: Mapping[str, Any], manifest: Manifest, data: QuestionDataset) -> Readout:
    """The version's own, so that what was fitted for it stays or can be compared; by the rows where nothing was."""
    if params["readout"] is not None:
        return Readout(params["readout"])
    if is_fitted(manifest) and manifest.prompts is not None:
        return manifest.prompts.readout
    return _of_rows(data)


def _of_rows(data: QuestionDataset) -> Readout:
    return Readout.NEXT_TOKEN if data.lettered else Readout.TEXT
