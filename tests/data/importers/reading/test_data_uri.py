import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsgauge.data.importers.reading import data_uri
from nsgauge.data.importers.reading.data_uri import data_uri_bytes, is_data_uri
from nsgauge.errors import ImageError


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("data:image/png,abc", "bad_data_uri"),
        ("data:image/png;base64", "bad_data_uri"),
        ("data:image/png;base64,ab!c", "bad_data_uri"),
        ("data:image/png;base64,abc", "bad_data_uri"),
        ("data:image/png;base64,\u00e9\u00e9\u00e9\u00e9", "bad_data_uri"),
        ("data:image/png;base64," + "a" * 64, "too_large"),
    ],
)
def test_a_data_uri_that_cannot_be_read_says_why(uri, code, monkeypatch):
    monkeypatch.setattr(data_uri, "_CHARACTERS_LIMIT", 64)
    with pytest.raises(ImageError) as caught:
        data_uri_bytes(uri)
    assert caught.value.code == code


def test_a_data_uri_may_be_folded_and_of_any_type():
    assert data_uri_bytes("DATA:;charset=x;BASE64,a2l0\n ZQ==\n") == b"kite"


@given(content=st.binary(), kind=st.sampled_from(["image/png", "", "text/plain;charset=utf-8"]))
def test_any_bytes_come_back(content, kind):
    uri = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    assert is_data_uri(uri)
    assert data_uri_bytes(uri) == content
