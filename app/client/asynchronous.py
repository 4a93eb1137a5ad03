"""The client for an event loop."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any, Self

import httpx

from app.client import calls, job_calls
from app.client.calls import Image, Prompt, read_images
from app.client.connection import Connection
from app.client.embed_replies import EmbedReply
from app.client.events import Following
from app.client.job_replies import Dataset, Job, JobEvent
from app.client.model_replies import Activation, ModelCard, Readiness, Registration, Versions
from app.client.prompt_replies import PromptsReply
from app.client.replies import ScoreReply
from app.client.retries import Answer, Call, Outcome, Pause, Request, retried
from app.client.upload import Data, open_upload

POLL_SECONDS = 0.5


class AsyncClient(Connection[httpx.AsyncClient, httpx.AsyncBaseTransport]):
    """`Client` for an event loop."""

    async def score(
        self,
        images: Iterable[Image],
        model: str | None = None,
        scores: Sequence[str] | None = None,
        top_k: int | None = None,
        exact_top: int | None = None,
        budget_ms: int | None = None,
        sort: str | None = None,
    ) -> ScoreReply:
        """Score images given as paths, bytes, or (name, bytes). A bad one has its error in its place.

        `sort` names the score by which the most uncertain come first, and what failed last.
        `scores=["epistemic:exact"]` asks for a form, `exact_top` for that form of the most doubtful images alone. What
        does not fit into `budget_ms` milliseconds comes in a cheaper form; each score's `form` says which it is.
        """
        files = await asyncio.to_thread(read_images, images)
        return await self._run(calls.score(files, model, scores, top_k, exact_top, budget_ms, sort))

    async def embed(
        self,
        images: Iterable[Image],
        model: str | None = None,
        scores: Sequence[str] | None = None,
        normalize: bool | None = None,
    ) -> EmbedReply:
        """Embeddings of images given as to `score`, each with uncertainty `scores`.

        Where none are named it is the one that says how far to trust the embedding. `normalize` scales each embedding
        to length 1, so that a dot product is the cosine.
        """
        files = await asyncio.to_thread(read_images, images)
        return await self._run(calls.embed(files, model, scores, normalize))

    async def score_prompts(
        self,
        prompts: Iterable[Prompt],
        prefix: str | None = None,
        model: str | None = None,
        scores: Sequence[str] | None = None,
        top_k: int | None = None,
        readout: str | None = None,
        sort: str | None = None,
        answers: Mapping[str, Any] | None = None,
        *,
        slice: bool | None = None,
    ) -> PromptsReply:
        """Say which of its choices follows each prompt, or answer one without. A bad one has its error in its place.

        A prompt is a text, (text, choices), or the fields that the route takes: `prompt`, `messages` or `question`,
        `choices`, `id`, `task`. `prefix` goes before each text. `readout` is where the choices are read, `sort` the
        score by which the most uncertain come first. `answers` has the route's options of free answers: `max_tokens`,
        `stop`, `samples`, `temperature`, `seed`. `slice` takes all prompts with choices together, for a version with a
        few-shot recalibrator: the reply's `slice`, and `slice_confidence` of its items.
        """
        return await self._run(
            calls.score_prompts(prompts, prefix, model, scores, top_k, readout, sort, slice, answers)
        )

    async def models(self) -> tuple[ModelCard, ...]:
        """Every model that has an active version."""
        return await self._run(calls.models())

    async def model(self, name: str) -> ModelCard:
        """What a model is and how well calibrated."""
        return await self._run(calls.model(name))

    async def versions(self, name: str) -> Versions:
        """Every version of a model, and which served when."""
        return await self._run(calls.versions(name))

    async def report(self, name: str, version: int) -> dict[str, Any]:
        """The whole evaluation report of a version."""
        return await self._run(calls.report(name, version))

    async def activate(self, name: str, version: int, reason: str = "") -> Activation:
        """Make a version the one that serves. Needs a key with the scope admin where the server has keys."""
        return await self._run(calls.activate(name, version, reason))

    async def register(
        self,
        model: str,
        kind: str,
        path: str | None = None,
        classes: Sequence[str] | None = None,
        network: Mapping[str, Any] | None = None,
        *,
        hub: str | None = None,
    ) -> Registration:
        """Take up a network: at `path` below the server's data root, or by its name on the hub, ORG/NAME.

        `network` says what a file of weights is of.
        """
        return await self._run(calls.register(model, kind, path, classes, network, hub))

    async def add_dataset(self, data: Data, name: str | None = None) -> Dataset:
        """Upload labelled data: a file, a folder (as a zip), or (file name, bytes). What is there already is found.

        Raises OSError for what cannot be read.
        """
        upload = await asyncio.to_thread(open_upload, data)
        with upload.file:
            return await self._run(job_calls.add_dataset(upload, name))

    async def add_server_data(self, path: str, name: str | None = None) -> Dataset:
        """Use data where it lies, below the data root of the server's settings."""
        return await self._run(job_calls.add_server_data(path, name))

    async def datasets(self) -> tuple[Dataset, ...]:
        """Every dataset, newest first."""
        return await self._run(job_calls.datasets())

    async def dataset(self, dataset: str) -> Dataset:
        """What is in a dataset, and what was left out."""
        return await self._run(job_calls.dataset(dataset))

    async def delete_dataset(self, dataset: str) -> None:
        """Delete a dataset that no unfinished job uses."""
        await self._run(job_calls.delete_dataset(dataset))

    async def submit(
        self,
        type: str,
        model: str,
        dataset: str,
        params: Mapping[str, Any] | None = None,
        priority: int | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Queue a job. The same `idempotency_key` again gives the same job; without one each call gives another."""
        return await self._run(job_calls.submit(type, model, dataset, params, priority, idempotency_key))

    async def jobs(self, model: str | None = None, state: str | None = None) -> tuple[Job, ...]:
        """Jobs, newest first: all, or those of a model or in a state."""
        return await self._run(job_calls.jobs(model, state))

    async def job(self, job: str) -> Job:
        """How far a job is, and what came of it."""
        return await self._run(job_calls.job(job))

    async def cancel(self, job: str) -> Job:
        """Cancel a job; one that runs is `cancelling` until its process has ended."""
        return await self._run(job_calls.cancel(job))

    async def log(self, job: str) -> str:
        """What the job has to tell a person, a line an event."""
        return await self._run(job_calls.log(job))

    async def watch(self, job: str) -> AsyncGenerator[JobEvent, None]:
        """Events from the job's first one on until it is over, however often the connection or the server is lost.

        A server that stays away for `retry_seconds` raises HowsureConnectionError.
        """
        following = Following(job, self.retry_seconds)
        while not following.over:
            try:
                async with self.http.stream(**self.arguments(following.request())) as response:
                    outcome: Outcome = response
                    if not following.begin(response):
                        await response.aread()
                    else:
                        async for line in response.aiter_lines():
                            if event := following.read(line):
                                yield event
            except httpx.RequestError as error:
                outcome = error
            await asyncio.sleep(following.end(outcome))

    async def wait(self, job: str, timeout: float | None = None) -> Job:
        """The job once it is over. Raises TimeoutError when it is not within `timeout` seconds; it goes on then."""
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while not (found := await self.job(job)).over:
            if (left := deadline - time.monotonic()) <= 0:
                raise TimeoutError(f"job {job} is {found.state} after {timeout:g} s: wait longer, or cancel it")
            await asyncio.sleep(min(POLL_SECONDS, left))
        return found

    async def ready(self) -> Readiness:
        """One look, without retries."""
        return await self._run(calls.ready(), retry_seconds=0)

    async def close(self) -> None:
        await self.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _open(self, **options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(**options)

    async def _run(self, call: Call[Answer], retry_seconds: float | None = None) -> Answer:
        steps = retried(call, self.retry_seconds if retry_seconds is None else retry_seconds)
        step = next(steps)
        try:
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = next(steps)
                else:
                    step = steps.send(await self._send(step))
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer

    async def _send(self, request: Request) -> Outcome:
        try:
            return await self.http.request(**self.arguments(request))
        except httpx.RequestError as error:
            return error
