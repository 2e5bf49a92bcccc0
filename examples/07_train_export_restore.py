"""The whole way in small: train without clean targets, export, restore. Needs the extras train and export, and a checkout.

A handful of steps of a thin network, so that it ends soon: it works, and has learnt next to nothing.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import cv2

from restore_sdk import Restorer

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "examples" / "images"
OF_THE_EXTRAS = ("torch", "lightning", "pydantic", "matplotlib", "safetensors", "onnx", "onnxscript", "onnxruntime")

missing = [name for name in OF_THE_EXTRAS if find_spec(name) is None]
if missing:
    sys.exit(f"not installed: {', '.join(missing)}; run in the repository: pip install -e '.[train,export]'")


def python(*arguments: str | Path) -> None:
    done = subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, check=False)
    if done.returncode != 0:  # it has said why
        sys.exit(done.returncode)


with tempfile.TemporaryDirectory() as folder:
    run, model = Path(folder, "runs", "small"), Path(folder, "small.onnx")
    small = ["name=small", f"run_root={run.parent}", "network.widths=[8, 8]", "trainer.max_steps=4", "data.validation_every=4"]
    settings = [word for setting in small for word in ("--set", setting)]
    python("-m", "training", "self_supervised", "--config", "configs/denoise.toml", "--data", IMAGES, *settings)
    python("-m", "export", "onnx", run, "-o", model)
    python("-m", "export", "verify", model, "--against", run)

    noisy = cv2.imread(str(IMAGES / "noisy_photo.png"))
    with Restorer(model, channel_order="bgr") as restorer:
        restored = restorer(noisy)

assert restored.shape == noisy.shape
assert restored.dtype == noisy.dtype
