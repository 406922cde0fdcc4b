"""Speed and memory of hear_msss against peers and against the machine: ``python -m benchmarks``."""

GPU_PARTS = ("training-step", "pretrain-step", "embeddings", "encoder")
COMPILED_GPU_PARTS = ("compiled-training-step", "compiled-pretrain-step", "compiled-encoder")
