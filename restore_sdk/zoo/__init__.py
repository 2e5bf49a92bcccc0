"""Bundled models: small .onnx files, and models.json with the digest, licence, training data and quality of each."""
