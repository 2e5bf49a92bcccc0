"""Frames one after another: a bounded, ordered pipeline, and what feeds on it."""
