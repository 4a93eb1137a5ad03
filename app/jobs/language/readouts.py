"""How a job reads the choices of its rows where nobody says: as the rows are made, or as the version was fitted for."""

from collections.abc import Mapping
from typing import Any

from models.core.manifest import Manifest
from models.core.prompt_spec import Readout
from models.data.questions import QuestionDataset
from models.language.calibrators import DIRECTION


def is_fitted(manifest: Manifest) -> bool:
    """Whether the version has anything that was fitted for its readout."""
    return manifest.calibrator is not None or bool(manifest.scores)


def calibrated_readout(params: Mapping[str, Any], data: QuestionDataset) -> Readout:
    """Of a job `calibrate`: the calibration direction is one of the next token, whatever the rows."""
    if params["readout"] is not None:
        return Readout(params["readout"])
    return Readout.NEXT_TOKEN if params["method"] == DIRECTION else _of_rows(data)


def served_readout(params: Mapping[str, Any], manifest: Manifest, data: QuestionDataset) -> Readout:
    """Of a job that goes on with the version's calibrator: the version's own, unless it is not fitted for any."""
    if params["readout"] is not None:
        return Readout(params["readout"])
    if is_fitted(manifest) and manifest.prompts is not None:
        return manifest.prompts.readout
    return _of_rows(data)


def _of_rows(data: QuestionDataset) -> Readout:
    return Readout.NEXT_TOKEN if data.lettered else Readout.TEXT
