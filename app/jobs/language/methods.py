"""The methods of a job `calibrate`, by what the model takes."""

from models.calibration import CALIBRATORS
from models.language.calibrators import PROMPT_CALIBRATORS
from models.language.few_shot_recalibration import FEW_SHOT

AUTO = "auto"
FOR_IMAGES = (AUTO, *CALIBRATORS)
TOKEN_TEMPERATURE = "token_temperature"  # of free answers; the others are of choices
FOR_PROMPTS = (AUTO, *PROMPT_CALIBRATORS, FEW_SHOT, TOKEN_TEMPERATURE)
METHODS = tuple(dict.fromkeys((*FOR_IMAGES, *FOR_PROMPTS)))
