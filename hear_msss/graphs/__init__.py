"""ONNX graphs of the encoder: made, kept, run."""
