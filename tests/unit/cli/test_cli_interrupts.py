"""Ctrl-C while modules are being imported."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from restore_sdk.cli.interrupts import _not_losing_interrupts, keep_interrupts

PATIENCE = 20.0  # seconds; who is woken up waits for a fraction of one
SLOW_MODULE = "import signal\nsignal.raise_signal(signal.SIGINT)\nwhole = True\n"


def interrupted_while_waiting() -> None:
    """The wait itself is broken off, and not noticed when it is over."""
    late = threading.Event()
    watch = threading.Timer(PATIENCE / 2, late.set)
    watch.start()
    with pytest.raises(KeyboardInterrupt):
        threading.Event().wait(PATIENCE)
    watch.cancel()
    assert not late.is_set()


@pytest.fixture
def handled() -> Iterator[None]:
    before, hook = signal.signal(signal.SIGINT, signal.default_int_handler), sys.unraisablehook
    keep_interrupts()
    yield
    signal.signal(signal.SIGINT, before)
    sys.unraisablehook = hook


@pytest.mark.usefixtures("handled")
def test_an_import_is_finished_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_module.py").write_text(SLOW_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    slow_module = import_module("slow_module")
    interrupted_while_waiting()
    assert slow_module.whole


@pytest.mark.usefixtures("handled")
def test_other_work_is_interrupted_at_once() -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("handled")
def test_an_interrupt_that_has_no_caller_comes_again(capfd: pytest.CaptureFixture[str]) -> None:
    class Dying:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    dying = [Dying()]
    del dying[0]
    interrupted_while_waiting()
    assert capfd.readouterr().err == ""


def test_other_errors_that_have_no_caller_are_told_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "unraisablehook", _not_losing_interrupts(lambda lost: told.append(lost.exc_type)))

    class Failing:
        def __del__(self) -> None:
            raise OSError

    Failing()
    assert told == [OSError]


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_other_handlers_stay(handler: signal.Handlers) -> None:
    before = signal.signal(signal.SIGINT, handler)
    try:
        keep_interrupts()
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for a child process")
@pytest.mark.parametrize("package", ["restore_sdk", "export"])
def test_programs_have_no_traceback_whatever_they_were_importing(package: str) -> None:
    code = (
        "import runpy, signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'numpy':\n"
        "            signal.raise_signal(signal.SIGINT)\n"
        "            time.sleep(0.2)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        f"sys.argv = ['{package}', *sys.argv[1:]]\n"
        f"runpy.run_module('{package}', run_name='__main__')\n"
    )
    words = {"restore_sdk": ["image", "a.png", "-o", "b.png"], "export": ["verify", "a.onnx", "--against", "b.onnx"]}[package]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in (130, 3, 4)  # 3, 4: there is no such file, which it may say before it is interrupted again
    assert "Traceback" not in done.stderr
