"""The README tells the truth: its calibration tables are the manifests', its Python runs against a real server."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from models import calibration
from models.checkpoints.shipped import FOLDER

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DATA = {
    "efficientnet-lite0": {"report": "same source, not fitted", "shift": "**shifted set**"},
    "cifar10-resnet": {"report": "test images"},
}
LANGUAGE_MODEL = "smollm2-135m"
CALIBRATORS = ("none", *calibration.CALIBRATORS)
TITLES = {"none": "before", "temperature": "**temperature** (active)"}


def report_of(model: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((FOLDER / model / "manifest.json").read_bytes())["report"]
    return report


def calibration_rows(model: str) -> list[str]:
    data = DATA[model]
    return [
        f"| {data[evaluation['role']]}, {TITLES.get(name, name)} | {found['accuracy']:.3f} | {found['nll']:.3f}"
        f" | {found['ece']:.3f} ({found['ece_floor']:.3f}) | {found['ece_debiased']:.3f} | {found['smooth_ece']:.3f}"
        f" | {found['coverage_at_5_risk']:.2f} |"
        for evaluation in report_of(model)["evaluations"]
        if evaluation["precision"] == "bfloat16" and evaluation["role"] in data
        for name in CALIBRATORS
        for found in [evaluation["compared"][name]]
    ]


@pytest.mark.parametrize("model", DATA)
def test_calibration_table_is_the_manifests(model: str) -> None:
    rows = "\n".join(calibration_rows(model))
    assert rows in README, f"put these rows into README.md:\n{rows}"


def test_it_says_that_entropy_beats_the_second_head() -> None:
    scores = report_of("cifar10-resnet")["loss_rank"]["precisions"][0]["scores"]
    head, entropy = (f"{scores[name]['r_auroc']['value']:.3f}"[1:] for name in ("loss_rank", "entropy"))
    assert f"R-AUROC {head} against {entropy} of entropy" in README


def language_rows() -> list[str]:
    """What the language model reads on each set, beside one temperature for all sets."""
    rows = []
    for found in report_of(LANGUAGE_MODEL)["evaluations"]:
        if found["role"] == "report" and found["precision"] == "bfloat16":
            before, after = found["before"], found["after"]
            one = found["compared"]["temperature"]
            rows.append(
                f"| {found['data'].removesuffix('_shared')}, {found['rows']} | {before['accuracy']['value']:.3f}"
                f" | {before['ece']:.3f} ({before['ece_floor']:.3f}) | {after['ece']:.3f} ({after['ece_floor']:.3f})"
                f" | {one['ece']:.3f} | {before['nll']['value']:.3f} | {after['nll']['value']:.3f} |"
            )
    return rows


def test_language_table_is_the_manifests() -> None:
    rows = "\n".join(language_rows())
    assert rows in README, f"put these rows into README.md:\n{rows}"


def token_rows() -> list[str]:
    """The tokens of free answers, before and after their temperature."""
    return [
        f"| {found['data'].removesuffix('_shared')}, {found['rows']} | {after['tokens']} | {after['accuracy']:.3f}"
        f" | {before['confidence']:.3f} → {after['confidence']:.3f}"
        f" | {before['ece']:.3f} → {after['ece']:.3f} ({after['ece_floor']:.3f})"
        f" | {before['nll']:.2f} → {after['nll']:.2f} |"
        for found in report_of(LANGUAGE_MODEL)["tokens"]["evaluations"]
        if found["role"] == "report" and found["precision"] == "bfloat16"
        for before, after in [(found["before"], found["after"])]
    ]


def test_table_of_tokens_is_the_manifests() -> None:
    rows = "\n".join(token_rows())
    assert rows in README, f"put these rows into README.md:\n{rows}"


@pytest.mark.slow
def test_blocks_on_prompts_run(start_server, tmp_path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:  # type: ignore[no-untyped-def]
    server = start_server(HOWSURE_STORE=tmp_path / "store", HOWSURE_SHIPPED=LANGUAGE_MODEL)
    monkeypatch.setenv("HOWSURE_URL", server.url)
    blocks = re.findall(r"```py\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block.replace("http://127.0.0.1:8000", server.url), "README.md", "exec"), {})
    assert "positive" in capsys.readouterr().out


def test_it_says_that_the_language_models_head_did_not_pass() -> None:
    scores = report_of(LANGUAGE_MODEL)["loss_rank"]["precisions"][0]["scores"]
    head, entropy = (f"{scores[name]['auroc']['value']:.3f}"[1:] for name in ("loss_rank", "entropy"))
    assert f"AUROC of being wrong {head} against {entropy} of entropy" in " ".join(README.split())


def test_python_blocks_run(server: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("HOWSURE_URL", server.url)  # type: ignore[attr-defined]
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert "cat" in capsys.readouterr().out


@pytest.mark.parametrize("readme", ["README.md", "tests/benchmarks/README.md", "models/checkpoints/README.md"])
def test_every_path_it_names_is_there(readme: str) -> None:
    named = re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", (ROOT / readme).read_text(encoding="utf-8"))
    assert named
    assert [path for path in named if not ((ROOT / readme).parent / path).exists()] == []


def test_every_section_that_it_sends_readers_to_is_there() -> None:
    sections = re.findall(r"\]\(tests/benchmarks/README\.md#([\w-]+)\)", README)
    titles = re.findall(r"^## (.+)$", (ROOT / "tests/benchmarks/README.md").read_text(encoding="utf-8"), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(sections) == anchors
