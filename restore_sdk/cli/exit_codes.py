"""Exit codes of the program, and which error ends in which."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import IntEnum

from restore_sdk import errors


class ExitCode(IntEnum):
    """What the shell sees."""

    OK = 0
    INTERNAL = 1  # a bug of ours
    USAGE = 2  # flags, options and paths that do not go together
    IMAGE = 3  # no input could be read, or no target written
    MODEL = 4  # missing, damaged, or of another hash
    DEVICE = 5  # the device, its provider or the extra that brings it is not here, or the runtime failed
    PARTIAL = 6  # some files failed, the others are done
    MEMORY = 7
    INTERRUPTED = 130


class UsageError(errors.RestoreError):
    """Arguments that each parse but do not go together."""


# The first row whose class fits decides, so a class stands above its bases.
CODE_OF: Mapping[type[BaseException], ExitCode] = {
    KeyboardInterrupt: ExitCode.INTERRUPTED,
    MemoryError: ExitCode.MEMORY,
    errors.DeviceMemoryError: ExitCode.MEMORY,
    errors.BackendError: ExitCode.DEVICE,
    errors.MissingExtraError: ExitCode.DEVICE,
    errors.ModelError: ExitCode.MODEL,
    errors.ImageError: ExitCode.IMAGE,
    errors.MaskError: ExitCode.USAGE,
    errors.OptionsError: ExitCode.USAGE,
    errors.TilingError: ExitCode.USAGE,
    UsageError: ExitCode.USAGE,
    OSError: ExitCode.IMAGE,
}


def exit_code(error: BaseException) -> ExitCode:
    """Code for `error`; INTERNAL for anything that restore_sdk does not raise on purpose."""
    return next((code for kind, code in CODE_OF.items() if isinstance(error, kind)), ExitCode.INTERNAL)


def combined(failures: Collection[ExitCode], successes: int) -> ExitCode:
    """Code of a run over several files: PARTIAL as soon as one succeeded beside a failure or the failures differ in kind."""
    if not failures:
        return ExitCode.OK
    kinds = set(failures)
    return kinds.pop() if not successes and len(kinds) == 1 else ExitCode.PARTIAL
