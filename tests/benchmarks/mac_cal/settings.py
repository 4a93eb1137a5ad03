"""What is varied of MaC-Cal, and its fitted layers without the guard or under masks."""

from dataclasses import replace

import torch

from models.calibration.mac_cal import MacCal
from models.calibration.masked_training import MacCalOptions, draw_masks
from models.core.method import Dimensions, State
from models.core.outputs import ModelOutputs

DEFAULT = MacCalOptions()
NO_MASKS = replace(DEFAULT, first_q=1.0, lowest_q=1.0)
MASKED_INFERENCE = (0.9, 0.5)


def settings(features: int) -> dict[str, MacCalOptions]:
    """One thing at a time; the default's width is d/4."""
    return {
        "default": DEFAULT,
        "reading: multiplicative": replace(DEFAULT, reading="multiplicative"),
        "reading: discounted": replace(DEFAULT, reading="discounted"),
        **{f"first q: {q:g}": replace(DEFAULT, first_q=q) for q in (0.5, 0.7, 1.0)},
        "rescale: off": replace(DEFAULT, rescale=False),
        **{f"width: d/{part}": replace(DEFAULT, width=features // part) for part in (8, 2)},
        "gap: train": replace(DEFAULT, gap="train"),
        "trained without masks": NO_MASKS,
    }


def dimensions(outputs: ModelOutputs) -> Dimensions:
    return Dimensions(outputs.logits.shape[1], outputs.require_features().shape[1])


def unguarded(method: MacCal, state: State) -> MacCal:
    return MacCal(method.dimensions).load_state({**state, "own_head": torch.zeros(())})


def with_masks(method: MacCal, q: float, seed: int) -> MacCal:
    """The same layers under one draw of masks, retained weights divided by q."""
    state = method.state()
    masks = draw_masks(state, q, torch.Generator().manual_seed(seed))
    return unguarded(method, {**state, **{name: state[name] * mask / q for name, mask in masks.items()}})
