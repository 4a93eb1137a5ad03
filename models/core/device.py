"""Which device and precision to serve on, and how many cores."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from models.core.errors import UnsupportedError

PRECISIONS: dict[str, torch.dtype] = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def choose_device(name: str = "auto") -> torch.device:
    """`auto` is CUDA when present, else the CPU. Raises UnsupportedError for a device that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UnsupportedError(f"{name!r} is not a device; use auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UnsupportedError(f"{name!r} asked for, but {torch.cuda.device_count()} CUDA devices are visible")
    return device


def device_count(device: torch.device) -> int:
    """Devices of this one's kind that a training may use: all CUDA devices, or one CPU."""
    return torch.cuda.device_count() if device.type == "cuda" and device.index is None else 1


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware (AMX or AVX512-BF16 on a CPU, Ampere or newer on CUDA)."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def choose_precision(device: torch.device, fitted: tuple[str, ...], name: str = "auto") -> str:
    """The precision to serve in, out of those the checkpoint was fitted in.

    Calibration holds for the precision it was fitted in, so another one is refused with UnsupportedError.
    """
    if name == "auto":
        preferred = ("bfloat16", "float32") if fast_bfloat16(device) else ("float32", "bfloat16")
        name = next((precision for precision in preferred if precision in fitted), name)
    if name not in fitted:
        raise UnsupportedError(f"precision {name!r} was not fitted for this checkpoint; fitted: {', '.join(fitted)}")
    return name


def model_threads(name: str, cores: int) -> int:
    """How many forward passes run at once on the device of this name: one on CUDA, one a core on a CPU."""
    return 1 if choose_device(name).type == "cuda" else cores


def use_cores(count: int) -> None:
    """Let CPU operators of the calling thread spread over so many cores."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """As `use_cores`, and back afterwards."""
    before = torch.get_num_threads()
    use_cores(count)
    try:
        yield
    finally:
        use_cores(before)


def machine() -> str:
    """Processor architecture, vector unit and torch release: what floating-point results depend on."""
    capabilities = torch.cpu.get_capabilities()
    unit = "amx" if capabilities.get("amx_bf16") else torch.backends.cpu.get_cpu_capability().lower()
    bfloat16 = "bfloat16" if fast_bfloat16(torch.device("cpu")) else "no bfloat16"
    return f"{platform.machine()} {unit}, {bfloat16}, torch {torch.__version__.split('+')[0]}"
