"""The paper's downstream protocol: one linear layer on frozen embeddings."""
