"""Zarr arrays and OME-Zarr images, version 2 and 3 of the format: chunks in, chunks out.

An array is (y, x) or (y, x, c), or has axes named by OME-Zarr (NGFF 0.4 and 0.5), of which t and z count as one picture.
"""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from restore_sdk.errors import ImageReadError
from restore_sdk.extras import require
from restore_sdk.image.big_damage import DAMAGE, damage_told
from restore_sdk.image.big_facts import LARGEST_PIECE, MIB, BigFacts, BigMetadata, Record
from restore_sdk.image.big_publishing import written


class ZarrSource:
    """The picture in a Zarr store; of an OME-Zarr image the largest level. Not thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        zarr = require("zarr", "tiff")
        with damage_told(path, "it holds no readable Zarr array"):
            store = zarr.open(str(path), mode="r")
            self._attributes = dict(store.attrs)
            dataset = multiscale(self._attributes)
            if dataset is not None:
                store = store[dataset["datasets"][0]["path"]]
            self._array = store
            self._axes = _axes(store, dataset)
            self.facts = self._read_facts()

    def read(self, rows: slice, columns: slice) -> NDArray[Any]:
        """See BigSource.read."""
        places = {"y": rows, "x": columns, "c": slice(None)}
        with damage_told(self._path, f"a chunk of rows {rows.start} to {rows.stop - 1} is damaged"):
            region = np.asarray(self._array[tuple(places.get(axis, 0) for axis in self._axes)])
        kept = [axis for axis in self._axes if axis in places]
        region = region.transpose([kept.index(axis) for axis in "yxc" if axis in kept])
        if region.ndim == 3 and not self.facts.channels:
            region = region[..., 0]
        return region.astype(self.facts.dtype, copy=False)

    def close(self) -> None:
        """Nothing stays open."""

    def _read_facts(self) -> BigFacts:
        array, sizes = self._array, dict(zip(self._axes, self._array.shape, strict=True))
        chunks = dict(zip(self._axes, array.chunks, strict=True))
        channels, dtype = sizes.get("c", 1), np.dtype(array.dtype)
        if channels not in {1, 3, 4} or f"{dtype.kind}{dtype.itemsize}" not in {"u1", "u2", "f2", "f4"}:
            reason = f"its pixels are {channels} channels of {dtype}; save it as 1, 3 or 4 channels of uint8, uint16 or float32"
            raise ImageReadError(self._path, reason)
        stored = array.shards or array.chunks
        if int(np.prod(stored, dtype=np.int64)) * dtype.itemsize > LARGEST_PIECE:
            raise ImageReadError(
                self._path, f"its chunks {stored} do not fit {LARGEST_PIECE // MIB} MiB; save it in smaller ones"
            )
        others = [
            f"only the first of {sizes[axis]} along {axis} was read"
            for axis in self._axes
            if axis not in "yxc" and sizes[axis] > 1
        ]
        if array.shards:
            others.append("the chunks are not kept in shards")
        return BigFacts(
            format="ZARR",
            height=sizes["y"],
            width=sizes["x"],
            channels=channels if channels > 1 else 0,
            dtype=dtype.newbyteorder("="),
            tile=(chunks["y"], chunks["x"]),
            tiled=True,
            compression={
                "axes": self._axes,
                "zarr_format": int(array.metadata.zarr_format),
                "compressors": array.compressors,
                "filters": array.filters,
            },
            metadata=BigMetadata(attributes=self._attributes),
            notices=tuple(others),
        )


class ZarrTarget:
    """A Zarr store at `partial`, built like its source where that was one. `facts` are its own; their tile is the chunk."""

    keeps = True

    def __init__(self, path: Path, partial: Path, facts: BigFacts, scale: int) -> None:
        self._path, self._partial, self._facts, self._scale = path, partial, facts, scale
        self._zarr = require("zarr", "tiff")
        self._like: Mapping[str, Any] = facts.compression if facts.format == "ZARR" else {}
        self._axes: str = self._like.get("axes", "yxc" if facts.channels else "yx")
        self._array: Any = None

    def start(self, done: Iterable[Record]) -> list[Record]:
        """See BigTarget.start."""
        there: list[Record] = []
        name = self._dataset_path
        with written(self._path):
            with suppress(*DAMAGE):  # nothing usable is there: begin
                store = self._zarr.open(str(self._partial), mode="r+")
                self._array = store if name is None else store[name]
                there = [record for record in done if self._is_there(record)]
            if not there:
                shutil.rmtree(self._partial, ignore_errors=True)
                self._array = self._create(name)
        return there

    def write(self, top: int, left: int, pixels: NDArray[Any]) -> Record:
        """See BigTarget.write."""
        height, width = pixels.shape[:2]
        with written(self._path):
            self._array[self._place(top, left, height, width)] = self._as_stored(pixels)
        return {"at": [top, left, height, width], "crc": _checksum(pixels)}

    def finish(self, records: Iterable[Record]) -> tuple[str, ...]:
        """See BigTarget.finish."""
        return ("the colour profile is not kept: Zarr has no place for it",) if self._facts.metadata.icc else ()

    def close(self) -> None:
        """See BigTarget.close."""

    def discard(self) -> None:
        """See BigTarget.discard."""
        shutil.rmtree(self._partial, ignore_errors=True)

    @property
    def _dataset_path(self) -> str | None:
        dataset = multiscale(self._facts.metadata.attributes)
        return None if dataset is None else str(dataset["datasets"][0]["path"])

    def _create(self, name: str | None) -> Any:
        facts = self._facts
        sizes = {"y": facts.height, "x": facts.width, "c": max(1, facts.channels)}
        chunks = {"y": facts.tile[0], "x": facts.tile[1], "c": max(1, facts.channels)}
        options: dict[str, Any] = {key: self._like[key] for key in ("compressors", "filters") if key in self._like}
        options |= {
            "shape": tuple(sizes.get(axis, 1) for axis in self._axes),
            "chunks": tuple(chunks.get(axis, 1) for axis in self._axes),
            "dtype": facts.dtype,
        }
        version, attributes = self._like.get("zarr_format", 3), dict(facts.metadata.attributes)
        if name is None:
            return self._zarr.create_array(store=str(self._partial), zarr_format=version, attributes=attributes, **options)
        group = self._zarr.open_group(str(self._partial), mode="w", zarr_format=version)
        group.attrs.update(_one_level(attributes, self._axes, self._scale))
        return group.create_array(name, **options)

    def _place(self, top: int, left: int, height: int, width: int) -> tuple[Any, ...]:
        places = {"y": slice(top, top + height), "x": slice(left, left + width), "c": slice(None)}
        return tuple(places.get(axis, 0) for axis in self._axes)

    def _as_stored(self, pixels: NDArray[Any]) -> NDArray[Any]:
        planes = pixels[..., np.newaxis] if pixels.ndim == 2 and "c" in self._axes else pixels
        return planes.transpose(["yxc".index(axis) for axis in self._axes if axis in "yxc"])

    def _is_there(self, record: Record) -> bool:
        stored = np.asarray(self._array[self._place(*record["at"])])
        kept = [axis for axis in self._axes if axis in "yxc"]
        pixels = stored.transpose([kept.index(axis) for axis in "yxc" if axis in kept])
        return bool(_checksum(pixels) == record["crc"])


def _checksum(pixels: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(pixels).tobytes())


def multiscale(attributes: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first image of OME-Zarr metadata; None where there is none."""
    found = attributes.get("ome", attributes).get("multiscales")
    return dict(found[0]) if found else None


def _axes(array: Any, dataset: Mapping[str, Any] | None) -> str:
    """One letter for each axis. Raises ValueError for what is no picture."""
    count = array.ndim
    named = "".join(axis if isinstance(axis, str) else axis["name"] for axis in (dataset or {}).get("axes", ()))
    if not named:
        named = {2: "yx", 5: "tczyx"}.get(count, "cyx" if count == 3 and array.shape[2] not in {1, 3, 4} else "yxc")
    if len(named) != count or len(set(named)) != count or not set("yx") <= set(named):
        raise ValueError(f"its axes {array.shape} are not those of a picture")
    return named


def _one_level(attributes: dict[str, Any], axes: str, scale: int) -> dict[str, Any]:
    """OME-Zarr metadata of an image that has the largest level alone, with pixels `scale` times as small."""
    holder = attributes.get("ome", attributes)
    first = dict(holder["multiscales"][0])
    level = dict(first["datasets"][0])
    factors = [1 / scale if axis in "yx" else 1.0 for axis in axes]
    level["coordinateTransformations"] = [
        {**change, "scale": [value * factor for value, factor in zip(change["scale"], factors, strict=True)]}
        if change.get("type") == "scale"
        else change
        for change in level.get("coordinateTransformations", ())
    ]
    changed = {**holder, "multiscales": [{**first, "datasets": [level]}]}
    return {**attributes, "ome": changed} if "ome" in attributes else changed
