"""Colour profiles are passed through as they are; this tells only whether one still describes the pixels.

Source: ICC.1:2022, section 7.2 (profile header: colour space at byte 16, signature at byte 36).
"""

from __future__ import annotations


def profile_fits(icc: bytes, *, gray: bool) -> bool:
    """Whether the profile is for gray (or for RGB) samples. A CMYK profile fits neither: its pixels were converted on reading."""
    return len(icc) >= 128 and icc[36:40] == b"acsp" and icc[16:20] == (b"GRAY" if gray else b"RGB ")
