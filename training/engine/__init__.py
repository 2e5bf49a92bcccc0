"""Checkpoints, metrics, run folders and the trainer."""
