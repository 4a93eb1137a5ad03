"""Recipes of small trainings on two devices, and the processes that take part in one."""

import numpy as np
import psutil

from models.training.classifier.rank_files import NetworkRecipe, PixelFile, Recipe
from tests.models.training.classifier.small_trainings import HELD_OUT, PLAN, ROWS, SPEC, perceptron

PERCEPTRON = {"num_classes": 3, "depth": 3, "width": 12, "side": 8}


def pixel_file(path, rows):
    np.save(path, rows.pixels)
    return PixelFile(path, rows.labels)


def recipe(folder, plan=PLAN, kind="howsure", name="perceptron", arguments=PERCEPTRON, network=None):
    """On the CPU; its files are in `folder`."""
    state = (perceptron() if network is None else network).state_dict()
    trained, held_out = pixel_file(folder / "trained.npy", ROWS), pixel_file(folder / "held_out.npy", HELD_OUT)
    return Recipe(NetworkRecipe(kind, name, arguments, state), SPEC, trained, held_out, plan, "cpu")


def ranks_in(folder):
    """Rank → process id, of those that run now."""
    found = [process for process in psutil.process_iter(["cmdline"]) if str(folder) in (process.info["cmdline"] or [])]
    return {int(process.environ()["RANK"]): process.pid for process in found}
