"""Shared networks."""
