"""Training without clean targets: python -m training METHOD --config FILE."""
