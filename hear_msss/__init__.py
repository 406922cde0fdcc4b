"""MSSS as a HEAR plugin: one frozen encoder for keywords, events, pitch and scenes.

The three functions of the HEAR API, https://hearbenchmark.com/hear-api.html:

>>> import torch, hear_msss
>>> model = hear_msss.load_model()
>>> audio = torch.zeros(2, 16000)                                  # two clips of 1 s, 16 kHz mono
>>> hear_msss.get_scene_embeddings(audio, model).shape[0]
2
>>> embeddings, times_ms = hear_msss.get_timestamp_embeddings(audio, model)
>>> times_ms[0, :3].tolist()
[0.0, 50.0, 100.0]
"""

from hear_msss.api import get_scene_embeddings, get_timestamp_embeddings, load_model
from hear_msss.version import __version__

__all__ = ["__version__", "get_scene_embeddings", "get_timestamp_embeddings", "load_model"]
