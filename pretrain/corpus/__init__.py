"""The corpus: from any folders of sound to batches of anchor and positive segments."""
