"""Decoded images by position, exactly as the server decodes them. Small sets stay in memory between their views."""

import threading
from collections.abc import Sequence

from PIL import Image

from models.core.image import ImageError, Refusal, read_image
from models.core.input_spec import InputSpec
from models.feature_cache.image_rows import ImageRows

PIXEL_BYTES = 4  # of an RGB image in Pillow
KEPT_BYTES = 256 * 2**20

Picture = Image.Image | ImageError


class Pictures:
    """Threads may share it. The first `most_bytes` of decoded images are kept: all come round equally often."""

    def __init__(self, rows: ImageRows, spec: InputSpec, most_bytes: int = KEPT_BYTES) -> None:
        self.rows = rows
        self.spec = spec
        self.room = most_bytes
        self._kept: dict[int, Picture] = {}
        self._lock = threading.Lock()

    def read(self, positions: Sequence[int]) -> list[Picture]:
        """The images at these positions; in place of one that cannot be read, why."""
        found = {position: self._kept[position] for position in positions if position in self._kept}
        missing = [position for position in dict.fromkeys(positions) if position not in found]
        for position, content in zip(missing, self._contents(missing), strict=True):
            found[position] = self._decoded(content)
            self._keep(position, found[position])
        return [found[position] for position in positions]

    def _contents(self, positions: Sequence[int]) -> list[bytes | None]:
        if not positions:
            return []
        with self._lock:  # a tar is read through one file
            return list(self.rows.contents([self.rows.names[position] for position in positions]))

    def _decoded(self, content: bytes | None) -> Picture:
        if content is None:
            return ImageError(Refusal.DAMAGED, "damaged in the archive: its checksum does not fit")
        try:
            return read_image(content, self.spec)
        except ImageError as error:
            return error.with_traceback(None)

    def _keep(self, position: int, picture: Picture) -> None:
        size = picture.width * picture.height * PIXEL_BYTES if isinstance(picture, Image.Image) else 0
        with self._lock:
            if size <= self.room and position not in self._kept:
                self._kept[position] = picture
                self.room -= size
