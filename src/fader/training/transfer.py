"""Starting from a trained model whose attributes may be others."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fader.attributes import Schema
from fader.networks.autoencoder import AutoEncoder


@torch.no_grad()
def transfer(source: AutoEncoder, source_schema: Schema, target: AutoEncoder, target_schema: Schema) -> None:
    """Copy the weights of `source` into `target`, two networks of the same configuration.

    What the decoder learnt about an attribute's code goes along where both schemas have that attribute with the same
    values; the weights of a new attribute stay as they were initialised.
    """
    target.encoder.layers.load_state_dict(source.encoder.layers.state_dict())
    for here, there in zip(target.decoder.layers, source.decoder.layers, strict=True):
        state = there.state_dict()
        for name, module in here.named_modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                key = f"{name}.weight"
                # The input channels: the first dimension of a transposed convolution's weight, the second otherwise.
                axis = 0 if isinstance(module, nn.ConvTranspose2d) else 1
                state[key] = _with_codes_of(module.weight, state[key], axis, source_schema, target_schema)
        here.load_state_dict(state)


def _with_codes_of(here: Tensor, there: Tensor, axis: int, source: Schema, target: Schema) -> Tensor:
    """The weights `there`, but with the code's channels, which come last, as `target` has them."""
    here, there = here.movedim(axis, 0), there.movedim(axis, 0)
    features = len(there) - source.code_size
    result = torch.cat([there[:features], here[features:]])
    for attribute, part in zip(target, target.slices, strict=True):
        if attribute in source.attributes:
            known = source.slices[source.index(attribute.name)]
            result[features:][part] = there[features:][known]
    return result.movedim(0, axis)
