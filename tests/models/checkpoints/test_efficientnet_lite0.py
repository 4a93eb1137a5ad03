"""The shipped checkpoint is what its own recipe makes of the labelled images."""

import json

import pytest

from models.checkpoints.efficientnet_lite0 import build, plan
from models.checkpoints.shipped import FOLDER
from models.core.checkpoint import GOLDEN, MANIFEST, METHODS, read_version
from models.core.device import machine
from models.core.manifest import DataUse
from models.data.splits import fingerprint
from tests.fixtures.models import SHIPPED


@pytest.mark.data
def test_the_recipe_keeps_its_rows_apart(labelled_data):
    planned = plan(labelled_data)
    fit, report = set(planned.fit.names), set(planned.judge[0].names)
    assert (len(fit), len(report), len(fit & report)) == (250, 250, 0)
    assert len(planned.recipe.classes) == len(set(planned.recipe.classes)) == 1000
    shipped = read_version(FOLDER / SHIPPED).manifest
    used = [
        (rows.archive.name, rows.archive.sha256, rows.role, len(rows.names), fingerprint(rows.names))
        for rows in (planned.fit, *planned.judge)
    ]
    assert tuple(DataUse(*use) for use in used) == shipped.data
    assert planned.recipe.backbone == shipped.backbone


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_building_again_gives_what_ships(labelled_data, tmp_path):
    build(labelled_data, tmp_path)
    rebuilt, shipped = read_version(tmp_path), read_version(FOLDER / SHIPPED)
    if machine() == shipped.manifest.machine:
        for name in (METHODS, GOLDEN, MANIFEST):
            assert (tmp_path / name).read_bytes() == (FOLDER / SHIPPED / name).read_bytes()
        return
    for precision in shipped.manifest.precisions:
        assert shipped.golden.check(precision, rebuilt.golden.rows[precision]) <= 1
    assert rebuilt.tensors.keys() == shipped.tensors.keys()
    for mine, theirs in zip(*(v.manifest.report["evaluations"] for v in (rebuilt, shipped)), strict=True):
        assert mine["after"]["nll"]["value"] == pytest.approx(theirs["after"]["nll"]["value"], abs=0.02)


def test_the_shipped_files_name_no_path_and_no_time():
    text = (FOLDER / SHIPPED / MANIFEST).read_text()
    assert '"/' not in text
    manifest = json.loads(text)
    assert not [key for key in manifest if "time" in key or "date" in key]
