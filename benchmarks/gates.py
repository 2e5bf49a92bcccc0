"""Every limit the benchmarks hold the project to, in one table, and how a figure is compared with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.schema import Figure, Outcome, Verdict


@dataclass(frozen=True, slots=True)
class Gate:
    """`figure` of `benchmark` must be at least / at most `limit`. "must" makes the script exit non-zero, "aim" is shown only."""

    benchmark: str
    figure: str
    sense: Literal["at least", "at most"]
    limit: float
    unit: str
    kind: Literal["must", "aim"]

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.sense == "at least" else value <= self.limit

    @property
    def want(self) -> str:
        return f"{self.sense} {self.limit:g} {self.unit}".rstrip()


GATES: tuple[Gate, ...] = (
    Gate("quality", "cbsd68_sigma25_psnr", "at least", 30.3, "dB", "must"),
    Gate("quality", "cbsd68_sigma25_psnr", "at least", 30.71, "dB", "aim"),  # CBM3D
    Gate("quality", "cbsd68_sigma5_gain", "at least", 0.0, "dB", "must"),  # a nearly clean image does not get worse
    Gate("quality", "cbsd68_sigma25_over_classical", "at least", 0.0, "dB", "aim"),
    Gate("quality", "polyu_gain", "at least", 0.0, "dB", "aim"),
    Gate("latency", "restore_over_bare_1mp", "at most", 1.03, "x", "must"),
    Gate("latency", "restore_added_64", "at most", 100.0, "us", "must"),
    Gate("latency", "restore_added_identity_64", "at most", 60.0, "us", "aim"),
    Gate("latency", "dncnn_over_model_512", "at least", 6.0, "x", "must"),
    Gate("latency", "dncnn_over_model_1mp", "at least", 6.0, "x", "must"),
    Gate("latency", "dncnn_over_model_1mp", "at least", 9.0, "x", "aim"),
    Gate("latency", "fma_share_512", "at least", 65.0, "%", "must"),
    Gate("latency", "sgemm_share_512", "at least", 75.0, "%", "aim"),
    Gate("latency", "spinning_by_default", "at most", 0.0, "", "must"),
    Gate("latency", "torch_loaded_after_restore", "at most", 0.0, "", "must"),
    Gate("latency", "start_up_cpu", "at most", 0.5, "s", "aim"),
    Gate("latency", "probe_variation", "at most", 10.0, "%", "must"),  # above it the machine was busy and the times are void
    Gate("backends", "cpu_host_1024_onnxruntime_fp32_speed", "at least", 1.0, "x", "must"),  # of eager PyTorch
    Gate("backends", "cpu_host_1024_openvino_int8_speed", "at least", 2.0, "x", "aim"),
    Gate("backends", "cuda_host_1024_torch_fp16_speed", "at least", 1.0, "x", "must"),
    Gate("backends", "cuda_host_1024_tensorrt_fp16_speed", "at least", 1.0, "x", "must"),
    Gate("backends", "probe_variation", "at most", 10.0, "%", "must"),
    Gate("tiling", "tile_loop_over_restore", "at least", 1.3, "x", "must"),
    Gate("tiling", "tile_loop_channels_last_over_restore", "at least", 1.0, "x", "must"),
    Gate("tiling", "restore_peak_over_tile_loop", "at most", 1.0, "x", "must"),
    Gate("tiling", "tiles_auto_over_formula", "at most", 1.05, "x", "must"),
    Gate("tiling", "tiles_512_over_formula", "at most", 1.05, "x", "must"),
    Gate("tiling", "values_differing_from_whole", "at most", 0.0, "", "must"),
    Gate("tiling", "probe_variation", "at most", 10.0, "%", "must"),
    Gate("memory", "peak_over_bound_12mp", "at most", 1.0, "x", "must"),
    Gate("memory", "peak_over_bound_48mp", "at most", 1.0, "x", "must"),
    Gate("video", "pipeline_share", "at least", 90.0, "%", "must"),
    Gate("video", "memory_growth", "at most", 20.0, "MB", "must"),
    Gate("video", "opencv_loop_over_pipeline", "at least", 1.0, "x", "aim"),
    Gate("video", "probe_variation", "at most", 10.0, "%", "must"),
    Gate("gigapixel", "extra_peak_uninterrupted", "at most", 600.0, "MB", "must"),
    Gate("gigapixel", "extra_peak_resumed", "at most", 600.0, "MB", "must"),
    Gate("gigapixel", "killed_half_way", "at least", 1.0, "", "must"),
    Gate("gigapixel", "resumed_file_differs", "at most", 0.0, "", "must"),
    Gate("gigapixel", "values_differing_from_whole", "at most", 0.0, "", "must"),
    Gate("dip", "gap_mean", "at most", 0.5, "dB", "must"),
    Gate("dip", "gap_largest", "at most", 1.2, "dB", "must"),
    Gate("dip", "inpaint_over_opencv_least", "at least", 0.0, "dB", "must"),
    Gate("dip", "tf32_loss_mean", "at most", 0.1, "dB", "must"),
    Gate("dip", "bf16_loss_mean", "at most", 0.1, "dB", "must"),
    Gate("dip", "compiled_loss_mean", "at most", 0.1, "dB", "must"),
    Gate("dip", "tf32_compiled_loss_mean", "at most", 0.1, "dB", "must"),
    Gate("dip", "bf16_compiled_loss_mean", "at most", 0.1, "dB", "must"),
    Gate("dip", "deepinv_seconds_over_ours_least", "at least", 1.0, "x", "must"),
    *(
        Gate("noise-level", f"{name}_{sigma}_ours_rms", "at most", most, "%", "must")
        for name in ("cbsd68", "kodak24")
        for sigma, most in ((5, 15.0), (10, 10.0), (25, 5.0), (50, 10.0))
    ),
    *(
        Gate("unir", f"{corruption}_{figure}", "at least", 0.0, "dB", "must")
        for corruption in ("remove_pixel", "remove_pixel_channel", "convolve_noise", "patch_band")
        for figure in ("d_over_a", "d_over_c", "d_over_e", "fg_over_b")
    ),
    Gate("filling", "cbsd68_9_over_opencv", "at least", 0.0, "dB", "must"),
    Gate("filling", "cbsd68_5_over_opencv", "at least", 0.0, "dB", "aim"),
    Gate("unir", "remove_pixel_h_over_fg", "at most", 1.0, "dB", "must"),
    Gate("unir", "remove_pixel_channel_h_over_fg", "at most", 1.0, "dB", "must"),
)


def apply_gates(benchmark: str, figures: Iterable[Figure], gates: Sequence[Gate] = GATES) -> list[Outcome]:
    """One outcome for each gate of `benchmark`, in the table's order; a figure that was not measured neither passes nor fails."""
    values = {figure.name: figure.value for figure in figures}
    return [_outcome(gate, values.get(gate.figure)) for gate in gates if gate.benchmark == benchmark]


def failures(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """The outcomes that make a run fail."""
    return [outcome for outcome in outcomes if outcome.kind == "must" and outcome.verdict == "fail"]


def _outcome(gate: Gate, value: float | None) -> Outcome:
    verdict: Verdict = "not measured"
    if value is not None:
        verdict = "pass" if gate.holds(value) else "fail"
    return Outcome(figure=gate.figure, kind=gate.kind, want=gate.want, value=value, verdict=verdict)
