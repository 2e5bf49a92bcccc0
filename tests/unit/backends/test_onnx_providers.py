"""What each provider is told; the names of options are those of the real libraries."""

import dataclasses
import stat
from pathlib import Path

import pytest

from restore_sdk.backends.engine_profile import profile_for
from restore_sdk.backends.onnx_providers import GpuOptions, provider_settings
from restore_sdk.errors import OptionsError
from restore_sdk.spec import ModelSpec

# Found with `strings` in libonnxruntime_providers_cuda.so and _tensorrt.so of onnxruntime-gpu 1.31.1, and in the header of
# options inside onnxruntime-ep-nv-tensorrt-rtx-cu13 0.5.0
KNOWN = {
    "cuda": """device_id gpu_mem_limit arena_extend_strategy cudnn_conv_algo_search cudnn_conv_use_max_workspace use_tf32
        prefer_nhwc do_copy_in_default_stream enable_cuda_graph fuse_conv_bias has_user_compute_stream user_compute_stream
        sdpa_kernel use_ep_level_unified_stream cudnn_conv1d_pad_to_nc1d enable_cudnn gpu_external_alloc gpu_external_free""",
    "tensorrt": """device_id has_user_compute_stream user_compute_stream trt_max_workspace_size trt_fp16_enable trt_bf16_enable
        trt_int8_enable trt_engine_cache_enable trt_engine_cache_path trt_engine_cache_prefix trt_timing_cache_enable
        trt_timing_cache_path trt_profile_min_shapes trt_profile_opt_shapes trt_profile_max_shapes trt_cuda_graph_enable
        trt_engine_hw_compatible""",
    "rtx": """has_user_compute_stream user_compute_stream nv_max_workspace_size nv_profile_min_shapes nv_profile_opt_shapes
        nv_profile_max_shapes enable_cuda_graph nv_multi_profile_enable nv_runtime_cache_path""",
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def spec(small_spec: ModelSpec) -> ModelSpec:
    return dataclasses.replace(small_spec, sha256="ab" * 32)


@pytest.mark.parametrize("provider", KNOWN)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_option_is_one_that_the_library_knows(provider, precision: str, spec: ModelSpec) -> None:
    spec = dataclasses.replace(spec, precision=precision)
    options = GpuOptions(memory_mib=512, search="exhaustive")
    settings = provider_settings(provider, 1, options, spec, stream=7, graphs=True)
    assert set(settings) <= set(KNOWN[provider].split())
    assert all(isinstance(value, str) for value in settings.values())
    assert settings["user_compute_stream"] == "7"


def test_cuda_by_hand(spec: ModelSpec) -> None:
    assert provider_settings("cuda", 2, GpuOptions(memory_mib=3), spec, stream=None, graphs=False) == {
        "device_id": "2",
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": "0",
        "prefer_nhwc": "0",
        "arena_extend_strategy": "kSameAsRequested",
        "enable_cuda_graph": "0",
        "gpu_mem_limit": "3145728",
    }
    half = dataclasses.replace(spec, precision="fp16")
    assert provider_settings("cuda", 0, GpuOptions(), half, stream=None, graphs=True)["prefer_nhwc"] == "1"


def test_engines_of_the_tensorrt_provider_lie_in_a_private_folder_of_this_model(spec: ModelSpec, cache: Path) -> None:
    settings = provider_settings("tensorrt", 0, GpuOptions(), spec, stream=None, graphs=False)
    folder = Path(settings["trt_engine_cache_path"])
    assert folder.parent == cache / "restore-sdk" / "onnxruntime-tensorrt"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert settings["trt_timing_cache_path"] == str(folder)
    assert settings["trt_profile_min_shapes"] == "image:1x3x64x64"
    other = dataclasses.replace(spec, sha256="cd" * 32)
    assert provider_settings("tensorrt", 0, GpuOptions(), other, stream=None, graphs=False)["trt_engine_cache_path"] != str(
        folder
    )


@pytest.mark.parametrize(("precision", "flags"), [("fp32", ("0", "0")), ("fp16", ("1", "0")), ("int8", ("0", "1"))])
def test_tensorrt_may_use_the_precision_of_the_file_only(spec: ModelSpec, precision: str, flags: tuple[str, str]) -> None:
    spec = dataclasses.replace(spec, precision=precision)
    settings = provider_settings("tensorrt", 0, GpuOptions(), spec, stream=None, graphs=False)
    assert (settings["trt_fp16_enable"], settings["trt_int8_enable"]) == flags


def test_rtx_by_hand(spec: ModelSpec, cache: Path) -> None:
    profile = profile_for(spec, minimum=(8, 16), optimum=(32, 32), maximum=(64, 128), batch=2)
    settings = provider_settings("rtx", 3, GpuOptions(profile=profile), spec, stream=5, graphs=False)
    kept = Path(settings.pop("nv_runtime_cache_path"))
    assert kept.parent == cache / "restore-sdk" / "onnxruntime-rtx"
    assert settings == {
        "nv_profile_min_shapes": "image:1x3x8x16",
        "nv_profile_opt_shapes": "image:2x3x32x32",
        "nv_profile_max_shapes": "image:2x3x64x128",
        "user_compute_stream": "5",
        "has_user_compute_stream": "1",
    }


@pytest.mark.parametrize("provider", ["tensorrt", "rtx"])
def test_without_a_place_to_keep_engines_none_is_kept(provider, spec: ModelSpec, cache: Path) -> None:
    (cache / "restore-sdk").write_text("a file where the folder should be")
    settings = provider_settings(provider, 0, GpuOptions(), spec, stream=None, graphs=False)
    assert [name for name in settings if "cache" in name] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [({"memory_mib": 0}, "memory_mib=0"), ({"memory_mib": True}, "memory_mib=True"), ({"search": "best"}, "search='best'")],
)
def test_options_outside_their_range(arguments, says: str) -> None:
    with pytest.raises(OptionsError, match=says):
        GpuOptions(**arguments)


def test_profile_of_another_model(spec: ModelSpec) -> None:
    profile = profile_for(dataclasses.replace(spec, channels=1))
    with pytest.raises(OptionsError, match="3 channels"):
        provider_settings("rtx", 0, GpuOptions(profile=profile), spec, stream=None, graphs=False)
