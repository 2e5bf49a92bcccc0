from __future__ import annotations

import io
import sys
import warnings

import pytest
import typer

from restore_sdk.cli.console import FileProgress, build_shown, complain, errors_reported, message_of, note, say
from restore_sdk.errors import RestoreWarning

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """From here on stderr is a terminal. No fixture: pytest puts its own stderr back between set-up and call."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return screen


def one_file() -> None:
    with FileProgress(2) as progress:
        progress.file_started("[red]a.png")
        progress.tile_done(1, 4)
        progress.file_done()
        progress.say("restored  a.png")


def test_bars_on_a_terminal_and_results_on_stdout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    screen = terminal(monkeypatch)
    one_file()
    shown = screen.getvalue()
    assert "[red]a.png" in shown
    assert "tiles" in shown
    assert "1/4" in shown
    assert "restored" not in shown
    assert capsys.readouterr().out == "restored  a.png\n"


def test_a_single_tile_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    with FileProgress(1) as progress:
        progress.file_started("a.png")
        progress.tile_done(1, 1)
    assert "tiles" not in screen.getvalue()


def test_a_long_name_leaves_room_for_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    with FileProgress(1) as progress:
        progress.file_started("x" * 100 + ".png")
    assert "..." + "x" * 21 + ".png" in screen.getvalue()
    assert "x" * 22 not in screen.getvalue()


def test_results_go_above_the_bars_where_both_are_one_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    monkeypatch.setattr(sys, "stdout", Terminal())
    one_file()
    assert "restored  a.png" in screen.getvalue()


def test_no_bars_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    one_file()
    captured = capsys.readouterr()
    assert captured.out == "restored  a.png\n"
    assert captured.err == ""


def test_no_bars_on_a_dumb_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    one_file()
    assert screen.getvalue() == ""


def test_colour_on_a_terminal_unless_it_is_unwanted(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    complain(ValueError("x"), debug=False)
    assert "\x1b[1;31merror:" in screen.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    before = len(screen.getvalue())
    complain(ValueError("x"), debug=False)
    assert "31m" not in screen.getvalue()[before:]


def test_messages_are_not_markup_and_not_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    line = "[bold]" + "x" * 300 + ":smile:"
    note(line)
    say(line)
    captured = capsys.readouterr()
    assert captured.err == captured.out == line + "\n"


def test_memory_errors_name_the_remedy() -> None:
    assert "--tile 256" in message_of(MemoryError())


def test_warnings_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with errors_reported("image"):
        warnings.simplefilter("always")
        warnings.warn("the halo is short", RestoreWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: the halo is short\n"


def test_exit_and_broken_pipes_pass_through(capsys: pytest.CaptureFixture[str]) -> None:
    for error in (typer.Exit(3), BrokenPipeError()):
        with pytest.raises(type(error)), errors_reported("image"):
            raise error
    assert capsys.readouterr().err == ""


def test_a_build_after_its_block_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Restorer keeps the callback, and may build a wider engine while a result is printed."""
    screen = terminal(monkeypatch)
    with build_shown() as on_progress:
        assert on_progress is not None
        on_progress(0.5, "timing tactics")
    shown = screen.getvalue()
    assert "timing tactics" in shown
    assert shown.count(HIDE_CURSOR) == shown.count(SHOW_CURSOR) == 1
    on_progress(0.1, "a wider engine")
    assert screen.getvalue() == shown


def test_a_build_that_never_began_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    with build_shown() as on_progress:
        assert on_progress is not None
    shown = screen.getvalue()
    on_progress(0.1, "a wider engine")
    assert screen.getvalue() == shown
    assert HIDE_CURSOR not in shown
