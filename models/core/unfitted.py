"""A version of a network as it came: neither calibrated nor judged, without scores."""

from collections.abc import Mapping
from importlib.metadata import version as installed_version

from models.core.checkpoint import Version
from models.core.device import machine
from models.core.golden import GOLDEN_SEEDS, Golden, GoldenRow
from models.core.input_spec import InputSpec
from models.core.manifest import BackboneRecord, Manifest
from models.core.prompt_spec import PromptSpec


def unfitted(
    backbone: BackboneRecord,
    golden: Mapping[str, tuple[GoldenRow, ...]],
    *,
    task: str,
    classes: tuple[str, ...] = (),
    input_spec: InputSpec | None = None,
    prompts: PromptSpec | None = None,
) -> Version:
    """In no store yet; `golden` has the answers to the golden inputs in each precision that it is to serve in."""
    manifest = Manifest(
        task=task,
        backbone=backbone,
        classes=classes,
        input_spec=input_spec,
        calibrator=None,
        scores=(),
        precisions=tuple(golden),
        data=(),
        seeds={},
        code_version=installed_version("howsure"),
        machine=machine(),
        report={"evaluations": []},
        files={},
        prompts=prompts,
    )
    return Version(manifest, {}, Golden(GOLDEN_SEEDS, dict(golden)))
