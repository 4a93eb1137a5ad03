"""Norms of class gradients by automatic differentiation: one sample and one class at a time, every gradient built."""

import torch


def class_norms(network, forward, inputs, layer_of, *, copies=1, labels=None):
    """Squared L2 and L1 norms, each (labels, samples, layers), of grad log p_c summed over the copies of a sample.

    `layer_of` gives the layer for the id of each parameter that has one; the other parameters are left out.
    """
    parameters = [parameter for parameter in network.parameters() if id(parameter) in layer_of]
    network.requires_grad_(True)
    rows = [torch.log_softmax(forward(inputs[row : row + 1])[0], dim=0) for row in range(len(inputs))]
    labels = range(len(rows[0])) if labels is None else labels
    samples = len(rows) // copies
    squares = torch.zeros(len(labels), samples, 1 + max(layer_of.values()), dtype=rows[0].dtype)
    absolutes = torch.zeros_like(squares)
    for sample in range(samples):
        for place, label in enumerate(labels):
            likelihood = sum(row[label] for row in rows[sample * copies : (sample + 1) * copies])
            gradients = torch.autograd.grad(likelihood, parameters, retain_graph=True, allow_unused=True)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None:
                    squares[place, sample, layer_of[id(parameter)]] += gradient.square().sum()
                    absolutes[place, sample, layer_of[id(parameter)]] += gradient.abs().sum()
    network.requires_grad_(False)
    return squares, absolutes
