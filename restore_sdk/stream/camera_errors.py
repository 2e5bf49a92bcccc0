"""What goes wrong with cameras.

RestoreError
`-- ImageError
    |-- ImageReadError
    |   `-- CameraLostError           .path .reason .source
    `-- ImageWriteError
        `-- CameraSinkError           .path .reason .sink
            `-- CameraTargetError
"""

from __future__ import annotations

import re

from restore_sdk.errors import ImageReadError, ImageWriteError

_PASSWORD = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]*@")


def shown(source: str) -> str:
    """A camera's address as it may stand in messages and reports: without its password."""
    return _PASSWORD.sub(r"\1:***@", source)


class CameraLostError(ImageReadError):
    """A camera that gives no pictures: not there, or gone for longer than one was willing to wait."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(shown(source), shown(reason))
        self.source = shown(source)


class CameraSinkError(ImageWriteError):
    """A window, file or receiver that takes no pictures."""

    def __init__(self, sink: str, reason: str) -> None:
        super().__init__(shown(sink), shown(reason))
        self.sink = shown(sink)


class CameraTargetError(CameraSinkError):
    """A name that is none of a sink, or a codec that the sink cannot take."""
