"""Encoded video in parts on disk, so that interrupted work goes on where it was.

The folder `.NAME.parts` beside the target holds job.json, what the work was started with, and part-00000 and so on: a line of
JSON, then the encoder's packets. Every part is opened with a keyframe by an encoder of its own, so a video made in one go and
one made in two have the same packets. Parts appear whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restore_sdk.errors import OptionsError
from restore_sdk.stream.errors import write_error

PART_FRAMES = 240  # frames between two restarts of the encoder: what an interrupted run loses at most
FIT_PART_FRAMES = 12  # the same where each frame takes a fit of minutes
_RECORD = struct.Struct("<qqBI")  # pts, duration, keyframe, bytes of data
JOB = "job.json"


@dataclass(frozen=True, slots=True)
class EncodedPacket:
    """One packet of one frame. Times in units of the stream's time base; the order is that of decoding."""

    pts: int
    duration: int
    is_keyframe: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class Part:
    """A finished part: its file, frames, and the time of its last frame."""

    path: Path
    frames: int
    last_pts: int
    extradata: bytes


class PartFolder:
    """The parts of one target, of `part_frames` each (None: PART_FRAMES)."""

    def __init__(self, target: Path, part_frames: int | None = None) -> None:
        self.part_frames = PART_FRAMES if part_frames is None else part_frames
        self.folder = target.with_name(f".{target.name}.parts")

    def begin(self, job: Mapping[str, Any], *, resume: bool) -> list[Part]:
        """The parts that are done already: with `resume` those of the same job, else none, and what was there is gone.

        Raises OptionsError for the parts of another job, VideoWriteError.
        """
        try:
            done = self._unbroken() if resume else []
            if done:
                self._check(job)
                for path in sorted(self.folder.glob("part-*"))[len(done) :]:
                    path.unlink()
                return done
            self.remove()
            self.folder.mkdir()
            (self.folder / JOB).write_text(json.dumps(job, indent=1, sort_keys=True), encoding="utf-8")
        except OSError as exc:
            raise write_error(self.folder, exc) from exc
        return []

    @property
    def kept(self) -> int:
        """Frames that a run with `resume` would not make again, unless the disk has damaged them."""
        return self.part_frames * len(self._unbroken(checked=False))

    def write(self, number: int, packets: list[EncodedPacket], extradata: bytes) -> Part:
        """Keep a part. Raises VideoWriteError."""
        path = self._path(number)
        partial = path.with_suffix(".tmp")
        last = max(packet.pts for packet in packets)
        head = {"frames": len(packets), "last_pts": last, "extradata": extradata.hex()}
        try:
            body = b"".join(_packed(packet) for packet in packets)
            with partial.open("wb") as file:
                file.write(json.dumps({**head, "sha256": hashlib.sha256(body).hexdigest()}).encode() + b"\n")
                file.write(body)
            partial.replace(path)
        except OSError as exc:
            raise write_error(path, exc) from exc
        return Part(path, len(packets), last, extradata)

    def remove(self) -> None:
        """Delete the folder and all in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:05d}"

    def _check(self, job: Mapping[str, Any]) -> None:
        try:
            found = json.loads((self.folder / JOB).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = {}
        wanted = json.loads(json.dumps(job))
        if changed := list(_changes(found, wanted)):
            was = ", ".join(changed)
            raise OptionsError("resume", True, f"the settings that the work was started with ({was}); give those, or start anew")

    def _unbroken(self, *, checked: bool = True) -> list[Part]:
        """The unbroken run of full parts from the first; with `checked`, of those whose bytes are what was written."""
        found: list[Part] = []
        for path in sorted(self.folder.glob("part-*")):
            part = _read_head(path, checked=checked)
            if path != self._path(len(found)) or part is None or part.frames != self.part_frames:
                break
            found.append(part)
        return found


def _changes(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """What is not as it was, by the innermost name."""
    for name in wanted:
        before, now = found.get(name), wanted[name]
        if isinstance(before, dict) and isinstance(now, dict):
            yield from _changes(before, now)
        elif before != now:
            yield f"{name} {before!r} -> {now!r}"


def read_packets(part: Part) -> Iterator[EncodedPacket]:
    """The packets of a part, one at a time."""
    with part.path.open("rb") as file:
        file.readline()
        while head := file.read(_RECORD.size):
            pts, duration, is_keyframe, size = _RECORD.unpack(head)
            yield EncodedPacket(pts, duration, bool(is_keyframe), file.read(size))


def decoding_times(shown: list[int]) -> list[int]:
    """Decoding times for packets in decoding order that are shown at `shown`: strictly increasing, none after its frame.

    As encoders do it: the times of display in their order, put back by the depth of reordering.
    """
    ordered = sorted(shown)
    rank = {pts: place for place, pts in enumerate(ordered)}
    depth = max(index - rank[pts] for index, pts in enumerate(shown))
    lead = ordered[min(depth, len(ordered) - 1)] - ordered[0]
    return [ordered[index - depth] if index >= depth else ordered[index] - lead for index in range(len(shown))]


def _packed(packet: EncodedPacket) -> bytes:
    return _RECORD.pack(packet.pts, packet.duration, packet.is_keyframe, len(packet.data)) + packet.data


def _read_head(path: Path, *, checked: bool) -> Part | None:
    """None for a damaged part; `checked`: read all of it to see that."""
    try:
        with path.open("rb") as file:
            head = json.loads(file.readline())
            if checked and hashlib.file_digest(file, "sha256").hexdigest() != head["sha256"]:
                return None
        return Part(path, int(head["frames"]), int(head["last_pts"]), bytes.fromhex(head["extradata"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
