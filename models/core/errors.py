"""The errors of the model side.

ModelSideError
├── CheckpointError     a stored version is damaged, incomplete, or of another format
├── UnfittedError       a method was used, or saved, before it was fitted
├── MissingOutputError  a method needs an output that was not prepared
├── UnsupportedError    a network, device or precision that howsure cannot handle
├── StaleCacheError     cached outputs are of something else, damaged, or not there
├── UnreachableError    the hub that a model is to come from does not answer
├── RankError           a process of a training on several devices cannot go on
├── DataError           labelled data that cannot be read, or does not fit
└── UnknownNameError    a name that a registry or the store does not have
"""

from collections.abc import Iterable, Sequence


class ModelSideError(Exception):
    """Base of all errors raised on purpose by `models`."""


class CheckpointError(ModelSideError):
    """A stored version is damaged, incomplete, or written in a format this release does not read."""


class UnfittedError(ModelSideError):
    """A calibrator or score was used before `fit` or `load_state`."""


class MissingOutputError(ModelSideError):
    """A method was given outputs without a part that it declared in `needs`."""


class UnsupportedError(ModelSideError):
    """The network, device or precision is outside what howsure handles."""


class StaleCacheError(ModelSideError):
    """Cached outputs are not those of the network and rows at hand, are damaged, or are not all there."""


class UnreachableError(ModelSideError):
    """The hub that a model is to come from does not answer, or not as it should."""


class RankError(ModelSideError):
    """A process of a training on several devices says why it cannot go on, or has ended without a word."""


class DataError(ModelSideError, ValueError):
    """Labelled data cannot be read, is unsafe to read, or does not fit; `bad` are (row, reason), the first ones."""

    def __init__(self, message: str, bad: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.bad = tuple(bad)


class UnknownNameError(ModelSideError):
    """The name is not in the registry or store; the message lists those that are."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"unknown {kind} {name!r}; known: {', '.join(sorted(known)) or 'none'}")
