"""The configuration dataclasses and the presets. Field docstrings are the command line's help.

Importing this module does not import torch, so that `fader --help` is instant.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from fader.errors import UserError

MOST_ERASABLE = 8192  # Numbers of a latent: fitting takes twice their covariance, a gigabyte, in every process.


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)


def _check_floats(config: Any) -> None:
    """Raises UserError if a float of a configuration, or a whole number given for one, is not finite."""
    for name, hint in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if hint not in (float, float | None) or value is None:
            continue
        try:
            finite = math.isfinite(value)
        except OverflowError:  # A whole number too large for a float.
            value, finite = math.inf, False
        _require(finite, f"{name} is {value}; it has to be a finite number.")


def _check_seed(seed: int) -> None:
    _require(0 <= seed < 2**63, f"seed is {seed}; it has to be from 0 to 2^63 - 1.")


def widths(first: int, largest: int, layers: int) -> list[int]:
    """Feature maps layer by layer: doubling from `first`, never over `largest`."""
    return [min(first * 2**layer, largest) for layer in range(layers)]


@dataclass(frozen=True)
class NetworkConfig:
    """The encoder and the decoder (section 4)."""

    size: int = 256
    """Side of the pictures in pixels: a power of two from 32 to 4096."""
    channels: int = 3
    """3 for colour, 1 for grey."""
    layers: int = 7
    """Layers of the encoder, and as many of the decoder; each halves or doubles the side."""
    width: int = 16
    """Feature maps of the first encoder layer; each further layer has twice as many, up to max_width."""
    max_width: int = 512
    """Most feature maps of a layer."""
    norm: Literal["batch", "instance"] = "batch"
    """Normalisation after the convolutions, in the encoder and decoder."""
    upsampling: Literal["transposed", "nearest", "pixelshuffle"] = "transposed"
    """How the decoder doubles the side: 4x4 transposed convolution (the paper), or, against checkerboard patterns,
    nearest upsampling and a 3x3 convolution, or a 3x3 convolution and a pixel shuffle."""
    skips: int = 0
    """Skip connections from the encoder to the decoder; the discriminator then reads what the last of them carries."""
    decoder_dropout: float = 0.0
    """Dropout in the first three layers of the decoder (the paper found that it hurts)."""
    erase: bool = False
    """Take out of the trained encoder's latent, in closed form, what a linear reader could still tell of the
    attributes (LEACE)."""

    def __post_init__(self) -> None:
        _check_floats(self)
        _require(
            32 <= self.size <= 4096 and self.size & (self.size - 1) == 0,
            f"size is {self.size}; it has to be a power of two from 32 to 4096.",
        )
        _require(self.channels in (1, 3), f"channels is {self.channels}; it has to be 1 (grey) or 3 (colour).")
        most = self.size.bit_length() - 1
        _require(
            1 <= self.layers <= most,
            f"layers is {self.layers}; at {self.size} pixels it has to be from 1 to {most}.",
        )
        _require(1 <= self.width <= self.max_width, f"width is {self.width}; it has to be from 1 to max_width.")
        _require(
            0 <= self.skips < self.layers,
            f"skips is {self.skips}; with {self.layers} layers it has to be from 0 to {self.layers - 1}.",
        )
        _require(
            not (self.norm == "instance" and 2**self.layers == self.size),
            f"instance norm has nothing to average over a latent of side 1; use at most {most - 1} layers.",
        )
        _require(0 <= self.decoder_dropout < 1, f"decoder_dropout is {self.decoder_dropout}; it has to be in [0, 1).")
        _require(not (self.erase and self.skips), "erase is for a latent without skip connections; leave out one.")
        features = math.prod(self.latent_shape)
        _require(
            not self.erase or features <= MOST_ERASABLE,
            f"erase is for a latent of at most {MOST_ERASABLE:,} numbers; this one has {features:,}: more layers make"
            " it smaller.",
        )

    @property
    def encoder_widths(self) -> list[int]:
        """Output channels of the encoder, layer by layer."""
        return widths(self.width, self.max_width, self.layers)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Shape of the latent z: (feature maps, side, side)."""
        side = self.size // 2**self.layers
        return self.encoder_widths[-1], side, side


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The latent discriminator (section 4)."""

    discriminator_width: int = 512
    """Feature maps of its convolutions."""
    discriminator_hidden: int = 512
    """Units of its hidden fully connected layer."""
    discriminator_convolutions: Literal["one", "all"] = "one"
    """One convolution (the paper), or as many as bring the latent to side 1 (the release)."""
    discriminator_dropout: float = 0.3
    """Dropout after its convolutions and, with logits "one", in the fully connected part."""
    discriminator_logits: Literal["one", "pair"] = "one"
    """For a binary attribute one logit and a sigmoid (the paper), or a pair of logits and a softmax (the release)."""

    def __post_init__(self) -> None:
        _check_floats(self)
        _require(
            self.discriminator_width >= 1 and self.discriminator_hidden >= 1,
            "discriminator_width and discriminator_hidden have to be at least 1.",
        )
        _require(
            0 <= self.discriminator_dropout < 1,
            f"discriminator_dropout is {self.discriminator_dropout}; it has to be in [0, 1).",
        )


@dataclass(frozen=True)
class ClassifierConfig:
    """An attribute classifier: for selection and for pictures without labels, or as the judge of an evaluation."""

    architecture: Literal["strided", "residual"] = "strided"
    """The encoder's pattern (used in selection and in the model folder), or a residual network (the judge)."""
    width: int = 16
    """Feature maps of its first layer."""
    max_width: int = 256
    """Most feature maps of a layer."""
    hidden: int = 512
    """Units of its hidden fully connected layer (strided only)."""
    epochs: float = 4.0
    """How often it sees each training picture."""
    batch_size: int = 64
    """Pictures of an update."""
    learning_rate: float = 2e-3
    """Peak learning rate of Adam; it rises and falls over the run (one cycle)."""
    seed: int = 0
    """Decides the first weights and the order of the pictures."""

    def __post_init__(self) -> None:
        _check_floats(self)
        _require(1 <= self.width <= self.max_width, f"width is {self.width}; it has to be from 1 to max_width.")
        _require(self.hidden >= 1, f"hidden is {self.hidden}; it has to be at least 1.")
        _require(self.epochs > 0, f"epochs is {self.epochs}; it has to be above 0.")
        _require(self.batch_size >= 2, f"batch_size is {self.batch_size}; batch normalisation needs at least 2.")
        _require(self.learning_rate > 0, f"learning_rate is {self.learning_rate}; it has to be above 0.")
        _check_seed(self.seed)


JUDGE = ClassifierConfig(architecture="residual", width=24, max_width=128, learning_rate=4e-3, seed=1)
"""The classifier that evaluations are judged by: of another architecture and seed than the one used in selection."""


@dataclass(frozen=True)
class TrainingConfig:
    """The two players' training (sections 3, 4 and 5.1)."""

    steps: int = 1_000_000
    """Updates of each player."""
    batch_size: int = 32
    """Pictures of an update, of all processes together."""
    accumulate: int = 1
    """Micro-batches that a batch is computed in, one after the other, where all of it does not fit into memory; batch
    normalisation then sees a micro-batch at a time."""
    learning_rate: float = 2e-3
    """Of Adam, for both players."""
    beta1: float = 0.5
    """Of Adam: decay of the mean of the gradients."""
    beta2: float = 0.999
    """Of Adam: decay of the mean of their squares."""
    decay: float = 0.0
    """Share of the run, at its end, over which the learning rate falls linearly to 0."""
    adversarial_weight: float = 1e-4
    """lambda_E of equation 2, once it has risen."""
    ramp: int | None = None
    """Steps over which lambda_E rises linearly from 0. By default ramp_share of the steps, so that it shortens with
    a shortened run."""
    ramp_share: float = 0.5
    """Share of the run over which lambda_E rises, where ramp is not given."""
    clip: float | None = None
    """Largest gradient norm of a network; larger ones are scaled down."""
    discriminator_mode: Literal["eval", "train"] = "eval"
    """Mode of the discriminator while the encoder learns against it: without or with its dropout."""
    flip: bool = True
    """Flip training pictures horizontally with probability 0.5."""
    balance: bool = False
    """Draw training pictures so that rare values of the attributes are seen more often. A picture that is drawn again
    within a pass over the training set is flipped as before."""
    epoch_images: int | None = None
    """Training images between two evaluations; by default the number of training pictures."""
    precision: Literal["float32", "tf32", "bfloat16"] = "tf32"
    """What networks multiply in: float32; TF32, which is float32 rounded to 10 bits before a product, on NVIDIA GPUs
    that have it (others stay with float32); or bfloat16 (autocast). Weights, statistics of batch normalisation, losses
    and optimisers are float32 in any case."""
    compile: bool = False
    """Compile the networks with torch.compile: a minute or more at every start, for faster steps on a GPU."""
    ema: float = 0.0
    """Decay of an exponential moving average of encoder and decoder; it is then what is evaluated and saved. 0: off."""
    patchgan_weight: float = 0.0
    """Weight of a PatchGAN loss on pictures decoded with random attributes; 0: off."""
    classifier_weight: float = 0.0
    """Weight of a classifier loss on pictures decoded with random attributes; 0: off."""
    seed: int = 0
    """Decides the first weights, the order of the pictures, flips and dropout."""

    def __post_init__(self) -> None:
        _check_floats(self)
        _require(self.steps >= 1, f"steps is {self.steps}; it has to be at least 1.")
        _require(self.batch_size >= 2, f"batch_size is {self.batch_size}; batch normalisation needs at least 2.")
        _require(self.accumulate >= 1, f"accumulate is {self.accumulate}; it has to be at least 1.")
        _require(
            self.batch_size % self.accumulate == 0 and self.batch_size // self.accumulate >= 2,
            f"accumulate is {self.accumulate}; it has to divide batch_size ({self.batch_size}) into micro-batches of at"
            " least 2 pictures.",
        )
        _require(
            self.accumulate == 1 or not self.patchgan_weight,
            "patchgan_weight needs the whole batch at once; leave accumulate at 1.",
        )
        _require(self.learning_rate > 0, f"learning_rate is {self.learning_rate}; it has to be above 0.")
        _require(0 <= self.beta1 < 1 and 0 <= self.beta2 < 1, "beta1 and beta2 have to be in [0, 1).")
        _require(0 <= self.decay <= 1, f"decay is {self.decay}; it is a share of the run, from 0 to 1.")
        _require(0 <= self.ramp_share <= 1, f"ramp_share is {self.ramp_share}; it is a share of the run, from 0 to 1.")
        _require(self.ramp is None or self.ramp >= 0, f"ramp is {self.ramp}; it has to be 0 or more steps.")
        _require(self.adversarial_weight >= 0, "adversarial_weight has to be 0 or more.")
        _require(self.clip is None or self.clip > 0, f"clip is {self.clip}; it has to be above 0.")
        _check_seed(self.seed)
        _require(0 <= self.ema < 1, f"ema is {self.ema}; it has to be in [0, 1).")
        _require(self.epoch_images is None or self.epoch_images >= 1, "epoch_images has to be at least 1.")
        _require(self.patchgan_weight >= 0 and self.classifier_weight >= 0, "Weights of losses have to be 0 or more.")

    @property
    def ramp_steps(self) -> int:
        """Steps over which lambda_E rises."""
        return self.ramp if self.ramp is not None else round(self.ramp_share * self.steps)


class _Parts:
    """A configuration whose fields are parts, each a dataclass with defaults."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """The configuration that `to_json` wrote. Raises UserError on unknown fields, wrong types and wrong values."""
        _require(isinstance(data, dict), "The configuration is damaged: it is not an object of named fields.")
        parts: dict[str, Any] = {part.name: part.default_factory for part in dataclasses.fields(cls)}  # type: ignore[arg-type]
        return cls(**{name: from_json(part, data.get(name)) for name, part in parts.items()})


@dataclass(frozen=True)
class Config(_Parts):
    """Everything that decides what a run computes."""

    system: ClassVar[str] = "fader"
    network: NetworkConfig = field(default_factory=NetworkConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)


@dataclass(frozen=True)
class IcganNetworkConfig:
    """The IcGAN's generator, discriminator and two encoders."""

    size: int = 64
    """Side of the pictures in pixels: 64, and no other."""
    channels: int = 3
    """3 for colour, 1 for grey."""
    width: int = 64
    """Feature maps beside the picture, in generator and discriminator; it scales all four networks."""
    noise: int = 100
    """Numbers of z, which stands for what the attributes do not say."""

    def __post_init__(self) -> None:
        _require(self.size == 64, f"size is {self.size}; an IcGAN is for pictures of 64 pixels.")
        _require(self.channels in (1, 3), f"channels is {self.channels}; it has to be 1 (grey) or 3 (colour).")
        _require(
            2 <= self.width <= 4096 and self.width % 2 == 0,
            f"width is {self.width}; it has to be an even number from 2 to 4096.",
        )
        _require(1 <= self.noise <= 65_536, f"noise is {self.noise}; it has to be from 1 to 65536.")


@dataclass(frozen=True)
class IcganTrainingConfig:
    """The IcGAN's four stages: conditional GAN, BatchNorm refresh, generated pictures, two encoders."""

    epochs: int = 25
    """How often the GAN sees each training picture."""
    batch_size: int = 64
    """Pictures of an update, in every stage."""
    learning_rate: float = 2e-4
    """Of Adam, for generator and discriminator."""
    beta1: float = 0.5
    """Of Adam, for generator and discriminator: decay of the mean of the gradients."""
    refresh_passes: int = 100
    """Batches that the generator's BatchNorm statistics are taken from, once it is trained."""
    refresh_batch: int = 256
    """Pictures of such a batch."""
    encoder_epochs: int = 15
    """How often each encoder sees each of its pictures."""
    encoder_learning_rate: float = 1e-4
    """Of Adam, for the encoders."""
    encoder_beta1: float = 0.1
    """Of Adam, for the encoders."""
    held_out: float = 0.34
    """Share of an encoder's pictures that it does not learn from: its best epoch on these is kept."""
    flip: bool = True
    """Flip training pictures horizontally with probability 0.5."""
    seed: int = 0
    """Decides the first weights, the order of the pictures, flips, and every z."""

    def __post_init__(self) -> None:
        _check_floats(self)
        _require(self.epochs >= 1 and self.encoder_epochs >= 1, "epochs and encoder_epochs have to be at least 1.")
        _require(self.batch_size >= 2, f"batch_size is {self.batch_size}; batch normalisation needs at least 2.")
        _require(
            self.learning_rate > 0 and self.encoder_learning_rate > 0,
            "learning_rate and encoder_learning_rate have to be above 0.",
        )
        _require(0 <= self.beta1 < 1 and 0 <= self.encoder_beta1 < 1, "beta1 and encoder_beta1 have to be in [0, 1).")
        _require(
            self.refresh_passes >= 1 and self.refresh_batch >= 2,
            "refresh_passes has to be at least 1 and refresh_batch at least 2.",
        )
        _require(0 < self.held_out < 1, f"held_out is {self.held_out}; it is a share, above 0 and below 1.")
        _check_seed(self.seed)


@dataclass(frozen=True)
class IcganConfig(_Parts):
    """Everything that decides what the run of an IcGAN computes."""

    system: ClassVar[str] = "icgan"
    network: IcganNetworkConfig = field(default_factory=IcganNetworkConfig)
    training: IcganTrainingConfig = field(default_factory=IcganTrainingConfig)


AnyConfig: TypeAlias = Config | IcganConfig


def read_config(system: Any, data: Any) -> AnyConfig:
    """The configuration of a system ("fader", "icgan") from JSON. Raises UserError where it is damaged or unknown."""
    for kind in (Config, IcganConfig):
        if system == kind.system:
            return kind.from_json(data)
    raise UserError(f"There is no system {system!r}; it may be of a newer version.")


T = TypeVar("T")
Settings = TypeVar("Settings", Config, IcganConfig)


def from_json(kind: type[T], data: Any) -> T:
    """An instance of a flat configuration dataclass from JSON. Raises UserError naming what is unknown or wrong."""
    _require(isinstance(data, dict), f"The configuration has no usable part for {kind.__name__}.")
    hints = get_type_hints(kind)
    for name, value in data.items():
        _require(name in hints, f"The configuration has an unknown field {name!r}; it may be of a newer version.")
        _require(_fits(value, hints[name]), f"The configuration's field {name!r} cannot be {value!r}.")
    return kind(**data)


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_args(hint):  # Of unions only "X | None" occurs.
        return any(_fits(value, option) for option in get_args(hint))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


PRESETS = {
    # Sections 4 and 5.1. The paper does not say how long it trained beyond the 500,000 iterations of the ramp.
    "paper": Config(),
    # The authors' release where it differs; 1,000 epochs of 50,000 images with the ramp of 500,000 iterations.
    "released": Config(
        network=NetworkConfig(layers=6, width=32),
        discriminator=DiscriminatorConfig(discriminator_convolutions="all", discriminator_logits="pair"),
        training=TrainingConfig(steps=1_562_500, learning_rate=2e-4, ramp_share=0.32, clip=5.0, epoch_images=50_000),
    ),
    # 64 pixels on a CPU, found by experiment: docs/experiments.md.
    "small": Config(
        network=NetworkConfig(size=64, layers=5, width=24, max_width=192, erase=True),
        discriminator=DiscriminatorConfig(discriminator_width=256, discriminator_hidden=256),
        training=TrainingConfig(
            steps=8_000,
            batch_size=16,
            decay=0.5,
            adversarial_weight=8e-3,
            ramp_share=0.5,
            epoch_images=32_000,
        ),
    ),
}

ICGAN_PRESETS = {
    "paper": IcganConfig(),
    # For CPUs: a quarter of the work.
    "small": IcganConfig(network=IcganNetworkConfig(width=32)),
}


def configure(preset: str, **fields: Any) -> Config:
    """A preset with fields replaced, whichever part they belong to: configure("small", steps=100, layers=4).

    For pictures of another size than the preset's, where `layers` is not given, there are as many layers more or less
    as keep the side of the latent.

    Raises UserError if there is no such preset or field, or if the values do not go together.
    """
    _require(preset in PRESETS, f"There is no preset {preset!r}; there are {', '.join(PRESETS)}.")
    network = PRESETS[preset].network
    if "size" in fields and "layers" not in fields:
        fields["layers"] = max(1, network.layers + fields["size"].bit_length() - network.size.bit_length())
    return _replaced(PRESETS[preset], fields)


def configure_icgan(preset: str, **fields: Any) -> IcganConfig:
    """An IcGAN's preset with fields replaced, as `configure` does it. Raises UserError as that does."""
    _require(preset in ICGAN_PRESETS, f"An IcGAN has no preset {preset!r}; there are {', '.join(ICGAN_PRESETS)}.")
    return _replaced(ICGAN_PRESETS[preset], fields)


def _replaced(config: Settings, fields: dict[str, Any]) -> Settings:
    """A configuration with these fields of its parts replaced. Raises UserError on one that no part has."""
    fields, parts = dict(fields), {}
    for part in dataclasses.fields(config):
        of_config = getattr(config, part.name)
        given = {f.name: fields.pop(f.name) for f in dataclasses.fields(of_config) if f.name in fields}
        parts[part.name] = dataclasses.replace(of_config, **given)
    _require(not fields, f"The configuration has no field {', '.join(fields)}.")
    return dataclasses.replace(config, **parts)
