"""What was observed of a network, as one file on disk: a command that is begun again need not pass the images again."""

from collections.abc import Callable, Iterator
from pathlib import Path

import safetensors.torch
from torch import Tensor

from models.core.atomic import write_bytes
from models.core.outputs import LinearHead, ModelOutputs
from tests.benchmarks.mac_cal.observed import Labelled, Observed

LABELLED = ("trained", "fresh", "judged")
OUTSIDE = "outside"


def kept(path: Path, observe: Callable[[], Observed]) -> Observed:
    """From `path`, which is written where it is not there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, safetensors.torch.save(dict(_tensors(observe()))))
    found = safetensors.torch.load_file(path)
    head = LinearHead(found["head.weight"], found["head.bias"])

    def outputs(part: str) -> ModelOutputs:
        return ModelOutputs(found[f"{part}.logits"], features=found[f"{part}.features"], head=head)

    labelled = {part: Labelled(outputs(part), found[f"{part}.labels"]) for part in LABELLED}
    names = sorted({name.split(".")[1] for name in found if name.startswith(f"{OUTSIDE}.")})
    return Observed(**labelled, outside={name: outputs(f"{OUTSIDE}.{name}") for name in names})


def _tensors(given: Observed) -> Iterator[tuple[str, Tensor]]:
    head = given.judged.outputs.require_head()
    yield from (("head.weight", head.weight), ("head.bias", head.bias))
    for part in LABELLED:
        labelled: Labelled = getattr(given, part)
        yield f"{part}.labels", labelled.labels
        yield from _outputs(part, labelled.outputs)
    for name, outputs in given.outside.items():
        yield from _outputs(f"{OUTSIDE}.{name}", outputs)


def _outputs(part: str, outputs: ModelOutputs) -> Iterator[tuple[str, Tensor]]:
    yield f"{part}.logits", outputs.logits
    yield f"{part}.features", outputs.require_features()
