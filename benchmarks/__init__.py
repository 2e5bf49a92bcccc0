"""Measurements that back every figure the project states: each script prints its table and compares it with its limits."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before ONNX Runtime is imported: its builds send usage data
