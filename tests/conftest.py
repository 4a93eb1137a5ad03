"""Loads the fixtures that every folder of tests may ask for."""

import os

from models.checkpoints.shipped import IMAGE_MODELS

# For the processes that tests start, too: unpacking the language model takes longer than most of them.
os.environ["HOWSURE_SHIPPED"] = ",".join(IMAGE_MODELS)

pytest_plugins = [
    "tests.fixtures.jobs",
    "tests.fixtures.scripted_child",
    "tests.fixtures.models",
    "tests.fixtures.scripted",
    "tests.fixtures.server",
    "tests.fixtures.stages",
]
