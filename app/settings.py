"""Settings from `HOWSURE_*` variables, checked once at start; every limit has a safe default."""

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.keys import ApiKey


def default_store() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "howsure" / "store"


class Settings(BaseSettings):
    """One field a variable: `HOWSURE_PORT` sets `port`."""

    model_config = SettingsConfigDict(env_prefix="HOWSURE_", frozen=True, extra="forbid", hide_input_in_errors=True)

    # where
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    store: Path = Field(default_factory=default_store, description="folder of the checkpoint store")
    default_model: str | None = Field(None, description="answers requests that name no model")

    # how the model runs
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    threads: int = Field(0, ge=0, description="cores that forward passes may use on a CPU; 0 is all")
    compiled: bool = Field(False, description="torch.compile the network: slow start, needs a C++ compiler")

    # batching and back-pressure
    max_batch: int = Field(8, ge=1, le=1024, description="8 fits a CPU's caches; raise it on a GPU")
    max_wait_ms: float = Field(20.0, ge=0, le=1000, description="longest wait for images that are still being decoded")
    queue_items: int = Field(128, ge=1, description="items admitted and not yet answered; more get 429")
    request_seconds: float = Field(30.0, gt=0)
    drain_seconds: float = Field(35.0, ge=0, description="time for work in flight after SIGTERM")
    unready_seconds: float = Field(0.0, ge=0, description="serve on, but report not ready, this long after SIGTERM")

    # what a request may carry
    max_body_bytes: int = Field(32 * 2**20, ge=1024)
    max_image_bytes: int = Field(16 * 2**20, ge=1024)
    max_image_pixels: int = Field(50_000_000, ge=1, le=89_478_485, description="at most what Pillow takes")
    max_items: int = Field(64, ge=1)

    # who may ask
    api_keys: Annotated[tuple[ApiKey, ...], NoDecode] = Field(
        (), description="comma-separated name:scope+scope:sha256, as `howsure keys new` prints them"
    )
    allow_open: bool = Field(False, description="bind beyond loopback although no key is set")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("api_keys", mode="before")
    @classmethod
    def _parse_keys(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(ApiKey.parse(entry) for entry in value.split(",") if entry.strip())
        return value

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        if self.queue_items < self.max_items:
            raise ValueError(
                f"queue_items ({self.queue_items}) must be at least max_items ({self.max_items}),"
                " or a full request could never be admitted"
            )
        if not (self.api_keys or self.allow_open or _is_loopback(self.host)):
            raise ValueError(
                f"refusing to bind {self.host} without API keys: set HOWSURE_API_KEYS (`howsure keys new NAME` makes"
                " one), bind 127.0.0.1, or set HOWSURE_ALLOW_OPEN=true"
            )
        return self

    @property
    def cores(self) -> int:
        """Threads for a forward pass: as set, else the cores this process may use."""
        if self.threads:
            return self.threads
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
