"""Deep Image Prior (Ulyanov, Vedaldi, Lempitsky, CVPR 2018): one damaged image, no training data, a loop that ends itself.

Importing this package loads no PyTorch; its modules other than `options` do.
"""

from __future__ import annotations

from restore_sdk.dip.options import DipOptions

__all__ = ["DipOptions"]
