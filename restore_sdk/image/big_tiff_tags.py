"""What a huge TIFF carries beside its pixels, as tifffile reads it, in the form in which it writes it."""

from __future__ import annotations

import contextlib
from typing import Any
from xml.etree import ElementTree

from restore_sdk.image.big_facts import BigMetadata, TiffTag

_ORIENTATION, _DESCRIPTION, _ICC, _EXIF, _GPS, _XMP = 274, 270, 34675, 34665, 34853, 700
_X_RESOLUTION, _Y_RESOLUTION, _UNIT = 282, 283, 296
_DESCRIPTIVE = (269, 271, 272, 285, 306, 315, 316, 33432, _XMP)  # document, maker, model, page, time, artist, host, copyright
_GEOGRAPHIC = (33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113)  # GeoTIFF and GDAL: they count pixels
_PER_INCH = {2: 1.0, 3: 2.54}
_LARGEST_XML = 4_000_000  # characters
_ASCII = 2


def metadata_of(tiff: Any, page: Any) -> tuple[BigMetadata, tuple[str, ...]]:
    """Of a tifffile page, and what of it cannot be kept, in words."""
    icc = page.tags.get(_ICC)
    tags = tuple(tag for code in (*_DESCRIPTIVE, *_GEOGRAPHIC) if (tag := _as_written(page.tags.get(code))))
    lost = [f"the {name} data is not kept" for code, name in ((_EXIF, "EXIF"), (_GPS, "GPS")) if code in page.tags]
    description = _raw(page.tags.get(_DESCRIPTION))
    foreign = tiff.is_ome or tiff.is_imagej or tiff.is_shaped
    orientation = page.tags.valueof(_ORIENTATION, 1)
    return BigMetadata(
        icc=bytes(icc.value) if icc is not None else None,
        dpi=_dpi(page),
        orientation=int(orientation) if 1 <= orientation <= 8 else 1,
        description=None if foreign else description,
        tags=tags,
        pixel_size=_pixel_size(description) if tiff.is_ome and description else None,
    ), tuple(lost)


def enlarged(metadata: BigMetadata, scale: int) -> tuple[BigMetadata, tuple[str, ...]]:
    """The metadata of an image with `scale` times as many pixels a side, and what no longer holds, in words."""
    if scale == 1:
        return metadata, ()
    tags = tuple(tag for tag in metadata.tags if tag[0] not in _GEOGRAPHIC)
    lost = () if len(tags) == len(metadata.tags) else ("the georeference is not kept: the pixels are smaller",)
    size, dpi = metadata.pixel_size, metadata.dpi
    changed = BigMetadata(
        icc=metadata.icc,
        dpi=None if dpi is None else (dpi[0] * scale, dpi[1] * scale),
        orientation=metadata.orientation,
        description=metadata.description,
        tags=tags,
        pixel_size=None if size is None else (size[0] / scale, size[1] / scale, size[2]),
        attributes=metadata.attributes,
    )
    return changed, lost


def ome_metadata(metadata: BigMetadata, *, gray: bool) -> dict[str, Any]:
    """Arguments from which tifffile writes OME-XML."""
    made: dict[str, Any] = {"axes": "YX" if gray else "YXS"}
    if metadata.pixel_size is not None:
        x, y, unit = metadata.pixel_size
        made |= {"PhysicalSizeX": x, "PhysicalSizeY": y, "PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    return made


def orientation_tag(orientation: int) -> tuple[TiffTag, ...]:
    """The tag for an image that does not lie upright."""
    return ((_ORIENTATION, 3, 1, (orientation,)),) if orientation != 1 else ()


def _as_written(tag: Any) -> TiffTag | None:
    """A tag of tifffile's as it takes one for writing; None for what is missing or of no plain type."""
    if tag is None:
        return None
    value = tag.value
    if isinstance(value, str):
        return int(tag.code), _ASCII, 0, _raw(tag) or b""
    if isinstance(value, bytes):
        return int(tag.code), int(tag.dtype), len(value), value
    values = value if isinstance(value, tuple) else (value,)
    plain = all(isinstance(number, int | float) for number in values)
    return (int(tag.code), int(tag.dtype), int(tag.count), values) if plain else None


def _raw(tag: Any) -> bytes | None:
    """The bytes of a text tag, without the zeros at its end."""
    if tag is None or not isinstance(tag.value, str | bytes):
        return None
    value = tag.value if isinstance(tag.value, bytes) else tag.value.encode("utf-8", "replace")
    return value.rstrip(b"\0") or None


def _dpi(page: Any) -> tuple[float, float] | None:
    factor = _PER_INCH.get(int(page.tags.valueof(_UNIT, 2)))
    values = [page.tags.valueof(code) for code in (_X_RESOLUTION, _Y_RESOLUTION)]
    if not factor or any(not isinstance(value, tuple) or 0 in value for value in values):
        return None
    return values[0][0] / values[0][1] * factor, values[1][0] / values[1][1] * factor


def _pixel_size(xml: bytes) -> tuple[float, float, str] | None:
    """PhysicalSizeX and Y of the first image in OME-XML."""
    if len(xml) > _LARGEST_XML or b"<!DOCTYPE" in xml:
        return None
    with contextlib.suppress(ElementTree.ParseError, ValueError, KeyError):
        for element in ElementTree.fromstring(xml).iter():  # noqa: S314 without a document type there are no entities
            if element.tag.endswith("}Pixels"):
                said = element.attrib
                return float(said["PhysicalSizeX"]), float(said["PhysicalSizeY"]), said.get("PhysicalSizeXUnit", "µm")
    return None
