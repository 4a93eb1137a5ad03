"""The settings of a command that is a server, a worker, or both in this process: read, or refused in one line."""

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from app.commands.terminal import fail, say

if TYPE_CHECKING:
    from app.settings import Settings

# What clients, tests and the compose file read.
OTHER_VARIABLES = frozenset({"HOWSURE_URL", "HOWSURE_API_KEY", "HOWSURE_TEST_DATA", "HOWSURE_BIND"})


def read_settings(options: Mapping[str, Any]) -> "Settings":
    """Variables of the environment, and before them `options`. Ends the command where they do not fit."""
    from pydantic import ValidationError

    from app.settings import Settings

    _warn_of_unknown(f"HOWSURE_{name.upper()}" for name in Settings.model_fields)
    try:
        return Settings(**options)
    except ValidationError as error:
        # A default that could not be made of another setting, which is wrong, is no mistake of its own.
        mistakes = [found for found in error.errors() if found["type"] != "default_factory_not_called"]
        fail("; ".join(_complaint(found, options) for found in mistakes), status=2)


def _warn_of_unknown(settings: Iterable[str]) -> None:
    """A misspelt variable would else be passed over in silence; one of another program must not end this one."""
    known = {*settings, *OTHER_VARIABLES}
    for name in sorted(name for name in os.environ if name.startswith("HOWSURE_") and name not in known):
        close = get_close_matches(name, known, 1)
        say(f"warning: {name} is no setting of howsure" + (f"; did you mean {close[0]}?" if close else ""))


def _complaint(found: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """One of pydantic's errors, with the name under which the setting was given."""
    message = str(found["msg"]).removeprefix("Value error, ")
    if not found["loc"]:
        return message
    field = str(found["loc"][0])
    return f"{'--' + field.replace('_', '-') if field in options else 'HOWSURE_' + field.upper()}: {message}"
