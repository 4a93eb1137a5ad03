"""Where the time of a request goes: `python -m tests.benchmarks.batching`.

First every stage alone, in one process, on one core as a model thread does under load; then a real `howsure serve`
under load, by its own `Server-Timing` header and metrics.
"""

import argparse
import json
import re
import subprocess
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from app.api.schemas import ScoreResponse
from app.scoring.predictor import Work
from models.core.image import read_image
from tests.benchmarks.contenders import MODULE, SERVERS
from tests.benchmarks.picture import photograph, write_photograph
from tests.benchmarks.processes import Running, running
from tests.benchmarks.scores import interleaved, pixels, shipped_predictor

HOWSURE = SERVERS[-1]
PATH = "/v1/images/score"
SAMPLE = re.compile(r"^(howsure_(?:stage_duration_seconds|batch_size)_(?:sum|count)\S*) (\S+)$", re.MULTILINE)


def alone(batch: int, repeats: int) -> Table:
    """Each stage by itself; nothing else runs."""
    predictor = shipped_predictor()
    torch.set_num_threads(1)  # after loading, which sets them too
    pipeline, images, content = predictor.pipeline, pixels(predictor, batch), photograph()
    spec, scores = pipeline.network.input_spec, tuple(pipeline.scores)
    work = [Work(predictor, image, scores, 5) for image in images]
    calls: dict[str, Callable[[], Any]] = {
        "decode": lambda: [spec.pixels(read_image(content, spec)) for _ in range(batch)],
        "to tensor": lambda: spec.tensor(
            images, pipeline.network.device, next(pipeline.network.trunk.parameters()).dtype
        ),
        "forward pass (with to tensor)": lambda: pipeline.network.outputs(images),
        "… + calibration and scores": lambda: pipeline.answer(images, scores, 5),
        "… + rows": lambda: predictor.predict(work, cores=torch.get_num_threads()),
    }
    table = Table("stage", "ms an image", title=f"stages alone, batch of {batch}")
    for name, seconds in interleaved(calls, repeats).items():
        table.add_row(name, f"{1000 * median(seconds) / batch:.3f}")
    return table


def under_load(clients: int, seconds: float) -> Table:
    """The server's own figures while `clients` clients ask, of which this process is one."""
    table = Table("", "", title=f"howsure serve under {clients} clients")
    with tempfile.TemporaryDirectory(prefix="howsure-bench-") as name, running(HOWSURE, Path(name)) as server:
        picture = write_photograph(Path(name))
        command = [*MODULE, "tests.benchmarks.load", "--url", server.url + PATH, "--file", str(picture), "--multipart"]
        command += ["--clients", str(clients - 1), "--seconds", str(seconds), "--warmup", "1"]
        load = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        _samples(server, picture.read_bytes(), 1)
        before = _metrics(server)
        timings, reply = _samples(server, picture.read_bytes(), seconds)
        after = _metrics(server)
        figures = json.loads(load.communicate()[0])
    difference = {name: after[name] - before.get(name, 0.0) for name in after}
    table.add_row(
        "the other clients: requests/s, p50, p99 ms",
        f"{figures['requests_per_second']}, {figures['p50_ms']}, {figures['p99_ms']}",
    )
    for name, mean in _means(difference).items():
        table.add_row(f"mean {name}", f"{mean:.2f}")
    for stage, values in timings.items():
        table.add_row(f"Server-Timing {stage}, median ms", f"{median(values):.2f}")
    table.add_row("building the JSON, ms", f"{_json_milliseconds(reply):.3f}")
    return table


def _samples(server: Running, content: bytes, seconds: float) -> tuple[dict[str, list[float]], bytes]:
    timings: dict[str, list[float]] = defaultdict(list)
    reply, deadline = b"", time.monotonic() + 0.8 * seconds
    while time.monotonic() < deadline:
        request = urllib.request.Request(server.url + PATH, content, {"Content-Type": "image/jpeg"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            reply = answer.read()
            for part in answer.headers["Server-Timing"].split(", "):
                stage, _, duration = part.partition(";dur=")
                timings[stage].append(float(duration))
    return timings, reply


def _metrics(server: Running) -> dict[str, float]:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=30) as answer:
        return {name: float(value) for name, value in SAMPLE.findall(answer.read().decode())}


def _means(difference: dict[str, float]) -> dict[str, float]:
    """`…_sum` over `…_count`; seconds become milliseconds."""
    means = {}
    for name, total in difference.items():
        count = difference.get(name.replace("_sum", "_count"), 0.0)
        if "_sum" in name and count:
            unit = 1000 if "seconds" in name else 1
            means[name.replace("_sum", "").replace("_seconds", "_ms")] = unit * total / count
    return means


def _json_milliseconds(reply: bytes, repeats: int = 200) -> float:
    response = ScoreResponse.model_validate_json(reply)
    started = time.perf_counter()
    for _ in range(repeats):
        response.model_dump_json(exclude_none=True)
    return 1000 * (time.perf_counter() - started) / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--repeats", type=int, default=30)
    given = parser.parse_args()
    for clients in given.clients:
        Console().print(alone(clients, given.repeats))
        Console().print(under_load(clients, given.seconds))


if __name__ == "__main__":
    main()
