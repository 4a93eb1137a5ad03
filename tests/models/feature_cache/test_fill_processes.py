"""Filling by several processes, some of which are killed: the same bytes, and nothing made twice."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from models.feature_cache.fill import _claimed
from tests.fixtures.filling import CONTEXT, IMAGES, SlowFilling, fill_in_process


@pytest.fixture
def whole(tmp_path):
    """A cache that one process filled without a break."""
    return SlowFilling(tmp_path / "whole", tmp_path / "whole.log").run(threads=1)


def start(*fillings):
    processes = [CONTEXT.Process(target=fill_in_process, args=(filling,)) for filling in fillings]
    for process in processes:
        process.start()
    return processes


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_killed_filling_goes_on_with_the_shards_that_are_done(tmp_path, whole, bytes_of):
    filling = SlowFilling(tmp_path / "killed", tmp_path / "killed.log", seconds=0.002)
    (process,) = start(filling)
    cache = filling.cache()
    wait_until(lambda: any(cache.shards.glob("[0-9]*")) and len(filling.read()) > 150)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    kept = {path.name: path.stat().st_ino for path in cache.shards.glob("[0-9]*")}
    begun = list(cache.shards.glob(".*.tmp"))
    assert begun, "it was killed in the middle of a shard"
    assert 1 <= len(kept) < 5
    before = filling.read()
    again = SlowFilling(filling.root, filling.log).run()
    rest = filling.read()[len(before) :]
    assert len(rest) == sum(again.rows_of(start) for start in again.starts if f"{start:012}" not in kept)
    assert {path.name: path.stat().st_ino for path in cache.shards.iterdir() if path.name in kept} == kept
    assert bytes_of(again) == bytes_of(whole)


def test_two_processes_share_the_work(tmp_path, whole, bytes_of):
    filling = SlowFilling(tmp_path / "shared", tmp_path / "shared.log", seconds=0.001)
    processes = start(filling, filling)
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted(filling.read()) == sorted(f"{place}.jpg" for place in range(IMAGES)), "each row is made once"
    assert bytes_of(filling.cache()) == bytes_of(whole)


def test_one_waits_for_the_other_and_takes_over_when_it_dies(tmp_path, whole, bytes_of):
    slow = SlowFilling(tmp_path / "shared", tmp_path / "shared.log", seconds=0.05)
    dying = start(slow)[0]
    wait_until(lambda: len(slow.read()) >= 32)
    patient = start(SlowFilling(slow.root, slow.log))[0]
    wait_until(lambda: len(list(slow.cache().shards.glob("[0-9]*"))) == 3)
    assert patient.is_alive()
    os.kill(dying.pid, signal.SIGKILL)
    dying.join()
    patient.join(30)
    assert patient.exitcode == 0
    assert bytes_of(slow.cache()) == bytes_of(whole)


def test_those_who_wait_for_one_shard_have_it_one_after_the_other(tmp_path):
    inside = []

    def wait_for_it(_):
        for _ in range(1000):
            with _claimed(tmp_path / "shard", wait=True) as beside:
                inside.append(beside)
                assert len(inside) == 1
                inside.clear()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(wait_for_it, range(6)))
    assert not list(tmp_path.iterdir())
