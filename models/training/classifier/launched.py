"""Training a classifier on several devices of this machine, by one process a device. Read `train_on_several` first."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from models.core.errors import DataError, RankError, UnsupportedError
from models.training.classifier.data_phase import batches_of
from models.training.classifier.rank_files import Recipe, read_result
from models.training.classifier.training import Told, TrainedClassifier

PROGRAM = ("-m", "models.training.classifier.rank")
ADDRESS = "127.0.0.1"
FEWEST_ROWS = 2  # of a batch on a device, for the batch norms


def train_on_several(count: int, recipe: Recipe, folder: Path, told: Told) -> TrainedClassifier:
    """Train as `train_classifier` does, on `count` devices of the recipe's type; see `sharing` for what that changes.

    `told` hears of every step of rank 0. Each rank draws its own random numbers, so another count gives other weights;
    a run that ended anyhow goes on from `folder`, and with the same count to equal weights. All processes have ended
    when this returns or raises, and end by themselves when this process is killed.

    Raises RankError with the reason where a rank cannot go on or has died, ValueError for fewer than two devices,
    UnsupportedError for more than there are, DataError for more than the rows of a batch allow.
    """
    _refuse(count, recipe)
    recipe.write(folder)
    with _Ranks(count, folder) as ranks:
        for report in ranks.reports():
            told(report["phase"], report["step"], report["steps"], report["point"])
    return read_result(folder)


def _refuse(count: int, recipe: Recipe) -> None:
    if count < 2:
        raise ValueError(f"count must be at least 2, got {count}: one device needs train_classifier only")
    if recipe.device_type == "cuda" and count > torch.cuda.device_count():
        raise UnsupportedError(f"{count} CUDA devices are asked for, {torch.cuda.device_count()} are visible")
    rows, noise = len(recipe.trained.labels), recipe.plan.noise_warmup
    least = rows // batches_of(rows, recipe.plan.batch)
    if noise is not None:
        least = min(least, noise.batch)
    if least // count < FEWEST_ROWS:
        raise DataError(
            f"a batch of {least} rows is too small for {count} devices, of which each needs {FEWEST_ROWS} for its batch"
            " norms: raise batch, or train on fewer devices"
        )


@dataclass(frozen=True, slots=True)
class _Ended:
    rank: int
    status: int


class _Ranks:
    def __init__(self, count: int, folder: Path) -> None:
        self._count, self._folder = count, folder
        self._heard: queue.Queue[Mapping[str, Any] | _Ended] = queue.Queue()
        self._processes: list[subprocess.Popen[str]] = []
        self._listeners: list[threading.Thread] = []

    def __enter__(self) -> Self:
        port = _free_port()
        try:
            for rank in range(self._count):
                self._start(rank, port)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def reports(self) -> Iterator[Mapping[str, Any]]:
        """Until all ranks have ended well. Raises RankError at the first that has not."""
        running = self._count
        while running:
            heard = self._heard.get()
            if not isinstance(heard, _Ended):
                if "error" in heard:
                    raise RankError(heard["error"])
                yield heard
            elif heard.status:
                raise RankError(f"rank {heard.rank} ended with {_told(heard.status)}{self._last_words(heard.rank)}")
            else:
                running -= 1

    def _start(self, rank: int, port: int) -> None:
        with self._log(rank).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *PROGRAM, str(self._folder)],
                env=_environment(rank, self._count, port),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._processes.append(process)
        listener = threading.Thread(target=self._listen, args=(rank, process), name=f"howsure-rank-{rank}", daemon=True)
        self._listeners.append(listener)
        listener.start()

    def _listen(self, rank: int, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                if line.endswith("\n"):  # else killed while it wrote
                    self._heard.put(json.loads(line))
        self._heard.put(_Ended(rank, process.wait()))

    def _end(self) -> None:
        for process in self._processes:
            process.kill()
        for process, listener in zip(self._processes, self._listeners, strict=True):
            listener.join()
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.close()

    def _log(self, rank: int) -> Path:
        return self._folder / f"rank-{rank}.log"

    def _last_words(self, rank: int) -> str:
        lines = self._log(rank).read_text(errors="replace").strip().splitlines()
        return f"; its last line was: {lines[-1][:500]}" if lines else ""


def _environment(rank: int, count: int, port: int) -> dict[str, str]:
    # Without what a user has set for other programs: it would change what accelerate does.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ACCELERATE_")}
    numbers = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": count,
        "LOCAL_WORLD_SIZE": count,
        "MASTER_PORT": port,
        "OMP_NUM_THREADS": max(1, torch.get_num_threads() // count),
    }
    # Warnings of torch's C++ side would stand in the log as a rank's last words.
    words = {"MASTER_ADDR": ADDRESS, "TORCH_CPP_LOG_LEVEL": "ERROR"}
    return kept | words | {name: str(number) for name, number in numbers.items()}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((ADDRESS, 0))
        port: int = free.getsockname()[1]
    return port


def _told(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
