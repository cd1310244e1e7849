"""Pictures as a judge gets them: upright, opaque, scaled down, as a data URI."""

import asyncio
import base64
from collections import OrderedDict
from io import BytesIO
from pathlib import Path

from PIL import Image

from nsgauge.data.images import decode_image, read_image

_KEPT = 64
_QUALITY = 92


class Pictures:
    """The pictures of one data folder; those used last are kept in memory.

    Args:
        data: The folder.
        longest_side_px: A larger picture is scaled down to it.
    """

    def __init__(self, data: Path, *, longest_side_px: int) -> None:
        self._data = data
        self._longest_side_px = longest_side_px
        self._kept: OrderedDict[str, str] = OrderedDict()

    async def data_uri(self, image: str) -> str:
        """A picture by its path in the folder.

        Raises:
            ImageError: it can't be read or decoded.
        """
        if image not in self._kept:
            self._kept[image] = await asyncio.to_thread(self._encoded, image)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(image)
        return self._kept[image]

    def _encoded(self, image: str) -> str:
        picture = decode_image(read_image(self._data, image))
        side = self._longest_side_px
        picture.thumbnail((side, side), Image.Resampling.BICUBIC)
        buffer = BytesIO()
        picture.save(buffer, format="JPEG", quality=_QUALITY)
        return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
