"""Figures of the long tests show in every run, not only when a test fails."""

import sys

import pytest


@pytest.fixture
def say(capsys):
    def say(text):
        with capsys.disabled():
            sys.stdout.write(f"\n{text}\n")

    return say
