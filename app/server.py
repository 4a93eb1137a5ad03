"""Runs the app under uvicorn with howsure's shutdown: not ready, finish what is in flight, exit 0."""

import signal
import socket
import threading
from types import FrameType

import uvicorn
from fastapi import FastAPI

from app.main import create_app
from app.settings import Settings

ANSWERS_END = 0.9  # of the drain time, after which uvicorn cuts connections without a word


class Server(uvicorn.Server):
    """Differs from uvicorn's in its answer to signals; `failure` is set when the server gave up by itself."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, settings: Settings) -> None:
        super().__init__(config)
        self.app = app
        self.unready_seconds = settings.unready_seconds
        self.answers_end = ANSWERS_END * settings.drain_seconds
        self.failure: str | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """First signal: report not ready at once, stop after `unready_seconds`. A second one stops now.

        uvicorn would re-raise the signal when it is done, and the process would not end with status 0.
        """
        if self.app.state.draining or self.unready_seconds == 0:
            self.force_exit = self.should_exit and sig == signal.SIGINT
            self._stop()
        else:
            timer = threading.Timer(self.unready_seconds, self._stop)
            timer.daemon = True  # a second signal must not have to wait for it
            timer.start()
        self.app.state.draining = True

    def give_up(self, reason: str) -> None:
        self.failure = reason
        self.should_exit = True

    def _stop(self) -> None:
        if not self.should_exit:
            self.app.state.generation.end_within(self.answers_end)
        self.should_exit = True


def build_server(settings: Settings) -> Server:
    app = create_app(settings, on_fatal=lambda reason: server.give_up(reason))
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
    )
    server = Server(config, app, settings)
    return server


def bind(settings: Settings) -> socket.socket:
    """A listening socket; port 0 gives a free one. Raises OSError when the address is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener
