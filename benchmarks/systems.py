"""What is measured: our variants, the straightforward program and peers, with the same two functions."""

from __future__ import annotations

import contextlib
import copy
import io
import sys
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor

import hear_msss
from hear_msss import windows
from hear_msss.device import chunk_size
from hear_msss.encoder import Encoder, stock_network
from hear_msss.model import MSSS, shifted_bands
from hear_msss.options import Options
from hear_msss.tf32 import products
from hear_msss.weights import untrained_encoder

Embed = Callable[[Tensor], Tensor]
CPU = torch.device("cpu")


@dataclass
class System:
    """One contestant: audio ``(sounds, samples)`` at its own rate, on its device, to embeddings."""

    name: str
    sample_rate: int
    scene: Embed | None
    timestamps: Embed | None


def ours(name: str, encoder: Encoder, device: torch.device = CPU, **options: object) -> System:
    model = MSSS(encoder, Options.from_dict(options)).to(device)
    return System(
        name,
        16000,
        None if "encode_every" in options else lambda audio: hear_msss.get_scene_embeddings(audio, model),
        lambda audio: hear_msss.get_timestamp_embeddings(audio, model)[0],
    )


class Straightforward:
    """The same embeddings by the simplest program.

    Each window is cut from the waveform and gets its own mel spectrogram by torchaudio; the network is
    ``efficientnet_pytorch`` as it comes, in eager torch. As many windows go through it at a
    time as through ours.
    """

    def __init__(self, encoder: Encoder, device: torch.device = CPU) -> None:
        config = self.config = encoder.config
        self.mel = torchaudio.transforms.MelSpectrogram(
            sample_rate=config.sample_rate,
            n_fft=config.n_fft,
            win_length=config.win_length,
            hop_length=config.hop_length,
            f_min=config.f_min_hz,
            f_max=config.f_max_hz,
            n_mels=config.n_mels,
            center=False,
        ).to(device)
        self.network = stock_network(config).eval()
        self.network.load_state_dict(encoder.network.state_dict())
        self.network.to(device)
        self.encoder = copy.deepcopy(encoder).to(device)

    def _h(self, segments: Tensor, shifts: Tensor | None = None) -> Tensor:
        """h of segments, each shifted upwards by its number of mel bands in ``shifts``."""
        config, parts = self.config, []
        margin = (config.n_fft - config.win_length) // 2
        at_once = chunk_size(None, segments.device)
        for first, chunk in zip(range(0, len(segments), at_once), segments.split(at_once), strict=True):
            log_mel = torch.log(self.mel(F.pad(chunk, (margin, margin))) + config.log_offset)
            if shifts is not None:
                bands = shifted_bands(shifts[first : first + at_once], config.n_mels)
                log_mel = log_mel.gather(1, bands[..., None].expand_as(log_mel))
            x = (log_mel - config.log_mel_mean) / config.log_mel_std
            parts.append(self.encoder.head(self.network.extract_features(x[:, None])))
        return torch.cat(parts)

    def _segments(self, audio: Tensor, starts: list[int]) -> Tensor:
        return torch.cat([audio[:, s : s + self.config.segment_samples] for s in starts])

    @torch.no_grad()
    def timestamps(self, audio: Tensor) -> Tensor:
        count = windows.timestamp_count(audio.shape[1], 5, self.config)
        half = self.config.segment_samples // 2
        padded = F.pad(audio, (half, self.config.segment_samples))
        h = self._h(self._segments(padded, [k * 800 for k in range(count)]))
        return h[:, 1].view(count, len(audio), -1).transpose(0, 1)

    @torch.no_grad()
    def scene(self, audio: Tensor) -> Tensor:
        options = Options()
        chosen = windows.scene_windows(
            audio.shape[1], options.short_clip_windows, options.short_clip_band_shift, self.config
        )
        padded = F.pad(audio, (chosen.before, chosen.behind))
        segments = self._segments(padded, [int(s) * self.config.hop_length for s in chosen.starts])
        shifts = torch.from_numpy(chosen.shifts).to(audio.device)
        h = self._h(segments, shifts.repeat_interleave(len(audio)))
        return h.mean(dim=1).view(len(chosen.starts), len(audio), -1).mean(dim=0)


def passt(device: torch.device = CPU) -> System:
    """hear21passt's default architecture and front end with random weights, windows as it cuts them."""
    hub = types.ModuleType("timm.models._hub")  # of timm it imports only the downloader, not needed here
    hub.download_cached_file = None  # type: ignore[attr-defined]
    for name, module in (
        ("timm", types.ModuleType("timm")),
        ("timm.models", types.ModuleType("timm.models")),
        ("timm.models._hub", hub),
    ):
        sys.modules.setdefault(name, module)
    from hear21passt.models.passt import get_model
    from hear21passt.models.preprocess import AugmentMelSTFT
    from hear21passt.wrapper import PasstBasicWrapper

    mel = AugmentMelSTFT(
        n_mels=128, sr=32000, win_length=800, hopsize=320, n_fft=1024, freqm=48, timem=192, htk=False,
        fmin=0.0, fmax=None, norm=1, fmin_aug_range=10, fmax_aug_range=2000,
    )  # fmt: skip
    network = get_model(arch="passt_s_swa_p16_128_ap476", pretrained=False)
    model = PasstBasicWrapper(mel=mel, net=network, mode="all").eval().to(device)
    no_grad = torch.no_grad()
    no_grad(model.get_scene_embeddings)(torch.zeros(1, 32000, device=device))  # prints shapes the first time
    return System(
        "PaSST (hear21passt, random weights)",
        32000,
        no_grad(model.get_scene_embeddings),
        no_grad(lambda audio: model.get_timestamp_embeddings(audio)[0]),
    )


def panns(device: torch.device = CPU) -> System:
    """panns_hear's Cnn14 with random weights; its timestamps are 320 ms frames, repeated."""
    import panns_hear
    from panns_hear.models import Cnn14

    model = Cnn14(
        sample_rate=32000, window_size=1024, hop_size=320, mel_bins=64, fmin=50, fmax=14000, classes_num=527
    ).to(device)
    return System(
        "PANNs Cnn14 (panns_hear, random weights)",
        32000,
        lambda audio: panns_hear.get_scene_embeddings(audio, model),
        lambda audio: panns_hear.get_timestamp_embeddings(audio, model)[0],
    )


def crepe(device: torch.device = CPU) -> System:
    """torchcrepe's full model, an embedding every 50 ms; it takes one clip at a time."""
    import torchcrepe

    def timestamps(audio: Tensor) -> Tensor:
        where = str(device)
        return torch.cat(
            [torchcrepe.embed(clip[None], 16000, 800, model="full", device=where) for clip in audio]
        )

    return System("torchcrepe (full)", 16000, None, timestamps)


VARIANTS: dict[str, dict[str, object]] = {
    "hear_msss torch": {"backend": "torch"},
    "hear_msss torch, encode_every=1": {"backend": "torch", "encode_every": 1},
    "hear_msss torch, whole_clip": {"backend": "torch", "whole_clip": True},
}
ON_CPU: dict[str, dict[str, object]] = {
    "hear_msss onnxruntime": {"backend": "onnxruntime"},
    "hear_msss onnxruntime, encode_every=1": {"backend": "onnxruntime", "encode_every": 1},
}
ON_GPU: dict[str, dict[str, object]] = {"hear_msss torch, bf16": {"precision": "bf16"}}
PEERS: dict[str, Callable[[torch.device], System]] = {"PaSST": passt, "PANNs": panns, "torchcrepe": crepe}


def all_systems(device: torch.device = CPU) -> tuple[list[System], dict[str, str]]:
    """Everything that can be measured on a device, and why the rest cannot."""
    encoder = untrained_encoder()
    straight = Straightforward(encoder, device)
    found = [System("straightforward", 16000, straight.scene, straight.timestamps)]
    missing = {}
    variants = VARIANTS | (ON_CPU if device.type == "cpu" else ON_GPU)
    makers = {name: partial(ours, name, encoder, device, **options) for name, options in variants.items()}
    makers |= {name: partial(make, device) for name, make in PEERS.items()}
    for name, make in makers.items():
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                found.append(make())
        except ImportError as error:
            missing[name] = str(error)
        except Exception as error:
            if name not in PEERS:
                raise
            missing[name] = f"{type(error).__name__}: {error}"  # a peer that is too old for this torch, say
    with products(convolutions_in_tf32=False):
        _check_equal(found, device)
    return found, missing


def _check_equal(systems: list[System], device: torch.device) -> None:
    """Our windows and the straightforward way must give the same numbers, or else they do not compare."""
    audio = torch.randn(2, 24000, generator=torch.Generator().manual_seed(0)).to(device) / 10
    reference = systems[0]
    for system in systems[1:]:
        others = ("whole_clip", "bf16")
        if not system.name.startswith("hear_msss") or any(name in system.name for name in others):
            continue
        for kind in ("scene", "timestamps"):
            embed, expected = getattr(system, kind), getattr(reference, kind)(audio)
            if embed is None or (kind == "timestamps" and "encode_every=1" not in system.name):
                continue
            difference = float((embed(audio) - expected).abs().max())
            if not difference < 1e-3:
                raise RuntimeError(f"{system.name} differs from {reference.name} by {difference:g} in {kind}")
