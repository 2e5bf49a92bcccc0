from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from restore_sdk.errors import OptionsError
from restore_sdk.stream.errors import VideoReadError
from restore_sdk.stream.frames import stream_frames
from restore_sdk.stream.video_options import VideoOptions
from restore_sdk.stream.video_source import VideoSource


@pytest.mark.parametrize("max_age", ["1", [], 0, -1.0, float("nan")])
def test_an_age_that_is_none(max_age: Any) -> None:
    with pytest.raises(OptionsError, match="max_age"):
        stream_frames(str, [1], policy="latest-only", max_age=max_age)


@pytest.mark.parametrize("name", ["notes.txt", "list.nfo", "poem.ans"])
def test_a_text_is_no_video(tmp_path: Path, name: str) -> None:
    pytest.importorskip("av")
    path = tmp_path / name
    path.write_text("hello world\n" * 100, encoding="utf-8")
    with pytest.raises(VideoReadError, match="it is no video"):
        VideoSource(path)


@pytest.mark.parametrize("name", ["start", "end"])
@pytest.mark.parametrize("seconds", [1e300, float("nan"), float("inf"), -1, "1"])
def test_seconds_that_no_video_has(name: str, seconds: Any) -> None:
    with pytest.raises(OptionsError, match=name):
        VideoOptions(**{name: seconds})
