"""From a checkpoint to one self-describing model file: python -m export."""
