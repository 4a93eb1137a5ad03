"""A version out of archives: every part's rows are looked at once in each precision, and told while it goes on."""

from dataclasses import replace

import pytest
import torch

from models.core.errors import UnknownNameError
from models.data.splits import fingerprint
from models.training.from_archives import Rows, build_version


@pytest.fixture
def plan(tiny):
    """One precision, 30 rows to fit and 20 to report on, and 10 of another kind."""
    recipe = replace(tiny.plan.recipe, precisions=("float32",), calibrator="temperature", compared=())
    (judged,) = tiny.plan.judge
    archive = judged.archive
    return replace(
        tiny.plan,
        recipe=recipe,
        fit=replace(tiny.plan.fit, names=tiny.plan.fit.names[:30]),
        judge=(
            Rows(archive, judged.names[:20], "report", "held out"),
            Rows(archive, judged.names[20:30], "shift", "other"),
        ),
    )


def test_each_part_is_reported_in_its_role(plan, tiny):
    manifest = build_version(plan, tiny.network).manifest
    parts = (plan.fit, *plan.judge)
    assert [(use.role, use.rows, use.fingerprint) for use in manifest.data] == [
        (rows.role, len(rows.names), fingerprint(rows.names)) for rows in parts
    ]
    shown = [(row["role"], row["rows"], row["note"]) for row in manifest.report["evaluations"]]
    assert shown == [("report", 20, "held out"), ("shift", 10, "other"), ("fit", 30, "fitted on")]
    assert all("active" not in row for row in manifest.report["evaluations"]), "there is no serving version yet"


def test_progress_tells_every_part(plan, tiny):
    told = []
    build_version(plan, tiny.network, told.append)
    assert told == [
        "float32: preparing the network",
        "float32: 20 report rows of digits",
        "float32: 10 shift rows of digits",
        "float32: 30 fit rows of digits",
    ]


def test_the_network_stays_as_it_is(plan, tiny):
    before = {name: value.clone() for name, value in tiny.network.state_dict().items()}
    build_version(plan, tiny.network)
    assert all(torch.equal(value, before[name]) for name, value in tiny.network.state_dict().items())
    assert {value.dtype for value in tiny.network.parameters()} == {torch.float32}


def test_an_unknown_calibrator_is_refused(plan, tiny):
    with pytest.raises(UnknownNameError, match="hope"):
        build_version(replace(plan, recipe=replace(plan.recipe, calibrator="hope")), tiny.network)
