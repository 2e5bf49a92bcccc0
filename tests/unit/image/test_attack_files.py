from __future__ import annotations

from pathlib import Path

import pytest

from restore_sdk.errors import ImageReadError
from restore_sdk.image.files import read_image


@pytest.mark.parametrize(("content", "reason"), [(b"", "it is empty"), (b"no image", "it is not an image")])
def test_the_reason_is_said_once_and_the_name_is_not_blamed(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(ImageReadError, match=reason) as caught:
        read_image(path)
    assert caught.value.reason.startswith(reason)
    assert "no name of a file" not in str(caught.value)
