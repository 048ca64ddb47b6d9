"""What can be slid: named attributes, their values, and the code that the decoder is fed.

This is the only home of the size of the code ("2n" in section 4 of the paper) and of the meaning of a
fader value (section 3 and figure 1): value v of a binary attribute is coded as (1 - v, v), so that 0 is
absent, 1 is present and values outside [0, 1] exaggerate. A categorical attribute of K named values is
coded as a one-hot vector of size K; its "value" is the index of the category.

Importing this module does not import torch, so that the command line stays quick.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

from fader.errors import UserError
from fader.memory import sent

if TYPE_CHECKING:
    from torch import Generator, Tensor

BINARY = ("absent", "present")
MOST = 1e6  # A fader value lies no further from 0. Networks compute in float32, which ends at 3e38.
# A longer code is refused: the decoder is fed it at every layer, and reports compare every two of its numbers.
MAX_CODE = 1000


@dataclass(frozen=True)
class Attribute:
    """One attribute: a name and two or more named values, the index of a value being its label."""

    name: str
    values: tuple[str, ...] = BINARY

    def __post_init__(self) -> None:
        if not self.name:
            raise UserError("An attribute has an empty name; give it one in the table's header.")
        if len(self.values) < 2:
            raise UserError(
                f"Attribute {self.name!r} has {len(self.values)} value(s); two at least are needed to move between."
            )
        if len(set(self.values)) != len(self.values):
            raise UserError(f"Attribute {self.name!r} names a value twice: {', '.join(self.values)}.")

    @property
    def binary(self) -> bool:
        """Whether the attribute has two values and so a fader (rather than a switch)."""
        return len(self.values) == 2

    def value(self, given: float | str | bool) -> float:
        """The numeric value of what a user gave: a fader value, or the name of one of the values.

        Raises UserError on anything else, and on a fader value beyond MOST.
        """
        if isinstance(given, str):
            if given in self.values:
                return float(self.values.index(given))
            try:
                given = float(given)
            except ValueError:
                raise UserError(
                    f"{self.name} has no value {given!r}; it takes {', '.join(self.values)}"
                    + (" or a number (0 absent, 1 present)." if self.binary else ".")
                ) from None
        try:
            given = float(given)
        except TypeError:
            raise UserError(
                f"{self.name} cannot be set to a {type(given).__name__}; give a number or a name."
            ) from None
        except OverflowError:  # A whole number too large for a float.
            given = float("inf")
        if not abs(given) <= MOST:
            raise UserError(
                f"{self.name} cannot be set to {given:g}; give a finite number, from {-MOST:,.0f} to {MOST:,.0f}."
            )
        if not self.binary and (given != int(given) or not 0 <= given < len(self.values)):
            raise UserError(
                f"{self.name} is a switch between {', '.join(self.values)}; {given:g} is not the number of one of them."
            )
        return given


@dataclass(frozen=True)
class Schema:
    """An ordered list of attributes: what a label vector y, a code and a bank of faders consist of."""

    attributes: tuple[Attribute, ...]

    def __post_init__(self) -> None:
        if not self.attributes:
            raise UserError("No attribute is chosen; at least one is needed.")
        if len(set(self.names)) != len(self.names):
            twice = next(name for name, count in Counter(self.names).items() if count > 1)
            raise UserError(f"An attribute is named twice: {twice}.")
        if self.code_size > MAX_CODE:
            raise UserError(
                f"There are {len(self):,} attributes with {self.code_size:,} values, and at most {MAX_CODE:,} values"
                " are possible; choose fewer with --attributes."
            )

    @classmethod
    def binary(cls, names: Iterable[str]) -> Schema:
        """A schema of binary attributes with these names."""
        return cls(tuple(Attribute(name) for name in names))

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(attribute.name for attribute in self.attributes)

    def __len__(self) -> int:
        return len(self.attributes)

    def __iter__(self) -> Iterator[Attribute]:
        return iter(self.attributes)

    def index(self, name: str) -> int:
        """The position of an attribute. Raises UserError, naming those there are, if there is none such."""
        if name not in self.names:
            raise UserError(f"There is no attribute {name!r}; there are {', '.join(self.names)}.")
        return self.names.index(name)

    def select(self, names: Sequence[str]) -> Schema:
        """The schema of these attributes alone, in the order given."""
        return Schema(tuple(self.attributes[self.index(name)] for name in names))

    @cached_property
    def code_size(self) -> int:
        """Size of the code: two for a binary attribute, the number of values for a categorical one."""
        return sum(len(attribute.values) for attribute in self.attributes)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where each attribute lies in the code, and in the logits of a classifier or discriminator."""
        stops = [0]
        for attribute in self.attributes:
            stops.append(stops[-1] + len(attribute.values))
        return tuple(slice(start, stop) for start, stop in pairwise(stops))

    @cached_property
    def runs(self) -> tuple[tuple[slice, slice, int], ...]:
        """Neighbours with as many values each, to be computed with in one go: which attributes, where they lie in the
        code, and how many values each has. All binary attributes in a row are one run."""
        runs, first = [], 0
        for count, run in groupby(len(attribute.values) for attribute in self.attributes):
            stop = first + len(list(run))
            start = self.slices[first].start
            runs.append((slice(first, stop), slice(start, start + (stop - first) * count), count))
            first = stop
        return tuple(runs)

    def code(self, values: Tensor) -> Tensor:
        """The code of label or fader values: [..., n] to [..., code_size], floating point.

        Binary: v to (1 - v, v) for any real v. Categorical: the one-hot vector of an integral index.
        """
        import torch

        values = values if values.is_floating_point() else values.to(torch.get_default_dtype())
        parts = []
        for attributes, _, count in self.runs:
            value = values[..., attributes, None]
            if count == 2:
                part = torch.cat([1 - value, value], dim=-1)
            else:
                part = (value == torch.arange(count, device=values.device)).to(values.dtype)
            parts.append(part.flatten(-2))
        return torch.cat(parts, dim=-1)

    @cached_property
    def sign_slices(self) -> tuple[slice, ...]:
        """Where each attribute lies in its coding by signs: one entry if it is binary, else one for each value."""
        stops = [0]
        for attribute in self.attributes:
            stops.append(stops[-1] + (1 if attribute.binary else len(attribute.values)))
        return tuple(slice(start, stop) for start, stop in pairwise(stops))

    @property
    def signs_size(self) -> int:
        return self.sign_slices[-1].stop

    def signs(self, code: Tensor) -> Tensor:
        """A code as signs, [..., code_size] to [..., signs_size]: -1 is absent, +1 present.

        A binary attribute's entry is linear in its fader value v: 2 v - 1. A categorical one has +1 at its value and
        -1 at the others.
        """
        import torch

        parts = [code[..., part] for part in self.slices]
        kept = [part[..., 1:] if a.binary else part for a, part in zip(self.attributes, parts, strict=True)]
        return 2 * torch.cat(kept, dim=-1) - 1

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """log P of every value of every attribute, [B, code_size], from logits of the same shape."""
        import torch

        parts = [logits[:, part].unflatten(1, (-1, count)).log_softmax(dim=2) for _, part, count in self.runs]
        return torch.cat([part.flatten(1) for part in parts], dim=1)

    def log_likelihoods(self, logits: Tensor, labels: Tensor) -> Tensor:
        """log P of the value that each attribute has, [B, n], from logits [B, code_size] and int64 labels [B, n]."""
        import torch

        starts = torch.tensor([part.start for part in self.slices])
        places = labels + sent(starts, labels.device)
        return self.log_probabilities(logits).gather(1, places)

    def predictions(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest labels, int64 [B, n], and the probability given to each, [B, n], from logits [B, code_size]."""
        import torch

        best = [logits[:, part].unflatten(1, (-1, count)).softmax(dim=2).max(dim=2) for _, part, count in self.runs]
        return torch.cat([b.indices for b in best], dim=1), torch.cat([b.values for b in best], dim=1)

    def flipped(self, labels: Tensor, name: str) -> Tensor:
        """Labels [N, n] with one attribute swapped: 1 - y if binary, the next category (cyclically) if not."""
        k = self.index(name)
        labels = labels.clone()
        labels[:, k] = (labels[:, k] + 1) % len(self.attributes[k].values)
        return labels

    def adversarial_target(self, labels: Tensor, generator: Generator | None = None) -> Tensor:
        """The mistake that the encoder wants the discriminator to make (equation 2), for labels [N, n].

        1 - y for a binary attribute; for a categorical one a random *other* category, each equally likely.
        """
        import torch

        targets = 1 - labels
        for k, attribute in enumerate(self.attributes):
            if not attribute.binary:
                count = len(attribute.values)
                # Drawn on the CPU so that the same seed gives the same targets on every device.
                shift = torch.randint(1, count, (labels.shape[0],), generator=generator)
                targets[:, k] = (labels[:, k] + sent(shift, labels.device)) % count
        return targets

    def to_json(self) -> list[dict[str, Any]]:
        return [{"name": attribute.name, "values": list(attribute.values)} for attribute in self.attributes]

    @classmethod
    def from_json(cls, data: Any) -> Schema:
        """The schema that `to_json` wrote. Raises UserError if `data` is anything else."""
        try:
            attributes = [(entry["name"], tuple(entry["values"])) for entry in data]
        except (KeyError, TypeError) as error:
            raise UserError("The list of attributes is damaged: each needs a name and its values.") from error
        if not all(isinstance(text, str) for name, values in attributes for text in (name, *values)):
            raise UserError("The list of attributes is damaged: names and values have to be text.")
        return cls(tuple(Attribute(name, values) for name, values in attributes))
