"""Measures of calibration, accuracy, ranking and selection: pure functions on CPU tensors, computed in float64."""
