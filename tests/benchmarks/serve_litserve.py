"""LitServe with its documented batching: decode_request → batch → predict → unbatch → encode_response.

With one worker, torch spreads each batch over all cores. LitServe's own advice for a CPU is a worker a core: then each
gets its share of the cores, and LitServe starts as many HTTP processes.
"""

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import litserve
import numpy as np
import torch
from fastapi import Request

from models.core.image import read_image
from tests.benchmarks.plain import PlainModel, howsure_network

BATCH, WAIT_SECONDS = 16, 0.005


class PlainApi(litserve.LitAPI):
    """The network as an engineer would serve it; LitServe decodes the requests of a batch one after another."""

    precision, channels_last = "float32", False

    def setup(self, device: str) -> None:
        self.model = PlainModel(self.precision, self.channels_last)

    def decode_request(self, request: Request) -> torch.Tensor:
        return self.model.decode(_content(request))

    def batch(self, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        return inputs

    def predict(self, batch: list[torch.Tensor]) -> list[dict[str, Any]]:
        return self.model.predict(batch)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


class TunedApi(PlainApi):
    precision, channels_last = "bfloat16", True


class HowsureApi(litserve.LitAPI):
    """howsure's reduced decoding, in threads, and its folded network: what is left to compare is the serving."""

    def setup(self, device: str) -> None:
        self.network = howsure_network()
        self.names = PlainModel().classes
        self.decoders = ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    def decode_request(self, request: Request) -> bytes:
        return _content(request)

    def batch(self, inputs: list[bytes]) -> np.ndarray:
        spec = self.network.input_spec
        pixels = self.decoders.map(lambda content: spec.pixels(read_image(content, spec)), inputs)
        return np.stack(list(pixels))

    @torch.inference_mode()
    def predict(self, batch: np.ndarray) -> list[dict[str, Any]]:
        top = self.network.outputs(batch).logits.softmax(dim=1).topk(5)
        rows = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        return [{"label": self.names[indices[0]], "confidence": values[0], "top": values} for indices, values in rows]


APIS = {"plain": PlainApi, "tuned": TunedApi, "howsure": HowsureApi}


def _content(request: Any) -> bytes:
    """LitServe hands over the form; an upload has travelled from the HTTP process to the worker."""
    content: bytes = request["files"].file.read()
    return content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--api", choices=APIS, default="plain")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--fast-queue", action="store_true", help="LitServe's ZeroMQ transport")
    given = parser.parse_args()
    # The workers are spawned: they read how many threads they may have from the environment.
    os.environ["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // given.workers))
    api = APIS[given.api](max_batch_size=BATCH, batch_timeout=WAIT_SECONDS)
    server = litserve.LitServer(
        api, accelerator="cpu", devices=1, workers_per_device=given.workers, fast_queue=given.fast_queue
    )
    server.run(host="127.0.0.1", port=given.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
