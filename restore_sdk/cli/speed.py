"""The doctor's answer to which backend `auto` takes, and its measurement."""

from __future__ import annotations

import hashlib
from typing import Any

from restore_sdk.backends.choice import Choice, choose, fastest, store
from restore_sdk.backends.measuring import measure as measured
from restore_sdk.backends.opening import BY_SUFFIX
from restore_sdk.backends.regular_files import regular_bytes
from restore_sdk.errors import OptionsError
from restore_sdk.zoo.registry import find_model


def choice_for(model: str, *, measure: bool, threads: int | None) -> dict[str, Any]:
    """The backend that `auto` opens `model` with and why, as JSON types; with `measure` the runtimes are timed first and the
    result kept for next time. Raises what finding and opening the model raise, and OptionsError for a file to measure that
    only one runtime takes."""
    path, sha256 = find_model(model)
    only = next(iter(BY_SUFFIX.get(path.suffix.lower(), ())), None)
    if only is not None:
        if measure:
            raise OptionsError("model", model, f"an .onnx file with --measure: only {only} runs a {path.suffix} file")
        return _described(Choice(only, f"it runs {path.suffix} files"))
    digest = hashlib.sha256(regular_bytes(path)).hexdigest()
    if not measure:
        return _described(choose(lambda: digest, threads=threads))
    seconds = measured(path, sha256=sha256, threads=threads)
    not_kept = store(digest, threads, seconds)
    return {**_described(fastest(seconds)), "seconds_per_megapixel": seconds, "not_kept": not_kept}


def _described(choice: Choice) -> dict[str, Any]:
    return {"backend": choice.backend, "why": choice.why}
