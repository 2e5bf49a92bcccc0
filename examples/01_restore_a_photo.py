"""A noisy photo in, a restored photo out: what `make demo` runs."""

from __future__ import annotations

from pathlib import Path

import cv2

from restore_sdk import Restorer
from restore_sdk.cli.compare import write_strip

ROOT = Path(__file__).resolve().parents[1]
IMAGES, OUT = ROOT / "examples" / "images", ROOT / "out"

noisy = cv2.imread(str(IMAGES / "noisy_photo.png"))
clean = cv2.imread(str(IMAGES / "clean_photo.png"))

with Restorer("denoise", channel_order="bgr") as restorer:
    restored = restorer(noisy)

OUT.mkdir(exist_ok=True)
cv2.imwrite(str(OUT / "restored.png"), restored)
write_strip(OUT / "before_after.png", noisy[..., ::-1], restored[..., ::-1])

before, after = cv2.PSNR(clean, noisy), cv2.PSNR(clean, restored)
print(f"PSNR against the clean photo: {before:.2f} dB noisy, {after:.2f} dB restored")
print(f"restored photo:  {OUT / 'restored.png'}")
print(f"before | after:  {OUT / 'before_after.png'}")
assert after > before
