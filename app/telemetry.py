"""JSON logs, Prometheus metrics, and the middleware that gives each request its id, timings and log line."""

import json
import logging
import re
import sys
import time
import uuid
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("howsure.requests")

request_id_now: ContextVar[str | None] = ContextVar("request_id", default=None)
RECORD_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, event, request id, the record's extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id_now.get(),
        }
        fields |= {name: value for name, value in record.__dict__.items() if name not in RECORD_FIELDS}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps({name: value for name, value in fields.items() if value is not None}, default=str)


def configure_logging(level: str) -> None:
    """Send every logger of the process to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in ("httpx", "httpcore", "urllib3", "filelock", "dbos"):
        logging.getLogger(name).setLevel(logging.WARNING)


class Metrics:
    """The counters of one server, in a registry of their own so that a process can hold several servers."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("howsure_requests_total", "Requests", ["route", "method", "status"], registry=registry)
        self.duration = Histogram(
            "howsure_request_duration_seconds", "Request time", ["route"], buckets=SECONDS, registry=registry
        )
        self.items = Counter("howsure_items_total", "Items by outcome", ["model", "outcome"], registry=registry)
        self.queue = Gauge("howsure_queue_items", "Items admitted and not yet answered", registry=registry)
        self.jobs = Gauge("howsure_jobs", "Jobs by state; absent while their database is", ["state"], registry=registry)
        self.forms = Counter(
            "howsure_score_forms_total", "Scores of items by form", ["model", "score", "form"], registry=registry
        )
        self.exact = Counter(
            "howsure_exact_requests_total",
            "Requests that had items for stage two, by what became of them",
            ["model", "outcome"],
            registry=registry,
        )
        self.exact_lane = Gauge(
            "howsure_exact_lane_requests", "Requests waiting for stage two or in it", registry=registry
        )
        self.rejected = Counter("howsure_rejected_total", "Requests refused with 429", registry=registry)
        self.batch = Histogram("howsure_batch_size", "Items a forward pass", buckets=SIZES, registry=registry)
        self.stage = Histogram(
            "howsure_stage_duration_seconds", "Time by stage", ["stage"], buckets=SECONDS, registry=registry
        )
        self.confidence = Histogram(
            "howsure_confidence",
            "Calibrated confidence of predictions",
            ["model"],
            buckets=[tenth / 10 for tenth in range(1, 11)],
            registry=registry,
        )
        self.model = Gauge("howsure_model_info", "1 for a loaded version", ["model", "version"], registry=registry)
        self.ece = Gauge(
            "howsure_calibration_ece",
            "ECE of the loaded version in the served precision, by evaluation data",
            ["model", "version", "data", "role"],
            registry=registry,
        )
        self.swaps = Counter(
            "howsure_swaps_total",
            "Versions taken up while serving, or refused",
            ["model", "outcome"],
            registry=registry,
        )
        self.swap_duration = Histogram(
            "howsure_swap_duration_seconds",
            "Time from noticing a newly active version to serving it",
            ["network"],
            buckets=SECONDS,
            registry=registry,
        )


class RequestTelemetry:
    """ASGI middleware: request id in and out, `Server-Timing` out, one log line and one count a request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        scope["request_id"] = request_id = _request_id(scope)
        timings: dict[str, float] = scope.setdefault("timings", {})
        token = request_id_now.set(request_id)
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                timings["total"] = time.perf_counter() - started
                timing = ", ".join(f"{name};dur={seconds * 1000:.2f}" for name, seconds in timings.items())
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                    (b"server-timing", timing.encode()),
                ]
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            self._record(scope, status, time.perf_counter() - started, timings)
            request_id_now.reset(token)

    def _record(self, scope: Scope, status: int, seconds: float, timings: dict[str, float]) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        self.metrics.requests.labels(route, scope["method"], status).inc()
        if status == 429:
            self.metrics.rejected.inc()
        self.metrics.duration.labels(route).observe(seconds)
        stages = {name: round(value * 1000, 2) for name, value in timings.items()}
        fields: dict[str, Any] = {"event": "request", "method": scope["method"], "route": route, "status": status}
        log.info("request", extra=fields | {"milliseconds": round(seconds * 1000, 2), "stages": stages})


def _request_id(scope: Scope) -> str:
    given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return given if re.fullmatch(r"[\w.:/+=-]{1,128}", given, re.ASCII) else uuid.uuid4().hex
