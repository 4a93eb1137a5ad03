"""Every norm of every layer, class and sample equals the one of a gradient that was built, whatever the network."""

from dataclasses import replace

import pytest
import torch

from tests.models.gradients.architectures import SUBJECTS
from tests.models.gradients.measured import expected, found, prepared


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
@pytest.mark.parametrize("name", SUBJECTS)
def test_norms_equal_those_of_gradients_that_were_built(name, dtype, tolerance):
    torch.manual_seed(1)
    subject = SUBJECTS[name]()
    subject.network.to(dtype)
    inputs = subject.inputs.to(dtype) if subject.inputs.is_floating_point() else subject.inputs
    subject = replace(subject, inputs=inputs)
    layers = prepared(subject).layers
    for copies in (1, 2):
        for ours, built in zip(found(subject, copies), expected(subject, layers, copies), strict=True):
            assert built.min() >= 0
            scale = built.amax(dim=(0, 1))
            torch.testing.assert_close(ours, built, rtol=tolerance, atol=float(scale.min()) * tolerance)
