"""Videos by Deep Image Prior: frames in their order, each from the weights of the one before."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch")

from restore_sdk import Restorer
from restore_sdk.dip.options import DipOptions
from restore_sdk.dip_frames import FrameFits, scene_changed, thumbnail
from restore_sdk.dip_images import DipImages
from restore_sdk.errors import MaskError, OptionsError, RestorerClosedError
from restore_sdk.stream.errors import StreamError

if TYPE_CHECKING:
    from restore_sdk.stream.video import Progress

BRIGHT, DARK = np.full((20, 24, 3), 200, np.uint8), np.full((20, 24, 3), 20, np.uint8)
HOLE = np.zeros((20, 24), bool)
HOLE[6:10, 6:14] = True
HASTY = DipOptions(width="draft", max_iterations=6, warm=3)


def make_video(path: Path, count: int) -> Path:
    """Nearly gray pictures of 32 x 32 pixels."""
    import av

    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for number in range(count):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90 + number, np.uint8), format="rgb24")))
        output.mux(stream.encode(None))
    return path


def iterations(images: DipImages) -> int:
    """Of the fit that finished last."""
    last = images.report()["last_fit"]
    assert isinstance(last, dict)
    return int(last["iterations"])


def test_frames_start_warm_and_scene_cuts_start_anew() -> None:
    images = DipImages("dip-denoise", HASTY, device="cpu")
    fits = [made.outcome.fits[0] for made in images.frames([BRIGHT, BRIGHT + 1, DARK, DARK, DARK[:16]])]
    assert [fit.iterations for fit in fits] == [6, 3, 6, 3, 6]
    assert fits[1].trajectory[0].loss < fits[0].trajectory[0].loss
    assert not scene_changed(thumbnail(BRIGHT), thumbnail(BRIGHT + 1))
    assert scene_changed(thumbnail(BRIGHT), thumbnail(DARK))


def test_a_frame_after_one_with_a_coarse_start_goes_on_from_its_weights_and_their_input() -> None:
    rows, columns = np.mgrid[0:40, 0:50]
    frame = np.rint(255 * (0.5 + 0.4 * np.sin(rows / 6) * np.cos(columns / 7))).astype(np.uint8)
    options = DipOptions(width="draft", max_iterations=25, warm=1, coarse=6, stopping="none", input_noise=0.0)
    first, second = (made.outcome.fits[0] for made in DipImages("dip-denoise", options, device="cpu").frames([frame, frame]))
    assert second.trajectory[0].loss == pytest.approx(first.trajectory[-1].loss, rel=0.3)


def test_a_budget_below_that_of_warm_frames_holds_for_all() -> None:
    hasty = DipImages("dip-denoise", DipOptions(width="draft", max_iterations=2), device="cpu")  # below the usual 200 of warm
    assert [made.outcome.fits[0].iterations for made in hasty.frames([BRIGHT, BRIGHT])] == [2, 2]


def test_one_mask_for_all_frames() -> None:
    images = DipImages("dip-inpaint", HASTY, device="cpu")
    for made in images.frames([BRIGHT, BRIGHT + 1], HOLE):
        assert (made.image[~HOLE] == made.image[0, 0]).all()
        assert not (made.image[HOLE] == made.image[0, 0]).all()
    with pytest.raises(MaskError, match="needs a mask"):
        next(images.frames([BRIGHT]))
    with pytest.raises(MaskError, match="takes no mask"):
        DipImages("dip-denoise", HASTY, device="cpu").in_sequence(HOLE)


def test_frames_of_a_restorer_go_on_from_one_another() -> None:
    with Restorer("dip-denoise", device="cpu", dip=HASTY) as restorer:
        fits, tiles = restorer.in_sequence()
        assert tiles is None
        assert isinstance(fits, FrameFits)
        seen = []
        for frame in (BRIGHT, BRIGHT + 1):
            assert fits.restore(frame).shape == frame.shape
            seen.append(restorer.report()["last_fit"]["iterations"])  # type: ignore[index]
        assert seen == [6, 3]
        with restorer.stream([BRIGHT, BRIGHT + 1]) as restored:
            assert len(list(restored)) == 2
        assert restorer.report()["last_fit"]["iterations"] == 3  # type: ignore[index]
        assert fits.report()["task"] == "dip-denoise"
        assert fits.spec == restorer.spec


@pytest.mark.parametrize(("wish", "match"), [({"workers": 2}, "workers=2.*1 with"), ({"reuse": True}, "reuse=True.*tiles")])
def test_what_frames_in_order_cannot_do(wish: dict[str, object], match: str) -> None:
    with Restorer("dip-denoise", device="cpu", dip=HASTY) as restorer, pytest.raises(OptionsError, match=match):
        restorer.stream([BRIGHT], **wish)  # type: ignore[arg-type]
    with pytest.raises(OptionsError, match="1 with"):
        restorer_fits().in_sequence(workers=3)


def restorer_fits() -> FrameFits:
    return DipImages("dip-denoise", HASTY, device="cpu").in_sequence()


def test_a_stream_without_its_mask_says_which_frame() -> None:
    with (
        Restorer("dip-inpaint", device="cpu", dip=HASTY) as restorer,
        restorer.stream([BRIGHT]) as restored,
        pytest.raises(StreamError) as error,
    ):
        next(restored)
    assert isinstance(error.value.cause, MaskError)


def test_closing_a_stream_cuts_its_fit_short() -> None:
    images = DipImages("dip-denoise", DipOptions(width="draft", max_iterations=100_000, stopping="none"), device="cpu")
    fits = images.in_sequence()
    begun = threading.Event()

    def restore(frame: np.ndarray) -> np.ndarray:
        begun.set()
        return fits.restore(frame)

    from restore_sdk.stream.frames import stream_frames

    stream = stream_frames(restore, [BRIGHT], interrupt=fits.cancel)
    consumer = threading.Thread(target=lambda: next(stream, None), daemon=True)
    consumer.start()
    assert begun.wait(60)
    stream.close()  # would wait for 100 000 iterations
    consumer.join(60)
    assert iterations(images) < 100_000


def test_fits_that_were_cancelled_are_over() -> None:
    fits = DipImages("dip-inpaint", HASTY, device="cpu").in_sequence(HOLE)
    fits.restore(BRIGHT)
    fits.cancel()
    with pytest.raises(RestorerClosedError):
        fits.restore(BRIGHT)
    again, _ = fits.in_sequence()
    assert not (again.restore(BRIGHT)[HOLE] == BRIGHT[HOLE]).all()


def test_one_object_restores_two_videos(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="needs the extra [video]")
    from restore_sdk.stream.video import restore_video

    source, images = make_video(tmp_path / "in.mkv", 2), DipImages("dip-denoise", HASTY, device="cpu")
    fits = images.in_sequence()
    for name in ("first.mkv", "second.mkv"):
        restore_video(fits, source, tmp_path / name)
        assert iterations(images) == 3  # the second picture, from the weights of the first


def test_a_video_goes_on_from_picture_to_picture(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="needs the extra [video]")
    from restore_sdk.stream.video import restore_video
    from restore_sdk.stream.video_options import VideoOptions

    make_video(tmp_path / "in.mkv", 3)
    with Restorer("dip-denoise", device="cpu", dip=HASTY) as restorer:
        assert restore_video(restorer, tmp_path / "in.mkv", tmp_path / "out.mkv").frames == 3
        assert restorer.report()["last_fit"]["iterations"] == 3  # type: ignore[index]
        with pytest.raises(OptionsError, match="workers=2"):
            restore_video(restorer, tmp_path / "in.mkv", tmp_path / "two.mkv", VideoOptions(workers=2))


def test_a_video_is_kept_in_short_parts_and_resumed_with_the_same_mask_and_options_alone(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="needs the extra [video]")
    from restore_sdk.stream.video import restore_video
    from restore_sdk.stream.video_options import VideoOptions
    from restore_sdk.stream.video_parts import FIT_PART_FRAMES

    source, target, resume = make_video(tmp_path / "in.mkv", FIT_PART_FRAMES + 2), tmp_path / "out.mkv", VideoOptions(resume=True)
    mask = np.zeros((32, 32), np.uint8)
    mask[6:10, 6:14] = 255

    def fits(mask: np.ndarray, seed: int = 0) -> FrameFits:
        options = DipOptions(width="draft", max_iterations=1, seed=seed)
        return DipImages("dip-inpaint", options, device="cpu").in_sequence(mask)

    def stop(progress: Progress) -> None:
        if progress.done > FIT_PART_FRAMES:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_video(fits(mask), source, target, on_progress=stop)
    for other, change in ((fits(mask.T), "mask '"), (fits(mask, seed=1), r"started with \(seed 0 -> 1\)")):
        with pytest.raises(OptionsError, match=change):
            restore_video(other, source, target, resume)
    report = restore_video(fits(mask), source, target, resume)
    assert (report.resumed, report.frames) == (FIT_PART_FRAMES, FIT_PART_FRAMES + 2)
