"""What `restore models` says of the fits to each image: models that have no file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from restore_sdk.options import DIP_METHOD, DipTask

EXTRA = "dip"
_FACTS = {
    "method": DIP_METHOD,
    "file": None,
    "trained_on": "nothing but the image itself",
    "how": "a network is fitted to each image, which takes minutes where a trained model takes milliseconds",
    "extra": EXTRA,
    "install": f"pip install 'restore-sdk[{EXTRA}]'",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DipModel:
    """A fit, in the words of `restore models`. needs: flags that it cannot do without; takes: flags that it alone looks at."""

    name: DipTask
    task: str
    summary: str
    needs: str | None = None
    takes: str | None = None

    def record(self) -> dict[str, Any]:
        """As JSON; `file` is null, which no bundled model's is."""
        return {**dataclasses.asdict(self), **_FACTS}

    def lines(self) -> tuple[str, str]:
        """Two lines of the list."""
        needs = "" if self.needs is None else f" needs {self.needs};"
        about = f"{'':17} fitted to each image in minutes;{needs} extra [{EXTRA}]: {_FACTS['install']}"
        return f"{self.name:<17} {self.task:<14} {'no file':>9}  {'':<12} {self.summary}", about


_EACH = (
    DipModel(name="dip-denoise", task="denoise", summary="Removes noise.", takes="--sigma"),
    DipModel(
        name="dip-inpaint",
        task="inpaint",
        summary="Fills lost pixels.",
        needs="--mask FILE (white is to be filled)",
        takes="--invert-mask",
    ),
    DipModel(name="dip-super-resolve", task="super_resolve", summary="Enlarges 2, 4 or 8 times.", takes="--scale 2|4|8"),
    DipModel(name="dip-deblur", task="restore", summary="Undoes a known blur.", needs="--kernel IMAGE|BLUR", takes="--sigma"),
)
DIP_MODELS: Mapping[str, DipModel] = MappingProxyType({model.name: model for model in _EACH})
