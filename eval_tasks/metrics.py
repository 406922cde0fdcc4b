"""What heareval's scores are called wherever a person reads them."""

from __future__ import annotations

METRICS = {
    "top1_acc": "accuracy",
    "pitch_acc": "pitch accuracy",
    "chroma_acc": "chroma accuracy",
    "event_onset_200ms_fms": "onset F1, 200 ms",
    "event_onset_50ms_fms": "onset F1, 50 ms",
    "event_onset_offset_50ms_20perc_fms": "onset and offset F1, 50 ms",
    "segment_1s_er": "segment error rate (low is good)",
    "mAP": "mAP",
    "d_prime": "d'",
    "aucroc": "AUC",
}
LOW_IS_GOOD = {"segment_1s_er"}


def metric_name(metric: str) -> str:
    """The name of one of heareval's scores; an unknown one keeps heareval's name."""
    return METRICS.get(metric, metric)
