"""The registry of calibrators, the simplest first. Adding one is one file and one line here."""

from models.calibration.beta import Beta
from models.calibration.feature_clipping import FeatureClipping
from models.calibration.g_layers import GLayers
from models.calibration.histogram import Histogram
from models.calibration.isotonic import Isotonic
from models.calibration.mac_cal import MacCal
from models.calibration.matrix import Matrix
from models.calibration.temperature import Temperature
from models.calibration.vector import Vector
from models.core.errors import UnknownNameError
from models.core.method import Calibrator

__all__ = ["CALIBRATORS", "calibrator"]

# `models/training/select.py` prefers the earlier of two that do equally well: fewer fitted numbers, less to go wrong.
CALIBRATORS: dict[str, type[Calibrator]] = {
    "temperature": Temperature,
    "feature_clipping": FeatureClipping,
    "beta": Beta,
    "histogram": Histogram,
    "isotonic": Isotonic,
    "vector": Vector,
    "matrix": Matrix,
    "g_layers": GLayers,
    "mac_cal": MacCal,
}


def calibrator(name: str) -> type[Calibrator]:
    """Raises UnknownNameError."""
    if name not in CALIBRATORS:
        raise UnknownNameError("calibrator", name, CALIBRATORS)
    return CALIBRATORS[name]
