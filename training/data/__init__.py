"""Image folders, crops and frozen corruption."""
