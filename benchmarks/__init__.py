"""Speed and memory of hear_msss against peers and against the machine: ``python -m benchmarks``."""
