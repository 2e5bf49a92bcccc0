"""What goes wrong with streams and videos.

RestoreError
|-- StreamError                       .frame .stage .__cause__
`-- ImageError
    |-- ImageReadError
    |   `-- VideoReadError            .path .reason
    `-- ImageWriteError
        `-- VideoWriteError           .path .reason
            `-- ContainerError
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Literal, TypeAlias

from restore_sdk.errors import ImageReadError, ImageWriteError, RestoreError

Stage: TypeAlias = Literal["read", "restore"]

_DISK = {
    errno.ENOSPC: "the disk is full; free some space and run it again with resume",
    errno.EDQUOT: "the disk quota is used up; free some space and run it again with resume",
    errno.EFBIG: "the file would be larger than the system allows; raise the limit or write to another disk",
    errno.EACCES: "permission denied; pick a folder you may write to, or change its permissions",
    errno.EPERM: "permission denied; pick a folder you may write to, or change its permissions",
    errno.EROFS: "the file system is read-only; pick another folder",
    errno.ENAMETOOLONG: "the name is too long for this file system; shorten it",
}


class StreamError(RestoreError):
    """A stage of a stream failed at a frame; what it raised is the cause. `frame` counts what was read, from 0."""

    def __init__(self, frame: int, stage: Stage, cause: BaseException) -> None:
        said = str(cause) if isinstance(cause, RestoreError) else f"{type(cause).__name__}: {cause}"
        super().__init__(f"frame {frame} could not be {'read' if stage == 'read' else 'restored'}: {said}")
        self.frame, self.stage, self.cause = frame, stage, cause


class VideoReadError(ImageReadError):
    """A file that is no readable video, or breaks off."""


class VideoWriteError(ImageWriteError):
    """A target that cannot be written, or a container that cannot hold the streams."""


class ContainerError(VideoWriteError):
    """A name that ends in no suffix of a container for videos."""


def write_error(path: Path | str, exc: Exception) -> VideoWriteError:
    """`exc`, raised while `path` was written, in words that say what to do."""
    code = getattr(exc, "errno", None)
    return VideoWriteError(path, _DISK.get(code or 0) or f"{exc}; check the folder, the disk and the codec")
