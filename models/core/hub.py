"""A model of the Hugging Face hub as a local folder, which the loaders of local folders then read.

No loader is ever given the name itself: what it could take for a folder of this machine, or would fetch beside
safetensors, never comes into question.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from models.core.errors import UnreachableError, UnsupportedError

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?/[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
TEXTS = ("*.json", "*.txt", "*.jinja", "*.model")  # configurations and tokenizers
WEIGHTS, INDEX = "model*.safetensors", "model.safetensors.index.json"


@contextmanager
def hub_folder(name: str) -> Iterator[Path]:
    """Configuration, tokenizer and safetensors of the hub's `main` of ORG/NAME, in a folder that is gone afterwards.

    Where the hub does not answer, or HF_HUB_OFFLINE is set, they come from the hub's cache on this machine. Nothing is
    put into that cache. Raises UnsupportedError for what is no such name, a name that the hub does not know or keeps
    gated, a model with code of its own or without safetensors, and UnreachableError.
    """
    _check_name(name)
    with TemporaryDirectory() as room:
        _refuse_own_code(_snapshot(name, room, TEXTS))  # before the weights are fetched, which may take long
        snapshot = _snapshot(name, room, (*TEXTS, WEIGHTS))
        _refuse_own_code(snapshot)  # which may be another one, of the cache
        folder = Path(room) / name
        folder.mkdir(parents=True)
        # The hub's cache may hold pickles and code too: they were fetched by others.
        for pattern in (*TEXTS, WEIGHTS):
            for file in snapshot.glob(pattern):
                (folder / file.name).symlink_to(file.resolve())
        if not any(folder.glob(WEIGHTS)):
            raise UnsupportedError(f"it has no {WEIGHTS}; weights as pickles (.bin, .pt) are never loaded")
        yield folder


def _check_name(name: str) -> None:
    """Raises UnsupportedError unless it is ORG/NAME as the hub allows them."""
    if not NAME.fullmatch(name) or ".." in name or "--" in name or name.endswith(".git") or len(name) > 96:
        raise UnsupportedError(f"{name!r} is no name of the hub: give ORG/NAME, as in timm/resnet18.a1_in1k")


def _snapshot(name: str, room: str, patterns: tuple[str, ...]) -> Path:
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # it does not say that it has HTTPError
        GatedRepoError,
        HTTPError,  # of its HTTP library, which is another one in other releases
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return _downloaded(name, patterns, cache=room)
    except GatedRepoError as error:
        raise UnsupportedError(
            "it is gated: accept its terms on the hub, and start the server with HF_TOKEN set to a token of who did"
        ) from error
    except RepositoryNotFoundError as error:
        raise UnsupportedError(
            "the hub has no such model, or keeps it private: check the name, or start the server with HF_TOKEN set"
        ) from error
    except LocalEntryNotFoundError:  # not local to the room: the hub did not answer
        return _cached(name, patterns)
    except HTTPError as error:
        raise UnreachableError(f"the hub does not give {name}: {error}; try again later") from error
    except (ValueError, TypeError, KeyError) as error:
        raise UnreachableError(
            f"what answers in the hub's place is not it ({error}): is there a proxy that wants a login?"
        ) from error


def _cached(name: str, patterns: tuple[str, ...]) -> Path:
    from huggingface_hub.errors import LocalEntryNotFoundError

    refusal = UnreachableError(
        f"the hub does not answer, and its cache on this machine has no whole {name}: check the server's network"
        " and HF_HUB_OFFLINE, or put the model into a folder and give its path"
    )
    try:
        found = _downloaded(name, patterns, cache=None)
    except LocalEntryNotFoundError as error:
        raise refusal from error
    if WEIGHTS in patterns and not _is_whole(found):
        raise refusal
    return found


def _is_whole(folder: Path) -> bool:
    """Whether no part of the weights is missing; what has pickles alone is refused for that, and not here."""
    if any(folder.glob("*.bin")) and not any(folder.glob(WEIGHTS)):
        return True
    index = folder / INDEX
    wanted = set(_object(index)["weight_map"].values()) if index.is_file() else {"model.safetensors"}
    return all((folder / part).is_file() for part in wanted)


def _downloaded(name: str, patterns: tuple[str, ...], cache: str | None) -> Path:
    """Into a cache; without one, nothing is asked and the machine's own is read."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()  # a service has no terminal
    found = snapshot_download(
        name, cache_dir=cache, local_files_only=cache is None, allow_patterns=list(patterns), ignore_patterns="*/*"
    )
    return Path(found)


def _refuse_own_code(folder: Path) -> None:
    for name in ("config.json", "tokenizer_config.json"):
        if (folder / name).is_file() and "auto_map" in _object(folder / name):
            raise UnsupportedError("it brings its own code, which is never run: use a model that transformers knows")


def _object(path: Path) -> dict[str, Any]:
    """Raises UnsupportedError for a file that holds none."""
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise UnsupportedError(f"its {path.name} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UnsupportedError(f"its {path.name} is no JSON object")
    return found
