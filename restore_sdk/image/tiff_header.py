"""The header of a TIFF file, and the kinds of TIFF that OpenCV decodes to wrong pixels without saying so."""

from __future__ import annotations

from dataclasses import dataclass

from restore_sdk.image.exif import exif_from_tiff
from restore_sdk.image.header import Header, UnreadableError, notices_of
from restore_sdk.image.tiff_tags import (
    ORIENTATION,
    Buffer,
    Field,
    TiffDamagedError,
    byte_order,
    first_offset,
    is_big,
    read_fields,
)

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_READABLE_PHOTOMETRICS = frozenset({_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR})
_REMEDY = "convert it to plain gray or RGB(A) with 8 or 16 bits, or 32-bit float"
_MAX_PAGES = 100_000


@dataclass(frozen=True, slots=True)
class _Tags:
    fields: dict[int, Field]
    order: str

    def integers(self, tag: int) -> tuple[int, ...]:
        return self.fields[tag].integers(self.order) if tag in self.fields else ()

    def integer(self, tag: int, default: int) -> int:
        return (self.integers(tag) or (default,))[0]


def read_tiff_header(data: Buffer) -> Header:
    """Header of a TIFF file. Raises UnreadableError for what cannot be decoded right, TiffDamagedError for damage."""
    fields, following = read_fields(data, first_offset(data))
    tags = _Tags(fields, byte_order(data))
    _check_storage(tags, len(data))
    if is_big(data) and tags.order == ">" and _decoder(tags) == "pillow":  # which knows little-endian ones alone
        raise UnreadableError(f"a big-endian BigTIFF with transparency or CMYK is not supported; {_REMEDY}")
    icc = fields.get(34675)
    return Header(
        format="TIFF",
        width=tags.integer(256, 0),
        height=tags.integer(257, 0),
        decoder=_decoder(tags),
        exif=exif_from_tiff(data),
        orientation=_orientation(tags),
        icc=icc.raw if icc else None,
        dpi=_resolution(tags),
        pages=_count_pages(data, following),
        inverted=_bits(tags) == 16 and tags.integer(262, _RGB) == _WHITE_IS_ZERO,
        notices=notices_of(_kind(tags), xmp=700 in fields),
    )


def _kind(tags: _Tags) -> str:
    """Pillow's name of the kind of pixels, where it is one that changes."""
    if tags.integer(262, _RGB) in {_PALETTE, _CMYK}:
        return "P" if tags.integer(262, _RGB) == _PALETTE else "CMYK"
    return "LA" if _samples(tags) == 2 else "1" if _bits(tags) == _samples(tags) == 1 else ""


def _bits(tags: _Tags) -> int:
    return tags.integer(258, 1)


def _samples(tags: _Tags) -> int:
    return tags.integer(277, 1)


def _orientation(tags: _Tags) -> int:
    value = tags.integer(ORIENTATION, 1)
    return value if 1 <= value <= 8 else 1


def _check_storage(tags: _Tags, size: int) -> None:
    bits, samples, photometric = set(tags.integers(258) or (1,)), _samples(tags), tags.integer(262, _RGB)
    if len(bits) != 1 or not bits <= {1, 2, 4, 8, 16, 32}:
        raise UnreadableError(f"TIFF with {sorted(bits)} bits per sample is not supported; {_REMEDY}")
    if photometric not in _READABLE_PHOTOMETRICS or samples > 4:
        raise UnreadableError(
            f"TIFF with photometric interpretation {photometric} and {samples} samples is not supported; {_REMEDY}"
        )
    sample_format = tags.integer(339, 1)
    if (_bits(tags), sample_format) not in {(1, 1), (2, 1), (4, 1), (8, 1), (16, 1), (32, 3)}:
        kind = {2: "signed integers", 3: "floats"}.get(sample_format, "unsigned integers")
        raise UnreadableError(f"TIFF with {_bits(tags)}-bit {kind} is not supported; {_REMEDY}")
    if _bits(tags) > 8:
        _check_deep(tags, samples, photometric)
    _check_extents(tags, size)


def _check_deep(tags: _Tags, samples: int, photometric: int) -> None:
    if samples > 1 and tags.integer(284, 1) == 2:
        raise UnreadableError(f"TIFF with {_bits(tags)}-bit samples in separate planes is not supported; save it interleaved")
    if samples == 2 or photometric not in {_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB}:
        raise UnreadableError(f"{_bits(tags)}-bit TIFF that is neither gray nor RGB(A) is not supported; {_REMEDY}")
    if samples == 4 and tags.integer(338, 0) == 1:
        raise UnreadableError(f"{_bits(tags)}-bit TIFF with premultiplied alpha is not supported; save it with plain alpha")


def _check_extents(tags: _Tags, size: int) -> None:
    """Every strip or tile must lie inside the file: a decoder may hand out what it likes for one that does not."""
    for offsets, counts in ((273, 279), (324, 325)):
        for start, length in zip(tags.integers(offsets), tags.integers(counts), strict=False):
            if start + length > size:
                raise TiffDamagedError("the file is truncated")
    if not tags.integers(273) and not tags.integers(324):
        raise TiffDamagedError("the positions of the pixels are missing")


def _decoder(tags: _Tags) -> str:
    """OpenCV multiplies 8-bit colours by their alpha, drops the alpha of gray, and hands out CMYK as if it were RGBA."""
    if _bits(tags) > 8:
        return "opencv"
    samples, extra = _samples(tags), tags.integer(338, 0)
    wrong = samples == 2 or tags.integer(262, _RGB) == _CMYK or (samples == 4 and extra in {1, 2})
    return "pillow" if wrong else "opencv"


def _resolution(tags: _Tags) -> tuple[float, float] | None:
    factor = {2: 1.0, 3: 2.54}.get(tags.integer(296, 2))
    x, y = (tags.fields[tag].rational(tags.order) if tag in tags.fields else None for tag in (282, 283))
    return (x * factor, y * factor) if factor and x and y else None


def _count_pages(data: Buffer, following: int) -> int:
    seen: set[int] = set()
    while following and following not in seen and len(seen) < _MAX_PAGES:
        seen.add(following)
        try:
            _, following = read_fields(data, following)
        except TiffDamagedError:
            break
    return 1 + len(seen)
