"""Embeddings of many sounds: what is given, read ahead, batched, handed out."""
