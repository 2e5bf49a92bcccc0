"""`restore image -m dip-...`: what its flags come to, and what Ctrl-C leaves behind."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from restore_sdk.cli.dip import kernel_of, mask_of, options_of, restore_dip, wished
from restore_sdk.cli.dip_flags import DipFlags, StoppingChoice, WidthChoice
from restore_sdk.cli.dip_progress import FitBars, described, interruptible
from restore_sdk.cli.exit_codes import ExitCode, UsageError
from restore_sdk.cli.flags import Building, FinitePolicy, Metadata, Settings
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip.results import FitProgress
from restore_sdk.errors import ImageReadError, RestoreWarning

SHORT = {"width": WidthChoice.DRAFT, "max_iterations": 3}


def settings(model: str = "dip-denoise", **changes: Any) -> Settings:
    given = {"tile": "auto", "threads": None, "metadata": Metadata.KEEP, "overwrite": False, "compare": None, "backend": "auto"}
    return Settings(model=model, device="cpu", **{**given, **changes})


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)
    return path


def run(photo: Path, flags: DipFlags, model: str = "dip-denoise", as_json: bool = False, **changes: Any) -> ExitCode:
    out = str(photo.with_name("out.png"))
    return restore_dip([str(photo)], out, settings(model, **changes), flags, as_json=as_json, debug=False)


def pixels_of(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_flags_become_options() -> None:
    flags = DipFlags(sigma=51, scale=2, width=WidthChoice.QUALITY, stopping=StoppingChoice.HELD_OUT, max_seconds=5, seed=3)
    assert options_of(flags) == DipOptions(sigma=0.2, scale=2, width="quality", stopping="held-out", max_seconds=5, seed=3)
    assert options_of(DipFlags()) == DipOptions()


def test_a_kernel_is_text_or_an_image(tmp_path: Path) -> None:
    Image.fromarray(np.full((3, 3), 200, np.uint8)).save(tmp_path / "kernel.png")
    assert kernel_of("gaussian-blur:sigma=2") == "gaussian-blur:sigma=2"
    with pytest.raises(ImageReadError, match=r"^cannot read none\.png: there is no such file; .*gaussian-blur"):
        kernel_of("none.png")
    options = options_of(DipFlags(kernel=str(tmp_path / "kernel.png")))
    assert np.asarray(options.kernel) == pytest.approx(1 / 9)
    transparent = np.full((3, 3, 4), 200, np.uint8)
    transparent[:, ::2, 3] = 0
    Image.fromarray(transparent).save(tmp_path / "column.png")
    column = np.asarray(options_of(DipFlags(kernel=str(tmp_path / "column.png"))).kernel)
    assert column == pytest.approx(np.array([[0, 1, 0]] * 3) / 3)


def test_denoising_writes_picture_trace_and_json(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(photo, DipFlags(trace=photo.with_name("trace.png"), **SHORT), as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert (code, said["exit_code"], said["counts"]) == (ExitCode.OK, 0, {"restored": 1})
    fit = said["files"][0]["fit"]
    assert (fit["iterations"], fit["stop_reason"], fit["still_improving"]) == (3, "max_iterations", True)
    assert "still improving: raise --max-iterations" in said["files"][0]["notices"]
    assert said["runtime"]["task"] == "dip-denoise"
    assert pixels_of(photo.with_name("out.png")).shape == (20, 24, 3)
    assert pixels_of(photo.with_name("trace.png")).shape[1] > 500


def test_inpainting_fills_what_is_white(photo: Path) -> None:
    mask = np.zeros((20, 24), np.uint8)
    mask[4:9, 6:11] = 255
    Image.fromarray(mask).save(photo.with_name("mask.png"))
    assert run(photo, DipFlags(mask=photo.with_name("mask.png"), **SHORT), "dip-inpaint") is ExitCode.OK
    before, after = pixels_of(photo), pixels_of(photo.with_name("out.png"))
    assert np.array_equal(before[mask == 0], after[mask == 0])
    assert not np.array_equal(before[mask == 255], after[mask == 255])


@pytest.mark.parametrize(
    ("model", "flags", "reason"),
    [
        ("dip-inpaint", {}, r"^-m dip-inpaint needs --mask FILE"),
        ("dip-deblur", {}, r"^-m dip-deblur needs --kernel IMAGE\|BLUR"),
        (
            "dip-inpaint",
            {"mask": Path("m.png"), "kernel": "a"},
            "^--kernel: for -m dip-deblur only, not 'dip-inpaint'; leave it out",
        ),
        ("dip-inpaint", {"mask": Path("m.png"), "scale": 2}, "^--scale: for -m dip-super-resolve only, not 'dip-inpaint'"),
        ("dip-denoise", {"mask": Path("m.png")}, "^--mask: for -m dip-inpaint only, not 'dip-denoise'.*or pass -m dip-inpaint$"),
        ("dip-denoise", {"invert_mask": True}, "^--invert-mask: for -m dip-inpaint only"),
        ("dip-super-resolve", {"sigma": 9.0}, "^--sigma: for -m dip-denoise and dip-deblur only, not 'dip-super-resolve'"),
        ("dip-denoise", {"sigma": 9.0, "stopping": StoppingChoice.WMV}, "^--sigma: --stopping wmv does not look at it"),
    ],
)
def test_flags_belong_to_their_fits(photo: Path, model: str, flags: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        run(photo, DipFlags(**flags), model)
    assert not photo.with_name("out.png").exists()


@pytest.mark.parametrize(
    ("model", "flags"),
    [
        ("dip-denoise", {"sigma": 9.0}),
        ("dip-deblur", {"sigma": 9.0, "kernel": "gaussian-blur:sigma=2", "stopping": StoppingChoice.AUTO}),
        ("dip-inpaint", {"sigma": 9.0, "mask": Path("m.png"), "stopping": StoppingChoice.DISCREPANCY}),
        ("dip-super-resolve", {"scale": 8, "seed": 1}),
    ],
)
def test_flags_that_belong_are_taken(model: str, flags: dict[str, Any]) -> None:
    DipFlags(**flags).check_used(model)


@pytest.fixture
def mask_file(photo: Path) -> Path:
    """5 % of the photo are white."""
    mask = np.zeros((20, 24), np.uint8)
    mask[4:8, 6:12] = 255
    Image.fromarray(mask).save(photo.with_name("mask.png"))
    return photo.with_name("mask.png")


@pytest.mark.parametrize("colour", [(255, 255, 255), (255, 0, 0)])
def test_white_or_a_full_colour_marks_and_transparent_does_not(photo: Path, colour: tuple[int, int, int]) -> None:
    layer = np.zeros((20, 24, 4), np.uint8)
    layer[..., :3] = colour  # transparent pixels of a layer have some colour too
    layer[4:8, 6:12, 3] = 255
    Image.fromarray(layer).save(photo.with_name("layer.png"))
    assert np.array_equal(mask_of(DipFlags(mask=photo.with_name("layer.png"))), layer[..., 3] > 0)


def test_a_mask_that_looks_inverted_is_told(mask_file: Path) -> None:
    plain = mask_of(DipFlags(mask=mask_file))
    assert plain is not None
    assert plain.sum() == 24
    with pytest.warns(
        RestoreWarning, match="^95% of the pixels are to be filled; is the mask inverted\\? leave out --invert-mask$"
    ):
        inverted = mask_of(DipFlags(mask=mask_file, invert_mask=True))
    assert np.array_equal(inverted, ~plain)
    Image.fromarray(np.where(plain, 0, 255).astype(np.uint8)).save(mask_file)
    with pytest.warns(RestoreWarning, match="is the mask inverted\\? pass --invert-mask$"):
        mask_of(DipFlags(mask=mask_file))
    again = mask_of(DipFlags(mask=mask_file, invert_mask=True))
    assert np.array_equal(again, plain)


@pytest.mark.parametrize(
    ("white", "inverted", "said"),
    [(255, None, "24 x 20 pixels, marks every.*with --inv"), (0, None, "no pixel"), (0, True, "every.*without --inv")],
)
def test_a_mask_that_leaves_nothing_is_wrong_usage(mask_file: Path, white: int, inverted: bool | None, said: str) -> None:
    Image.fromarray(np.full((20, 24), white, np.uint8)).save(mask_file)
    with pytest.raises(UsageError, match=said):
        mask_of(DipFlags(mask=mask_file, invert_mask=inverted))


def test_an_inverted_mask_is_warned_of_once(photo: Path, mask_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(RestoreWarning) as caught:
        assert run(photo, DipFlags(mask=mask_file, invert_mask=True, **SHORT), "dip-inpaint") is ExitCode.OK
    assert len(caught) == 1
    before, after = pixels_of(photo), pixels_of(photo.with_name("out.png"))
    assert np.array_equal(before[4:8, 6:12], after[4:8, 6:12])
    assert not np.array_equal(before[10:], after[10:])
    assert "ended by max_iterations; still improving: raise --max-iterations" in capsys.readouterr().err


def test_the_first_interrupt_writes_the_best_so_far(
    photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def press(self: FitBars, progress: FitProgress) -> None:
        if progress.iteration == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(FitBars, "iterated", press)
    code = run(photo, DipFlags(width=WidthChoice.DRAFT, max_iterations=50))
    assert code is ExitCode.INTERRUPTED
    assert photo.with_name("out.png").is_file()
    said = capsys.readouterr().err
    assert "the best so far will be written" in said
    assert "2 iterations, ended by cancelled" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_interrupt_interrupts(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with interruptible() as interrupt:
        signal.raise_signal(number)
        assert interrupt()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(
    ("flags", "changes", "reason"),
    [
        ({"trace": Path("trace.jpg")}, {}, "end its name in .png"),
        ({}, {"compare": Path("strip.png")}, "--trace"),
    ],
)
def test_what_does_not_go_together_is_refused_first(
    photo: Path, flags: dict[str, Any], changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        run(photo, DipFlags(**flags), **changes)
    assert not photo.with_name("out.png").exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"backend": "openvino"}, "^--backend openvino: expected 'auto' or 'torch'"),
        ({"tile": "exact"}, "^--tile exact: expected 'auto', the side of a tile in pixels"),
        ({"tile": 32}, "^--tile 32: expected 96 "),
        ({"build": Building.NEVER}, "^--build never: expected 'wait'"),
        ({"finite": FinitePolicy.FALLBACK}, "^--finite fallback: expected 'raise'"),
    ],
)
def test_flags_of_trained_models_are_wrong_usage(photo: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        run(photo, DipFlags(**SHORT), **changes)
    assert not photo.with_name("out.png").exists()


def test_a_tile_is_a_side_in_pixels() -> None:
    assert wished(DipOptions(seed=2), settings(tile=128, backend="torch")) == DipOptions(seed=2, tile=128)


@pytest.mark.parametrize("name", ["photo.png", "out.png", "mask.png"])
def test_a_trace_replaces_no_file_of_the_run(photo: Path, mask_file: Path, name: str) -> None:
    before = {path: path.read_bytes() for path in photo.parent.iterdir()}
    flags = DipFlags(mask=mask_file, trace=photo.with_name(name), **SHORT)
    with pytest.raises(UsageError, match=f"^--trace .*{name} is an input or the target itself; name another file"):
        run(photo, flags, "dip-inpaint", overwrite=True)
    assert {path: path.read_bytes() for path in photo.parent.iterdir()} == before


def test_the_result_does_not_replace_the_mask(photo: Path, mask_file: Path) -> None:
    before = mask_file.read_bytes()
    mask_file.rename(photo.with_name("out.png"))
    with pytest.raises(UsageError, match=r"^--out is the file of --mask or --kernel"):
        run(photo, DipFlags(mask=photo.with_name("out.png"), **SHORT), "dip-inpaint", overwrite=True)
    assert photo.with_name("out.png").read_bytes() == before


def test_flags_with_another_model_are_refused() -> None:
    DipFlags().check_unused("denoise")
    with pytest.raises(UsageError, match=r"--mask, --max-seconds.*'denoise'"):
        DipFlags(mask=Path("m.png"), max_seconds=3).check_unused("denoise")


def test_progress_in_words() -> None:
    progress = FitProgress(3, 9, 0.0123, 1.5e-4, 2.0, 1, 4, lambda: np.zeros((1, 1, 1), np.float32))
    assert described(progress) == "loss 0.0123, score 1.50e-04, 1 of 4 tiles"
