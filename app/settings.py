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
    default_model: str | None = Field(None, description="answers requests that name no model; else the only one")

    shipped: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        None, description="comma-separated: which of the checkpoints that ship go into the store; all, if not set"
    )

    reload_seconds: float = Field(
        1.0, ge=0, le=3600, description="how often to look for a newly active version; 0: only when activated over HTTP"
    )

    # how the model runs
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    threads: int = Field(0, ge=0, description="cores that forward passes may use on a CPU; 0 is all")
    compiled: bool = Field(False, description="torch.compile the network: slow start, needs a C++ compiler")

    # batching and back-pressure
    max_batch: int = Field(8, ge=1, le=1024, description="8 fits a CPU's caches; raise it on a GPU")
    batch_tokens: int = Field(
        4096, ge=1, description="most tokens of prompts in a batch; one longer prompt is a batch of its own"
    )
    max_wait_ms: float = Field(20.0, ge=0, le=1000, description="longest wait for images that are still being decoded")
    queue_items: int = Field(128, ge=1, description="items admitted and not yet answered; more get 429")
    request_seconds: float = Field(30.0, gt=0)
    answer_seconds: float = Field(120.0, gt=0, description="for a generated answer, from its admission; then 504")
    answer_tokens: int = Field(1024, ge=1, description="longest generated answer where a request does not say")
    cached_tokens: int = Field(
        32_768,
        ge=16,
        description="keys and values that the answers of a model under way may come to, prompts among them; what finds"
        " no room waits",
    )
    exact_seconds: float = Field(
        10.0,
        ge=0,
        le=3600,
        description="time for scores in their best form, where the request sets none; 0: last_layer. Never more than"
        " 0.8 of request_seconds or drain_seconds",
    )
    drain_seconds: float = Field(35.0, ge=0, description="time for work in flight after SIGTERM")
    unready_seconds: float = Field(0.0, ge=0, description="serve on, but report not ready, this long after SIGTERM")

    # what a request may carry
    max_body_bytes: int = Field(32 * 2**20, ge=1024)
    max_image_bytes: int = Field(16 * 2**20, ge=1024)
    max_image_pixels: int = Field(50_000_000, ge=1, le=89_478_485, description="at most what Pillow takes")
    max_prompt_characters: int = Field(
        200_000, ge=1, description="of one prompt with its choices; the model's context is a limit of its own"
    )
    max_prompt_tokens: int = Field(16_384, ge=1, description="of one prompt with all of its choices")
    max_items: int = Field(64, ge=1)

    # labelled data
    datasets: Path = Field(
        default_factory=lambda data: data["store"].parent / "datasets", description="folder of uploaded data"
    )
    data_root: Path | None = Field(None, description="data below this folder may be registered by its path")
    hub: bool = Field(False, description="networks may be fetched from the Hugging Face hub by their name")
    max_dataset_bytes: int = Field(2 * 2**30, ge=1024, description="of one upload")
    max_dataset_rows: int = Field(2_000_000, ge=1)
    max_bad_share: float = Field(0.05, ge=0, le=1, description="data with a larger share of bad rows is refused")
    dataset_check_seconds: float = Field(600.0, gt=0, description="time to look at every row of an upload")

    feature_cache: Path = Field(
        default_factory=lambda data: data["store"].parent / "features",
        description="folder of what networks gave for the rows of data, which jobs share",
    )
    feature_cache_bytes: int = Field(
        20 * 2**30, ge=2**20, description="what was used longest ago is removed to stay below it"
    )

    # jobs
    jobs: Path = Field(
        default_factory=lambda data: data["store"].parent / "jobs", description="folder of what jobs work with"
    )
    jobs_database: str = Field(
        default_factory=lambda data: f"sqlite:///{(data['jobs'] / 'jobs.db').absolute()}",
        description="sqlite:/// for one machine, postgresql:// for workers on several",
    )
    worker: bool = Field(True, description="`howsure serve` runs a worker of its own")
    worker_jobs: int = Field(1, ge=1, le=64, description="jobs that one worker runs at once; of a model only ever one")
    worker_dead_seconds: float = Field(
        10.0, ge=1, le=3600, description="silence after which a worker's jobs go on elsewhere"
    )
    job_attempts: int = Field(3, ge=1, le=100, description="a job whose worker or process dies this often has failed")
    job_days: float = Field(30.0, gt=0, description="finished jobs are forgotten after so many days")

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

    @field_validator("shipped", mode="before")
    @classmethod
    def _parse_names(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator("jobs_database")
    @classmethod
    def _check_database(cls, value: str) -> str:
        if not value.startswith(("sqlite:////", "postgresql://")):
            raise ValueError("an address begins with sqlite://// (an absolute path follows) or with postgresql://")
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

    def for_workers(self) -> dict[str, str]:
        """The variables that a worker beside this server needs to find the same data, whatever set them here."""
        folders = ("store", "datasets", "data_root", "feature_cache", "jobs")
        names = (*folders, "feature_cache_bytes", "jobs_database", "device", "log_level")
        found = {name: getattr(self, name) for name in names}
        return {f"HOWSURE_{name.upper()}": str(value) for name, value in found.items() if value is not None}

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
