"""Every setting of a training run: its default, the names that it can take, and what is checked of it."""

from __future__ import annotations

import difflib
import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_type_hints

from hear_msss.config import ModelConfig
from pretrain.chunked import Chunks

BUDGETS = ("epochs", "steps", "minutes")
SIMILARITIES = ("bilinear", "cosine")
PITCH_TARGETS = ("ratio_minus_one", "semitones", "log2", "authors")
PITCH_SHIFTS = ("warp", "waveform")
POOLINGS = ("average", "maximum")
NOT_NEGATIVE = (
    *("weight_decay", "warmup_steps", "clip_gradient_norm", "alpha", "beta", "gamma", "delta"),
    *(
        "filter_db",
        "mix_share",
        "positive_filter_db",
        "positive_mix_share",
        "positive_noise",
        "random_gain_db",
    ),
    *("one_source_share", "validate_every", "seed"),
)


@dataclass(frozen=True)
class Settings:
    """Settings of one run. The fields of ``hear_msss.config.ModelConfig`` are settings, too.

    Attributes:
        seed: of everything random.
        epochs, steps, minutes: the budget; give exactly one. Minutes count over all resumes. With minutes,
            the schedule follows the clock, so a run does not repeat bit for bit.
        batch_size: clips of one step, over all processes; each gives x, x' and x-hat.
        chunk_segments: most segments in one pass through the encoder (and in one batch norm); 0: all.
        pass_per_view: no pass through the encoder (and no batch norm) holds segments of two views.
        recompute_chunks: embed each chunk twice, to hold the graph of only one at a time (``chunked.py``).
        accumulate: number of equal parts of the batch. Each has its own loss and negatives; the gradient is
            that of the mean loss.
        optimizer: ``adam`` or ``adamw``.
        learning_rate: after warm-up.
        weight_decay: of matrices and kernels, not of biases and norms.
        warmup_steps: steps in which the rate rises linearly; at most a tenth of the budget.
        schedule: ``constant`` or ``cosine`` (to zero at the end of the budget).
        clip_gradient_norm: largest norm of the gradient; 0 for no limit.
        ema_decay: of a moving average of the weights, which validation and export then use; 0 for none.
        precision: ``float32``, or ``bf16`` for the encoder under autocast. On CUDA, ``float32`` follows
            torch's flags: by default convolutions round to TF32, matrix products do not.
        compile: let ``torch.compile`` make the encoder's training passes faster. It takes a minute at the
            start, and again where the number of segments in a pass changes; it needs a C compiler.
        device: ``auto``, ``cpu`` or ``cuda``.
        similarity: ``bilinear`` (equations 1, 3) or ``cosine`` (equation 8).
        shared_similarity: one matrix W for the clip and the frame loss (the paper's letter), or one each.
        temperature: divides the cosine similarity.
        clip_pooling: h over time for the clip loss: ``average`` or ``maximum``.
        clip_both_directions: the clip loss also picks x among the anchors of the batch for each x'.
        clip_x_hat: the clip loss also picks x' for each x-hat. The loss is the mean over its pairs of views.
        alpha, beta: weights of the frame and the pitch loss (equation 7).
        gamma: weight of the cross-view frame loss, beyond the paper.
        delta: weight of the spectrum loss, beyond the paper: a linear layer must estimate the spectrum of
            each frame of x and x' from h.
        spectrum_components: how many numbers this layer estimates of each frame's log-mel, and of its fine
            spectrum.
        cross_view_other_segments: the cross-view loss also has frames of other segments as negatives.
        frame_neighbors: m of equation 4.
        pitch_target: what the pitch loss estimates: ``ratio_minus_one``, ``semitones``, ``log2``, or
            ``authors`` (the slip of the authors' code; see ``pretrain.losses.pitch_target``).
        pitch_shift: x-hat by frequency ``warp`` or ``waveform`` pitch shift (reference, slow).
        ratio_min, ratio_max: range of the frequency ratio of x-hat; both 1: it keeps its pitch.
        filter_db: standard deviation of the gains, an octave apart, of a random filter on x-hat, beyond
            the paper; 0: none.
        mix_share: largest share of another clip's sound in the power of x-hat, beyond the paper; 0: none.
        positive_filter_db, positive_mix_share: the same for x'.
        positive_noise: standard deviation of white noise on x', full scale = 1; 0: none.
        random_gain_db: each view gets a random gain, uniform from minus to plus this; 0: none.
        drop_connect_rate: stochastic depth of the encoder.
        batch_norm_momentum: share of the newest chunk in the running statistics that inference uses.
            The stock network's 0.01 suits many thousands of steps; in a short run the weights move away from
            such slow statistics (in one run, accuracy was 0.04 with them, and 0.43 with those of the batch).
        corpus_weights: share of each source, by name; empty: every clip alike.
        one_source_share: share of each batch that comes from one source, drawn anew each time, so that
            telling sources apart is not enough; 0: none.
        validation_fraction: of the files, held out for validation; the paper trains on all.
        init_from: weights file to start the encoder from; heads and optimizer start afresh.
        prefetch_batches: batches read ahead in the background.
        log_every, checkpoint_every, validate_every: steps between log lines, checkpoints, validations;
            validate_every 0: none.
        checkpoint_minutes: also write a checkpoint after so many minutes.
        validation_batch_size: clips of a validation batch (its clip accuracy depends on it).
        model: front end and encoder sizes.
    """

    seed: int = 0
    epochs: float | None = None
    steps: int | None = None
    minutes: float | None = None
    batch_size: int = 1024
    chunk_segments: int = 0
    pass_per_view: bool = False
    recompute_chunks: bool = True
    accumulate: int = 1
    optimizer: str = "adam"
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    warmup_steps: int = 0
    schedule: str = "constant"
    clip_gradient_norm: float = 0.0
    ema_decay: float = 0.0
    precision: str = "float32"
    compile: bool = False
    device: str = "auto"
    similarity: str = "bilinear"
    shared_similarity: bool = True
    temperature: float = 0.2
    clip_pooling: str = "average"
    clip_both_directions: bool = False
    clip_x_hat: bool = False
    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 0.0
    cross_view_other_segments: bool = False
    delta: float = 0.0
    spectrum_components: int = 128
    frame_neighbors: int = 0
    pitch_target: str = "ratio_minus_one"
    pitch_shift: str = "warp"
    ratio_min: float = 0.8
    ratio_max: float = 1.2
    filter_db: float = 0.0
    mix_share: float = 0.0
    positive_filter_db: float = 0.0
    positive_mix_share: float = 0.0
    positive_noise: float = 0.0
    random_gain_db: float = 0.0
    drop_connect_rate: float = 0.2
    batch_norm_momentum: float = 0.01
    corpus_weights: dict[str, float] = field(default_factory=dict)
    one_source_share: float = 0.0
    validation_fraction: float = 0.02
    init_from: str | None = None
    prefetch_batches: int = 4
    log_every: int = 10
    checkpoint_every: int = 200
    checkpoint_minutes: float = 5.0
    validate_every: int = 200
    validation_batch_size: int = 128
    model: ModelConfig = field(default_factory=ModelConfig)

    def __post_init__(self) -> None:
        budgets = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(budgets) != 1:
            raise ValueError(f"budget {budgets or 'missing'}: set exactly one of {', '.join(BUDGETS)}")
        self._require(getattr(self, budgets[0]) > 0, budgets[0], "a number above 0")
        self._check_choices()
        self._check_ranges()
        self._check_x_hat()

    def _require(self, condition: bool, name: str, expected: str) -> None:
        if not condition:
            raise ValueError(f"{name}={getattr(self, name)!r}: expected {expected}")

    def _check_choices(self) -> None:
        for name, choices in (
            ("optimizer", ("adam", "adamw")),
            ("schedule", ("constant", "cosine")),
            ("precision", ("float32", "bf16")),
            ("device", ("auto", "cpu", "cuda")),
            ("similarity", SIMILARITIES),
            ("clip_pooling", POOLINGS),
            ("pitch_target", PITCH_TARGETS),
            ("pitch_shift", PITCH_SHIFTS),
        ):
            self._require(getattr(self, name) in choices, name, f"one of {', '.join(choices)}")

    def _check_ranges(self) -> None:
        require = self._require
        require(self.batch_size >= 2, "batch_size", "at least 2 (negatives are other clips)")
        require(self.validation_batch_size >= 2, "validation_batch_size", "at least 2")
        require(self.chunk_segments == 0 or self.chunk_segments >= 2, "chunk_segments", "0 or at least 2")
        for name in ("learning_rate", "temperature", "checkpoint_minutes"):
            require(getattr(self, name) > 0, name, "a number above 0")
        for name in NOT_NEGATIVE:
            require(getattr(self, name) >= 0, name, "0 or more")
        for name in ("mix_share", "positive_mix_share", "one_source_share"):
            require(getattr(self, name) < 1, name, "0 to below 1")
        for name in ("ema_decay", "drop_connect_rate", "validation_fraction"):
            require(0 <= getattr(self, name) < 1, name, "0 to below 1")
        for name in (
            "spectrum_components",
            "prefetch_batches",
            "log_every",
            "checkpoint_every",
            "accumulate",
        ):
            require(getattr(self, name) >= 1, name, "at least 1")
        require(0 < self.batch_norm_momentum <= 1, "batch_norm_momentum", "above 0 to 1")
        if self.model.sample_rate != 16000:
            raise ValueError(f"sample_rate={self.model.sample_rate}: expected 16000, as corpora are packed")

    def _check_x_hat(self) -> None:
        self._require(0 < self.ratio_min <= self.ratio_max, "ratio_min", "above 0 and at most ratio_max")
        if self.beta and self.ratio_min == self.ratio_max:
            raise ValueError(
                f"beta={self.beta}, ratio_min=ratio_max={self.ratio_min}: the pitch loss learns nothing of "
                "a shift that is always the same; widen the range, or set beta=0"
            )
        changed = self.ratio_min != 1 or self.ratio_max != 1 or self.filter_db or self.mix_share
        if not (changed or self.random_gain_db):
            for name in ("gamma", "clip_x_hat"):
                if getattr(self, name):
                    raise ValueError(
                        f"{name}={getattr(self, name)}, but x-hat equals x (ratio_min=ratio_max=1, and no "
                        f"filter_db, mix_share or random_gain_db): change x-hat, or turn {name} off"
                    )

    @property
    def needs_x_hat(self) -> bool:
        """Whether any loss needs x-hat; COLA does not."""
        return bool(self.alpha or self.beta or self.gamma or self.clip_x_hat)

    @property
    def view_count(self) -> int:
        """Segments that a clip gives: x, x' and, where a loss needs it, x-hat."""
        return 3 if self.needs_x_hat else 2

    @property
    def chunks(self) -> Chunks:
        """How the encoder's passes cut a batch."""
        return Chunks(
            self.chunk_segments, self.view_count if self.pass_per_view else 1, self.recompute_chunks
        )

    def to_dict(self) -> dict[str, Any]:
        """All settings, flat: what config.yaml holds and ``from_dict`` takes."""
        values = asdict(self)
        return values | values.pop("model")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Settings:
        """Check names and types of a flat dictionary.

        Raises:
            ValueError: an unknown name (with the nearest known ones), a value of the wrong type or
                out of range.
        """
        if not isinstance(values, dict):
            raise ValueError(f"settings are {values!r}: expected names with values, such as steps: 1000")
        types = {**get_type_hints(ModelConfig), **get_type_hints(cls)}
        del types["model"]
        for name in values:
            if name not in types:
                near = difflib.get_close_matches(str(name), types, n=3)
                hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(types)}"
                raise ValueError(f"unknown setting {name!r}: {hint}")
        converted = {name: convert(name, value, types[name]) for name, value in values.items()}
        of_model = {entry.name for entry in fields(ModelConfig)}
        model = {name: value for name, value in converted.items() if name in of_model}
        rest = {name: value for name, value in converted.items() if name not in of_model}
        return cls(**rest, model=ModelConfig(**model))


def convert(name: str, value: Any, wanted: Any) -> Any:
    """A value from YAML as the type of its field.

    YAML reads ``1e-4`` as a string; whole numbers are good floats, and so are whole floats integers.

    Raises:
        ValueError: it does not fit.
    """
    choices = getattr(wanted, "__args__", (wanted,)) if wanted != dict[str, float] else (wanted,)
    if value is None and type(None) in choices:
        return None
    kind = choices[0]
    if (kind is bool and isinstance(value, bool)) or (kind is str and isinstance(value, str)):
        return value
    if kind == dict[str, float] and isinstance(value, dict):
        return {str(source): convert(name, share, float) for source, share in value.items()}
    if kind in (int, float) and not isinstance(value, bool):
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number) and (kind is float or (number.is_integer() and abs(number) < 2**53)):
            return kind(number)
    expected = {
        bool: "true or false",
        float: "a finite number",
        dict[str, float]: "a mapping of source to weight",
    }
    kind_name = expected.get(kind, getattr(kind, "__name__", str(kind)))
    raise ValueError(f"{name}={value!r}: expected {kind_name}")
