"""The model side of howsure: networks, calibration, uncertainty, metrics and the checkpoint format. Knows no HTTP."""
