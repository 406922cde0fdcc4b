"""The losses of the paper, one file each, and their sum."""

from pretrain.losses.clip import clip_accuracy, clip_loss
from pretrain.losses.cross_view import cross_view_loss
from pretrain.losses.frame import frame_loss
from pretrain.losses.pitch import pitch_error_semitones, pitch_loss, pitch_target
from pretrain.losses.similarity import BilinearSimilarity, CosineSimilarity
from pretrain.losses.total import MultipleSamplingLoss

__all__ = [
    "BilinearSimilarity",
    "CosineSimilarity",
    "MultipleSamplingLoss",
    "clip_accuracy",
    "clip_loss",
    "cross_view_loss",
    "frame_loss",
    "pitch_error_semitones",
    "pitch_loss",
    "pitch_target",
]
