"""The registry of calibrators. Adding one is one file and one line here."""

from models.calibration.temperature import Temperature
from models.calibration.vector import Vector
from models.core.errors import UnknownNameError
from models.core.method import Calibrator

__all__ = ["CALIBRATORS", "calibrator"]

CALIBRATORS: dict[str, type[Calibrator]] = {
    "temperature": Temperature,
    "vector": Vector,
}


def calibrator(name: str) -> type[Calibrator]:
    """Raises UnknownNameError."""
    if name not in CALIBRATORS:
        raise UnknownNameError("calibrator", name, CALIBRATORS)
    return CALIBRATORS[name]
