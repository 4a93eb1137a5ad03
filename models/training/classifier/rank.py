"""The program of one rank: `python -m models.training.classifier.rank FOLDER`, started by `train_on_several`.

Rank 0 reports its steps, and any rank its error, by lines of JSON on what was its stdout. A rank ends when its stdin is
closed, so that it never outlives its launcher, however that ends.
"""

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from models.backbones import backbone_kind
from models.core.errors import ModelSideError
from models.training.classifier.rank_files import Recipe, write_result
from models.training.classifier.scope import head_name
from models.training.classifier.sharing import Accelerated
from models.training.classifier.training import train_classifier

Say = Callable[[Mapping[str, Any]], None]


def main() -> None:
    say = _private_stdout()
    _end_with_stdin()
    try:
        _train(Path(sys.argv[1]), say)
    except Exception as error:
        traceback.print_exc()
        if isinstance(error, ModelSideError | ValueError | OSError):
            say({"error": str(error) or repr(error)})
        # At once: an orderly end would wait for ranks that may have gone.
        os._exit(1)
    # The result is on disk, and taking torch down would take seconds.
    os._exit(0)


def _train(folder: Path, say: Say) -> None:
    recipe = Recipe.read(folder)
    network = recipe.network.build()
    head = head_name(network, backbone_kind(recipe.network.kind).cut)
    rows, held_out = (file.rows(recipe.spec) for file in (recipe.trained, recipe.held_out))
    sharing = Accelerated(cpu=recipe.device_type == "cpu")

    def told(phase: str, step: int, steps: int, point: Mapping[str, Any] | None) -> None:
        if sharing.first:
            say({"phase": phase, "step": step, "steps": steps, "point": point})

    result = train_classifier(network, head, rows, held_out, recipe.plan, sharing.device, folder, told, sharing)
    if sharing.first:
        write_result(folder, result)
    sharing.close()


def _private_stdout() -> Say:
    """To the launcher; whatever a library prints goes to the log instead."""
    pipe = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return lambda message: print(json.dumps(message), file=pipe)


def _end_with_stdin() -> None:
    def wait() -> None:
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=wait, name="howsure-launcher-gone", daemon=True).start()


if __name__ == "__main__":
    main()
