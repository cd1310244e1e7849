"""Pictures that a source carries inside its texts, as `data:` URIs."""

import base64
import binascii
import re

from nsgauge.data.images import BYTES_LIMIT
from nsgauge.errors import ImageError

_HEAD = re.compile(r"\Adata:[^,]{0,200}?(;base64)?,", re.IGNORECASE)
_SPACE = re.compile(r"\s+")
# Four characters of base64 hold three bytes.
_CHARACTERS_LIMIT = BYTES_LIMIT // 3 * 4


def is_data_uri(text: str) -> bool:
    """Whether a text claims to be a data URI."""
    return text[:5].lower() == "data:"


def data_uri_bytes(uri: str) -> bytes:
    """The bytes inside a data URI in base64; its media type is not believed, nor looked at.

    Raises:
        ImageError: `bad_data_uri`: not base64, or cut off; `too_large`: more than
            `nsgauge.data.images.BYTES_LIMIT` bytes.

    Example:
        >>> data_uri_bytes("data:text/plain;base64,a2l0ZQ==")
        b'kite'
    """
    head = _HEAD.match(uri)
    if head is None or head.group(1) is None:
        wanted = "wanted data:<type>;base64,<content>"
        raise ImageError("bad_data_uri", f"the picture's data URI has no base64: {wanted}")
    if len(uri) > _CHARACTERS_LIMIT:
        raise ImageError("too_large", f"the picture's data URI has more than {BYTES_LIMIT} bytes")
    try:
        return base64.b64decode(_SPACE.sub("", uri[head.end() :]), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError("bad_data_uri", f"the picture's data URI is damaged: {error}") from error
