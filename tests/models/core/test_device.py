import pytest
import torch

from models.core.device import PRECISIONS, choose_device, choose_precision, fast_bfloat16
from models.core.errors import UnsupportedError

CPU = torch.device("cpu")
BOTH = ("bfloat16", "float32")


def test_auto_is_the_best_device_there_is():
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize("name", ["tpu-v9", "", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(UnsupportedError, match="device"):
        choose_device(name)


@pytest.mark.parametrize(
    ("fast", "fitted", "expected"),
    [
        (True, BOTH, "bfloat16"),
        (False, BOTH, "float32"),
        (True, ("float32",), "float32"),
        (False, ("bfloat16",), "bfloat16"),
    ],
)
def test_auto_takes_the_fastest_precision_that_was_fitted(monkeypatch, fast, fitted, expected):
    monkeypatch.setattr("models.core.device.fast_bfloat16", lambda device: fast)
    assert choose_precision(CPU, fitted) == expected


@pytest.mark.parametrize(("fitted", "name"), [(("float32",), "bfloat16"), (BOTH, "float16"), ((), "auto")])
def test_a_precision_that_was_not_fitted_is_refused(fitted, name):
    with pytest.raises(UnsupportedError, match="fitted"):
        choose_precision(CPU, fitted, name)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"amx_bf16": True}, True), ({"avx512_bf16": True}, True), ({"avx512_f": True}, False), ({}, False)],
)
def test_fast_bfloat16_asks_the_processor(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert fast_bfloat16(CPU) is expected


def test_every_precision_has_a_type():
    assert set(PRECISIONS) == set(BOTH)
