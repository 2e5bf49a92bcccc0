"""What accompanies the pictures: audio, subtitles, cover, attachments, chapters and tags, taken over without recoding."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

from restore_sdk.extras import require
from restore_sdk.stream.errors import VideoReadError, VideoWriteError

# Written by every muxer for itself; a copy would contradict it.
_OWN_TAGS = ("encoder", "major_brand", "minor_version", "compatible_brands")
_HOLDS_COVERS = "mp4"  # as streams; Matroska has them among its attachments
_PICTURE_TYPES = {"mjpeg": "jpeg"}  # of MIME, where FFmpeg has another name
_NAMED_TAGS = {
    *("title", "artist", "album", "album_artist", "comment", "composer", "copyright", "creation_time", "date", "description"),
    *("episode_id", "genre", "grouping", "lyrics", "network", "rating", "show", "synopsis", "track", "year"),
}


class Companions:
    """All streams of a file but the pictures, read once more beside the decoder.

    begin, end  seconds: packets that begin in [begin, end) are taken; None: all of them
    shift       seconds by which everything comes earlier
    """

    def __init__(self, path: Path, pictures: int, begin: Fraction | None, end: Fraction | None, shift: Fraction) -> None:
        self._av = require("av", "video")
        self._path, self._begin, self._end, self._shift = path, begin, end, shift
        try:
            self._container = self._av.open(str(path), metadata_errors="replace")
        except self._av.FFmpegError as exc:
            raise VideoReadError(path, f"{exc.strerror}; was it moved while it was restored?") from exc
        self._others = [stream for stream in self._container.streams if stream.index != pictures]
        self._copies: dict[int, Any] = {}
        self._next: Any = None
        self._packets: Iterator[Any] = iter(())

    def add_to(self, output: Any, target: Path) -> list[str]:
        """Add a stream to `output`, which will be `target`, for every one that it can hold, with tags and chapters. Returns what
        could not be taken.

        Raises VideoWriteError for audio that the container cannot hold: losing that silently would be no copy.
        """
        notices = []
        for stream in self._others:
            name = stream.type if stream.codec_context is None else stream.codec_context.codec.canonical_name
            try:
                copy = self._add(output, stream)
            except (ValueError, self._av.FFmpegError) as exc:
                if stream.type == "audio":
                    reason = (
                        f"{output.format.name} cannot hold {name} audio; end the target in .mkv, which holds nearly everything"
                    )
                    raise VideoWriteError(target, reason) from exc
                copy = None
            if copy is None and not self._is_chapter_track(stream):
                second = stream.type == "video" and not self._is_cover(stream)
                why = "one video stream is restored, the first" if second else f"{output.format.name} cannot hold it"
                notices.append(f"{stream.type} stream {stream.index} ({name}) is not taken over: {why}")
            elif copy is not None and copy.type != "attachment":
                self._copies[stream.index] = copy
        self._packets = self._demuxed()
        self._next = next(self._packets, None)
        output.metadata.update({key: value for key, value in self._container.metadata.items() if key not in _OWN_TAGS})
        output.set_chapters(self._chapters())
        return notices

    @property
    def has_unusual_tags(self) -> bool:
        """Whether MP4 needs to be told to keep tags that it has no name for."""
        tags = {key.lower() for key in self._container.metadata}
        return not tags <= _NAMED_TAGS | {*_OWN_TAGS}

    def until(self, seconds: Fraction | None) -> Iterator[Any]:
        """Packets, ready to be muxed, that come before `seconds` of the output's time; None: all that are left."""
        while self._next is not None and (seconds is None or _time(self._next) - self._shift < seconds):
            packet, self._next = self._next, next(self._packets, None)
            ticks = round(self._shift / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - ticks
            packet.dts = None if packet.dts is None else packet.dts - ticks
            packet.stream = self._copies[packet.stream_index]
            yield packet

    def close(self) -> None:
        self._container.close()

    def __enter__(self) -> Companions:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _add(self, output: Any, stream: Any) -> Any:
        """The copy of one stream; None where this cannot be done."""
        kind, attaches, cover = stream.type, output.format.name == "matroska", self._is_cover(stream)
        if cover and attaches:
            return self._attach(output, stream)
        if kind == "data" or (kind == "video" and not (cover and output.format.name == _HOLDS_COVERS)):
            return None
        if kind == "attachment" and not attaches:
            return None
        copy = output.add_stream_from_template(stream, opaque=True)
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition
        return copy

    def _is_cover(self, stream: Any) -> bool:
        return bool(stream.disposition & self._av.stream.Disposition.attached_pic)

    def _attach(self, output: Any, cover: Any) -> Any:
        with self._av.open(str(self._path), metadata_errors="replace") as again:  # the packets here are still to be read
            picture = next(bytes(packet) for packet in again.demux(again.streams[cover.index]) if packet.size)
        codec, said = cover.codec_context.codec.canonical_name, cover.metadata
        form = _PICTURE_TYPES.get(codec, codec)
        name, mime = said.get("filename", f"cover.{form.replace('jpeg', 'jpg')}"), said.get("mimetype", f"image/{form}")
        return output.add_attachment(name, mime, picture)

    def _is_chapter_track(self, stream: Any) -> bool:
        """In MP4 and MOV chapters are a stream as well; they are taken over as chapters."""
        return stream.type == "data" and bool(self._container.chapters())

    def _demuxed(self) -> Iterator[Any]:
        streams = [self._container.streams[index] for index in self._copies]
        if not streams:
            return
        try:
            for packet in self._container.demux(streams):
                if packet.size == 0 and packet.dts is None:
                    continue  # the demuxer's mark of the end
                at = _time(packet)
                if (self._begin is None or at >= self._begin) and (self._end is None or at < self._end):
                    yield packet
        except self._av.FFmpegError as exc:
            raise VideoReadError(self._path, f"{exc.strerror} in its audio or subtitles; check it with a player") from exc

    def _chapters(self) -> list[dict[str, Any]]:
        kept = []
        for chapter in self._container.chapters():
            ticks = round(self._shift / chapter["time_base"])
            first = chapter["start"] if self._begin is None else max(chapter["start"], ticks)
            last = chapter["end"] if self._end is None else min(chapter["end"], round(self._end / chapter["time_base"]))
            if first < last:
                kept.append({**chapter, "start": first - ticks, "end": last - ticks})
        return kept


def _time(packet: Any) -> Fraction:
    at = packet.dts if packet.dts is not None else packet.pts
    return Fraction((at or 0) * packet.time_base)
