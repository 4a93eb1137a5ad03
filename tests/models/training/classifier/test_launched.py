"""The launcher of several ranks: what a rank says, how its death is told, and that none is left behind."""

from dataclasses import replace

import pytest

from models.core.errors import DataError, RankError, UnsupportedError
from models.training.classifier import launched
from models.training.classifier.launched import train_on_several
from models.training.classifier.plan import NoiseWarmUp
from tests.models.training.classifier.several import ranks_in, recipe
from tests.models.training.classifier.small_trainings import PLAN, Heard, Killed

# A rank that does as a test says: environment, pipes and signals as of the real one, but quick.
SCRIPT = """
import json, os, signal, sys, time
rank = int(os.environ["RANK"])
def say(**message):
    sys.stdout.write(json.dumps(message) + chr(10))
    sys.stdout.flush()
"""


@pytest.fixture
def scripted(monkeypatch):
    def scripted(lines):
        monkeypatch.setattr(launched, "PROGRAM", ("-S", "-c", SCRIPT + lines))

    return scripted


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "rank 1 ended with signal SIGKILL"),
        (
            "print('no memory', file=sys.stderr); sys.exit(3)",
            "rank 1 ended with status 3; its last line was: no memory",
        ),
        # Killed in the middle of a line: neither a report nor a fault of howsure.
        ('sys.stdout.write(\'{"phase": "da\'); sys.stdout.flush(); os._exit(9)', "rank 1 ended with status 9"),
        ("say(error='row 3 is bad'); time.sleep(60)", "row 3 is bad"),
    ],
)
def test_a_rank_that_cannot_go_on_ends_all_with_its_reason(scripted, tmp_path, lines, reason):
    scripted(f"if rank == 0: time.sleep(60)\n{lines}")
    with pytest.raises(RankError) as raised:
        train_on_several(2, recipe(tmp_path), tmp_path, Heard())
    assert str(raised.value) == reason
    assert not ranks_in(tmp_path)


def test_an_error_from_told_ends_all(scripted, tmp_path):
    scripted("say(phase='data', step=rank + 1, steps=4, point=None); time.sleep(60)")
    heard = Heard(limit=2)  # the one of rank 1
    with pytest.raises(Killed):
        train_on_several(2, recipe(tmp_path), tmp_path, heard)
    assert heard.calls[-1] == ("data", 2, 4, None)
    assert not ranks_in(tmp_path)


def test_a_log_of_an_earlier_run_has_no_last_words(scripted, tmp_path):
    for lines, reason in (("print('full', file=sys.stderr); sys.exit(3)", "was: full"), ("sys.exit(3)", "status 3")):
        scripted(lines)
        with pytest.raises(RankError, match=f"{reason}$"):
            train_on_several(2, recipe(tmp_path), tmp_path, Heard())


def test_settings_of_a_user_for_accelerate_do_not_reach_a_rank(scripted, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    scripted("say(error=str([name for name in os.environ if name.startswith('ACCELERATE')]))")
    with pytest.raises(RankError, match=r"^\[\]$"):
        train_on_several(2, recipe(tmp_path), tmp_path, Heard())


@pytest.mark.parametrize(
    ("count", "changes", "error", "reason"),
    [
        (1, {}, ValueError, "at least 2, got 1"),
        (2, {"device_type": "cuda"}, UnsupportedError, "2 CUDA devices are asked for"),
        (3, {"plan": replace(PLAN, batch=5)}, DataError, "a batch of 5 rows is too small for 3 devices"),
        (8, {}, DataError, "a batch of 15 rows is too small for 8 devices"),
        (2, {"plan": replace(PLAN, noise_warmup=NoiseWarmUp(batch=3))}, DataError, "a batch of 3 rows is too small"),
    ],
)
def test_too_many_or_too_few_devices_are_refused_before_any_starts(
    tmp_path, monkeypatch, count, changes, error, reason
):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(error, match=reason):
        train_on_several(count, replace(recipe(tmp_path), **changes), tmp_path / "training", Heard())
    assert not (tmp_path / "training").exists()
