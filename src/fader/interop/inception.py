"""The weights of the Inception network that FID and KID are published with, read without unpickling."""

from __future__ import annotations

from pathlib import Path

import torch

from fader.errors import UserError
from fader.interop.checkpoint import opened, stored_tensor
from fader.networks.inception import Inception


def read_inception(path: Path) -> Inception:
    """The network, from the file that pytorch-fid and torch-fidelity publish (weights-inception-2015-12-05-*.pth).

    The file also has the weights of the classifying layer, which are not read. Raises UserError, naming the file, if it
    is anything else; nothing in it is ever run.
    """
    network = Inception()
    with opened(path, ()) as checkpoint:
        if not isinstance(checkpoint.root, dict):
            raise UserError("it is no list of weights, as that of weights-inception-2015-12-05-6726825d.pth.")
        weights = {}
        for name, tensor in network.state_dict().items():
            if name.endswith("num_batches_tracked"):  # Nothing here depends on it.
                weights[name] = torch.tensor(0)
            elif name in checkpoint.root:
                weights[name] = checkpoint.read(stored_tensor(checkpoint.root[name]), tuple(tensor.shape))
            else:
                raise UserError(f"it has no weights {name}, as weights-inception-2015-12-05-6726825d.pth has.")
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)
