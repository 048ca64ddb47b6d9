"""Starting from a model with other attributes."""

import pytest
import torch

from fader.attributes import Attribute, Schema
from fader.config import NetworkConfig
from fader.networks.autoencoder import AutoEncoder
from fader.training.transfer import transfer


@pytest.mark.parametrize("upsampling", ["transposed", "nearest", "pixelshuffle"])
@pytest.mark.parametrize("skips", [0, 1])
def test_common_attributes_keep_their_meaning(upsampling: str, skips: int) -> None:
    """With the new attribute's weights at zero, the new network computes what the old one did."""
    torch.manual_seed(0)
    config = NetworkConfig(size=32, layers=3, width=4, upsampling=upsampling, skips=skips)  # type: ignore[arg-type]
    old_schema = Schema((Attribute("Smiling"), Attribute("Color", ("red", "green", "blue"))))
    new_schema = Schema((Attribute("Hat"), Attribute("Color", ("red", "green", "blue")), Attribute("Smiling")))
    old = AutoEncoder(config, old_schema.code_size).eval()
    new = AutoEncoder(config, new_schema.code_size).eval()
    transfer(old, old_schema, new, new_schema)
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        # Without a hat and with all of its weights at zero it cannot matter.
        for layer in new.decoder.layers:
            weight = layer[0 if upsampling != "nearest" else 1].weight  # type: ignore[index]
            codes = weight if upsampling == "transposed" else weight.movedim(1, 0)
            assert codes[-new_schema.code_size :][:2].abs().sum() > 0
            codes[-new_schema.code_size :][:2] = 0
        expected = old(x, old_schema.code(torch.tensor([[1, 2], [0, 1]])))
        found = new(x, new_schema.code(torch.tensor([[1, 2, 1], [0, 1, 0]])))
    torch.testing.assert_close(found, expected)
