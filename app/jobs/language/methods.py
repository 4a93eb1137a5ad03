"""The methods of a job `calibrate`, by what the model takes."""

from models.calibration import CALIBRATORS
from models.language.calibrators import PROMPT_CALIBRATORS

AUTO = "auto"
FOR_IMAGES = (AUTO, *CALIBRATORS)
FOR_PROMPTS = (AUTO, *PROMPT_CALIBRATORS)
METHODS = tuple(dict.fromkeys((*FOR_IMAGES, *FOR_PROMPTS)))
