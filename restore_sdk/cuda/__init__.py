"""Memory, streams and the pipeline of one CUDA device; knows no images."""
