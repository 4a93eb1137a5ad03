"""Loads the fixtures that every folder of tests may ask for."""

pytest_plugins = [
    "tests.fixtures.jobs",
    "tests.fixtures.scripted_child",
    "tests.fixtures.models",
    "tests.fixtures.scripted",
    "tests.fixtures.server",
    "tests.fixtures.stages",
]
