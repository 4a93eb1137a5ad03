"""The README tells the truth: its calibration table is the manifest's, its Python runs against a real server."""

import json
import re
from pathlib import Path

import pytest

from models import calibration
from models.checkpoints.shipped import FOLDER

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DATA = {"report": "same source, not fitted", "shift": "**shifted set**"}
CALIBRATORS = ("none", *calibration.CALIBRATORS)
TITLES = {"none": "before", "temperature": "**temperature** (active)"}


def calibration_rows() -> list[str]:
    report = json.loads((FOLDER / "efficientnet-lite0" / "manifest.json").read_bytes())["report"]
    return [
        f"| {DATA[evaluation['role']]}, {TITLES.get(name, name)} | {found['accuracy']:.3f} | {found['nll']:.3f}"
        f" | {found['ece']:.3f} ({found['ece_floor']:.3f}) | {found['ece_debiased']:.3f} | {found['smooth_ece']:.3f}"
        f" | {found['coverage_at_5_risk']:.2f} |"
        for evaluation in report["evaluations"]
        if evaluation["precision"] == "bfloat16" and evaluation["role"] in DATA
        for name in CALIBRATORS
        for found in [evaluation["compared"][name]]
    ]


def test_calibration_table_is_the_manifests() -> None:
    assert "\n".join(calibration_rows()) in README, "put these rows into README.md:\n" + "\n".join(calibration_rows())


def test_python_blocks_run(server: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("HOWSURE_URL", server.url)  # type: ignore[attr-defined]
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert "cat" in capsys.readouterr().out


def test_every_path_it_names_is_there() -> None:
    named = re.findall(r"\]\(([\w./]+)\)", README)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
