"""`restore doctor`: what is installed, whether it fits together, and whether a small image comes out right."""

from __future__ import annotations

import dataclasses
import platform
import time
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import typer

from restore_sdk.cli.console import error_record, errors_reported, say, say_json
from restore_sdk.cli.exit_codes import ExitCode
from restore_sdk.cli.flags import Debug, Json
from restore_sdk.cli.installed import RUNTIMES, clashes, packages, runtimes
from restore_sdk.cuda.driver import cuda_driver
from restore_sdk.errors import MissingExtraError, ModelError, RestoreError
from restore_sdk.zoo.registry import list_models, verify_model

INSTALL_RUNTIME = "no runtime is installed; run: pip install 'restore-sdk[cpu]', or 'restore-sdk[cuda]' for an NVIDIA GPU"
RUNS_MODELS = frozenset(RUNTIMES) - {"torch"}

Model: TypeAlias = Annotated[str, typer.Option("--model", "-m", help="Model of the self-test and of --measure.")]
Measure: TypeAlias = Annotated[
    bool,
    typer.Option("--measure", help="Time the CPU runtimes on the model, and keep the result for --backend auto."),
]
Threads: TypeAlias = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads to measure with.", show_default="one for each physical core")
]


def doctor(
    *, model: Model = "denoise", measure: Measure = False, threads: Threads = None, as_json: Json = False, debug: Debug = False
) -> None:
    """Check the installation: versions, runtimes, clashes, CUDA driver, bundled models, and a self-test."""
    with errors_reported("doctor", as_json=as_json, debug=debug):
        findings = examine(model, measure=measure, threads=threads)
        if as_json:
            say_json({"command": "doctor", **findings})
        else:
            _say_findings(findings)
    raise typer.Exit(findings["exit_code"])


def examine(model: str, *, measure: bool = False, threads: int | None = None) -> dict[str, Any]:
    """Everything the doctor knows, as JSON types; "problems" is empty on a healthy machine and "exit_code" sums them up."""
    found, conflicts = runtimes(), clashes()
    has_runtime = any(runtime.module in RUNS_MODELS for runtime in found)
    findings: dict[str, Any] = {
        "platform": platform.platform(),
        "packages": packages(),
        "runtimes": [dataclasses.asdict(runtime) for runtime in found],
        "onnxruntime": _onnxruntime(),
        "cuda_driver": dataclasses.asdict(cuda_driver()),
        "gpu_backends": _gpu_backends() if has_runtime else None,
        "clashes": [dataclasses.asdict(clash) for clash in conflicts],
        "models": _bundled_models(),
    }
    findings["self_test"] = _self_test(model) if has_runtime else None
    unusable = findings["self_test"] is None or _is_unusable(findings["self_test"]["error"])
    findings["speed"] = None if unusable else _speed(model, measure=measure, threads=threads)
    problems = _problems(findings, has_runtime=has_runtime)
    code = next(iter(problems.values()), ExitCode.OK)
    return {"exit_code": int(code), "healthy": not problems, "problems": list(problems), "advice": _advice(findings), **findings}


def _onnxruntime() -> dict[str, Any] | None:
    """Execution providers of the ONNX Runtime that an import really gets; None without one."""
    from restore_sdk.backends.onnx_library import load_onnxruntime  # noqa: PLC0415 loads numpy

    try:
        onnxruntime = load_onnxruntime()
    except MissingExtraError:
        return None
    except ImportError as exc:
        return {"version": None, "providers": [], "error": str(exc)}
    return {"version": onnxruntime.__version__, "providers": onnxruntime.get_available_providers(), "error": None}


def _gpu_backends() -> dict[str, str | None]:
    """What `--backend auto` tries on a GPU, in its order, and why it would pass over each; None: it would not."""
    from restore_sdk.backends.opening import gpu_reasons  # noqa: PLC0415 loads numpy

    return gpu_reasons()


def _bundled_models() -> list[dict[str, Any]]:
    try:
        return [_verified(entry.name) for entry in list_models()]
    except ModelError as exc:
        return [{"name": "models.json", "ok": False, "error": error_record(exc)}]


def _verified(name: str) -> dict[str, Any]:
    try:
        verify_model(name)
    except ModelError as exc:
        return {"name": name, "ok": False, "error": error_record(exc)}
    return {"name": name, "ok": True, "error": None}


def _self_test(model: str) -> dict[str, Any]:
    """Restore a small picture whole and in exact tiles: on the CPU both must have the same bits."""
    from restore_sdk.cli.self_test import tiles_equal_whole  # noqa: PLC0415 loads numpy and OpenCV

    started = time.perf_counter()
    try:
        same = tiles_equal_whole(model)
        problem = None if same else {"type": "Mismatch", "message": "exact tiles differ from the whole image", "exit_code": 1}
    except (RestoreError, OSError, MemoryError) as exc:
        problem = error_record(exc)
    return {"model": model, "ok": problem is None, "seconds": round(time.perf_counter() - started, 3), "error": problem}


def _is_unusable(error: Mapping[str, Any] | None) -> bool:
    """Whether the model itself is at fault, so that nothing else needs to be asked of it."""
    return error is not None and error["exit_code"] in (ExitCode.MODEL, ExitCode.USAGE)


def _speed(model: str, *, measure: bool, threads: int | None) -> dict[str, Any]:
    """What `--backend auto` runs the model on and why, measured now if asked; "not_kept": why the measurement is lost."""
    from restore_sdk.cli.speed import choice_for  # noqa: PLC0415 loads numpy

    try:
        return {**choice_for(model, measure=measure, threads=threads), "error": None}
    except (RestoreError, OSError, MemoryError) as exc:
        return {"backend": None, "error": error_record(exc)}


def _problems(findings: Mapping[str, Any], *, has_runtime: bool) -> dict[str, ExitCode]:
    """What must be mended, the gravest first, with the exit code each leads to."""
    problems: dict[str, ExitCode] = {} if has_runtime else {INSTALL_RUNTIME: ExitCode.DEVICE}
    runtime = findings["onnxruntime"]
    if runtime is not None and runtime["error"] is not None:
        problems[f"onnxruntime is installed but cannot be imported: {runtime['error']}"] = ExitCode.DEVICE
    problems |= {_described(clash): ExitCode.DEVICE for clash in findings["clashes"] if clash["module"] == "onnxruntime"}
    for model in findings["models"]:
        if not model["ok"]:
            problems[model["error"]["message"]] = ExitCode.MODEL
    test = findings["self_test"]
    if test is not None and not test["ok"]:
        problems[f"self-test: {test['error']['message']}"] = ExitCode(test["error"]["exit_code"])
    speed = findings["speed"]
    if speed is not None and speed["error"] is not None:
        problems.setdefault(f"speed: {speed['error']['message']}", ExitCode(speed["error"]["exit_code"]))
    return problems


def _advice(findings: Mapping[str, Any]) -> list[str]:
    """What works but could be better."""
    advice = [_described(clash) for clash in findings["clashes"] if clash["module"] != "onnxruntime"]
    if findings["speed"] is not None and findings["speed"].get("not_kept"):
        advice.append(f"the measurement was not kept: {findings['speed']['not_kept']}")
    runtime, has_driver = findings["onnxruntime"], findings["cuda_driver"]["found"]
    if runtime is None or runtime["error"] is not None:
        return advice
    has_cuda = "CUDAExecutionProvider" in runtime["providers"]
    if has_driver and not has_cuda:
        advice.append("this GPU goes unused: pip uninstall -y onnxruntime, then pip install 'restore-sdk[cuda]'")
    if has_cuda and not has_driver:
        advice.append("onnxruntime-gpu finds no NVIDIA driver and will use the CPU; install the driver to use a GPU")
    return advice


def _described(clash: Mapping[str, Any]) -> str:
    return f"{' and '.join(clash['distributions'])} overwrite each other's {clash['module']}; run: {clash['remedy']}"


def _say_findings(findings: Mapping[str, Any]) -> None:
    say(f"platform     {findings['platform']}")
    for name, version in findings["packages"].items():
        say(f"package      {name} {version}")
    for runtime in findings["runtimes"]:
        say(f"runtime      {runtime['distribution'] or runtime['module']} {runtime['version'] or '(version unknown)'}")
    providers = findings["onnxruntime"] or {"providers": []}
    say(f"providers    {', '.join(providers['providers']) or 'none'}")
    driver = findings["cuda_driver"]
    say(f"CUDA driver  {'CUDA ' + (driver['cuda'] or 'unknown') if driver['found'] else 'none'} ({driver['detail']})")
    for name, why in (findings["gpu_backends"] or {}).items():
        say(f"GPU backend  {name}: {why or 'tried first by --backend auto'}")
    for model in findings["models"]:
        say(f"model        {model['name']}: {'sha256 ok' if model['ok'] else 'FAILED'}")
    test = findings["self_test"]
    if test is not None:
        say(f"self-test    {'exact tiles equal the whole image' if test['ok'] else 'FAILED'} ({test['seconds']:.2f} s)")
    speed = findings["speed"]
    if speed is not None and speed["error"] is None:
        say(f"auto         {speed['backend']}: {speed['why']}")
    for line in findings["advice"]:
        say(f"advice       {line}")
    for problem in findings["problems"]:
        say(f"problem      {problem}")
    say("healthy" if findings["healthy"] else "not healthy")
