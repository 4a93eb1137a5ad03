"""What a recording sees of a network, and what the network and other threads see of a recording."""

import gc
import threading
import weakref
from dataclasses import replace

import pytest
import torch
from torch import nn

from models.core.errors import UnsupportedError
from models.gradients.class_gradients import ClassGradients
from models.gradients.layer_kind import Batch
from models.gradients.layers import find_layers
from tests.models.gradients.architectures import SUBJECTS
from tests.models.gradients.measured import every_class, prepared


def norms(gradients, inputs):
    return gradients.norms(inputs, Batch(len(inputs)), every_class)[1]


@pytest.mark.parametrize("name", ["convolutions", "vit_of_timm", "gpt2"])
def test_an_input_gets_the_same_norms_alone_and_in_any_batch(name):
    subject = SUBJECTS[name]()
    gradients = prepared(subject)
    together = norms(gradients, subject.inputs)
    alone = torch.cat([norms(gradients, row) for row in subject.inputs.split(1)], dim=1)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-7)


def test_threads_that_share_a_network_do_not_see_each_other():
    """One records whole batches, one records single rows, and one runs the network as it is, all at once."""
    subject = SUBJECTS["vit_of_timm"]()
    network, inputs = subject.network, subject.inputs
    gradients = prepared(subject)
    tasks = (
        lambda: norms(gradients, inputs),
        lambda: norms(gradients, inputs[:1]),
        lambda: network(inputs[:2]),
    )
    expected = [task() for task in tasks]
    start, failures = threading.Barrier(len(tasks)), []

    def repeat(task, result):
        start.wait()
        try:
            for _ in range(15):
                torch.testing.assert_close(task(), result)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=repeat, args=pair) for pair in zip(tasks, expected, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_two_sets_of_gradients_of_one_network_do_not_count_each_other():
    subject = SUBJECTS["mlp"]()
    first = prepared(subject)
    alone = norms(first, subject.inputs)
    second = ClassGradients(subject.network, first.layers, subject.network, depth=2)
    torch.testing.assert_close(norms(first, subject.inputs), alone, rtol=0, atol=0)
    torch.testing.assert_close(norms(second, subject.inputs), alone[..., -2:])


class WritesIntoItsInput(nn.Module):
    """Adds its residual to what the layer has read, and not to what it gave."""

    def __init__(self, inner):
        super().__init__()
        self.before, self.inner, self.head = nn.Linear(4, 4), inner, nn.Linear(4, 3)

    def forward(self, inputs):
        state = self.before(inputs)
        change = self.inner(state)
        state += change
        return self.head(state)


@pytest.mark.parametrize("inner", [nn.Linear(4, 4), nn.Sequential(nn.Identity(), nn.Linear(4, 4))])
def test_inputs_that_are_written_into_are_refused(inner):
    torch.manual_seed(0)
    network = WritesIntoItsInput(inner).eval()
    inputs = torch.randn(2, 4)
    gradients = ClassGradients(network, find_layers(network, lambda: network(inputs)), network)
    with pytest.raises(UnsupportedError, match="in place after the layer read them"):
        norms(gradients, inputs)


def test_a_refused_recording_leaves_the_network_usable():
    subject = SUBJECTS["mlp"]()
    gradients = prepared(subject)
    with pytest.raises(UnsupportedError, match="0 reads 4 rows for 3 inputs"):
        gradients.norms(subject.inputs, Batch(3), every_class)
    assert norms(gradients, subject.inputs).min() >= 0
    assert not subject.network(subject.inputs).requires_grad


def test_bfloat16_is_near_float32():
    subject = SUBJECTS["convolutions"]()
    exact = norms(prepared(subject), subject.inputs)
    subject.network.bfloat16()
    rough = norms(prepared(replace(subject, inputs=subject.inputs.bfloat16())), subject.inputs.bfloat16())
    assert rough.dtype == torch.float32
    assert float(((rough - exact).abs().sum(dim=(0, 1)) / exact.sum(dim=(0, 1))).max()) < 0.1


@pytest.mark.parametrize("name", ["vit_of_timm", "residual"])
def test_nothing_is_left_of_a_recording(name):
    subject = SUBJECTS[name]()
    recorder = prepared(subject)._recorder
    with recorder.record(Batch(len(subject.inputs))) as recording:
        subject.forward(subject.inputs)
    left = weakref.ref(recording.starts[0])
    del recording
    gc.collect()
    assert left() is None
