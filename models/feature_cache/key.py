"""What stored outputs depend on. Two caches are the same one if and only if their keys are equal."""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import PIL
import torch

from models.core.atomic import json_bytes, write_json
from models.core.device import machine
from models.core.errors import StaleCacheError
from models.core.gradient_plan import GradientPlan
from models.core.input_spec import InputSpec
from models.core.manifest import BackboneRecord
from models.feature_cache.image_rows import ImageRows
from models.feature_cache.row_format import Floats
from models.feature_cache.view_plan import ViewPlan

FORMAT = 1
KEY = "key.json"


@dataclass(frozen=True, slots=True)
class CacheKey:
    """See the fields. A network with a gradient plan is prepared otherwise, so the plan counts for views as well."""

    backbone: BackboneRecord
    precision: str
    input_spec: InputSpec
    gradients: GradientPlan | None
    data: str  # sha256
    rows: str  # sha256 over the names and class indexes, in order
    images: int
    views: ViewPlan | None  # None: the images as they are served
    floats: Floats  # of the features
    logits: bool
    maker: str  # what the bytes depend on besides: processor, torch, Pillow, the network's library
    format: int = FORMAT

    @classmethod
    def of(
        cls,
        backbone: BackboneRecord,
        input_spec: InputSpec,
        precision: str,
        gradients: GradientPlan | None,
        device: torch.device,
        rows: ImageRows,
        *,
        views: ViewPlan | None = None,
        floats: Floats = "float32",
        logits: bool = True,
    ) -> Self:
        """Of a network prepared on `device`, and all of `rows`."""
        return cls(
            backbone=backbone,
            precision=precision,
            input_spec=input_spec,
            gradients=gradients,
            data=rows.sha256,
            rows=rows.fingerprint,
            images=len(rows.names),
            views=views,
            floats=floats,
            logits=logits,
            maker=_maker(device, backbone.kind),
        )

    @property
    def total(self) -> int:
        """Rows: views in all, or images."""
        return self.images * (1 if self.views is None else self.views.count)

    @property
    def energies(self) -> bool:
        """Whether gradient energies are stored."""
        return self.views is None and self.gradients is not None

    @property
    def digest(self) -> str:
        return hashlib.sha256(json_bytes(self.to_dict())).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        found = asdict(self)
        del found["backbone"]["origin"]  # where the weights once came from does not change them
        views = None if self.views is None else self.views.to_dict()
        return found | {"input_spec": self.input_spec.to_dict(), "views": views}

    def settle(self, folder: Path) -> None:
        """Write it into a folder, which may have it. Raises StaleCacheError, naming the fields, if it has another."""
        path = folder / KEY
        if not path.exists():
            write_json(path, self.to_dict())
        try:
            found = dict(json.loads(path.read_bytes()))
        except (ValueError, TypeError) as error:
            raise StaleCacheError(f"{path} is not readable ({error}): remove {folder}") from error
        wanted = json.loads(json_bytes(self.to_dict()))
        differing = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        if differing:
            name = differing[0]
            raise StaleCacheError(
                f"{folder} holds outputs of something else ({', '.join(differing)} differ: {name} is"
                f" {found.get(name)!r}, not {wanted.get(name)!r}): remove it"
            )


def _maker(device: torch.device, kind: str) -> str:
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    with suppress(PackageNotFoundError):  # of a network that no library builds
        kind = f"{kind} {version(kind)}"
    return f"{where}, {machine()}, Pillow {PIL.__version__}, {kind}"
