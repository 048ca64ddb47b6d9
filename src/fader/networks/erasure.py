"""What a linear reader could still tell of the attributes, taken out of the latent in closed form.

The discriminator is trained by gradients and overlooks what varies little. The least change of the latent after which
no linear reader, however it is trained, does better than one that knows nothing is known exactly: LEACE (Belrose et
al., 2023, "LEACE: Perfect linear concept erasure in closed form", theorem 4.3).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

RIDGE = 1e-6  # Added to the latent's covariance, relative to its mean variance. The erasure is exact whatever it is.


class LinearErasure(nn.Module):
    """z - P (z - mean), where P projects on what a linear reader can tell. Like BatchNorm, it acts in evaluation alone.

    As long as it has not been fitted, it changes nothing.
    """

    mean: Tensor
    """[F]"""
    read: Tensor
    """[F, code_size]"""
    write: Tensor
    """[code_size, F]; P, transposed, is read @ write"""

    def __init__(self, features: int, code_size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("read", torch.zeros(features, code_size))
        self.register_buffer("write", torch.zeros(code_size, features))

    def forward(self, latent: Tensor) -> Tensor:
        """For a latent [B, C, s, s]."""
        if self.training:
            return latent
        centred = latent.flatten(1) - self.mean
        return latent - (centred @ self.read @ self.write).view_as(latent)

    def reset(self) -> None:
        """Change nothing, until it is fitted."""
        for buffer in self.buffers():
            buffer.zero_()

    def fit(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Fit it to latents [B, C, s, s] that it has not changed, and codes [B, code_size], batch by batch.

        With the covariance S of the latents and the covariance C of latents with codes, [F, code_size], the projection
        is P = C (C' S^-1 C)^-1 C' S^-1, after which the covariance with the codes is C - P C = 0.
        """
        features, code_size = self.read.shape
        count = 0
        # In double precision on the CPU: an attribute may hide where the latent varies least.
        total = torch.zeros(features + code_size, dtype=torch.float64)
        products = torch.zeros(features, features + code_size, dtype=torch.float64)
        for latent, code in pairs:
            both = torch.cat([latent.flatten(1).cpu().double(), code.cpu().double()], dim=1)
            count += len(both)
            total += both.sum(dim=0)
            products.addmm_(both[:, :features].T, both)
        mean = total / count
        products.div_(count).sub_(torch.outer(mean[:features], mean))  # In place: there are few larger matrices.
        covariance, cross = products.split([features, code_size], dim=1)
        covariance.diagonal().add_(RIDGE * covariance.diagonal().mean())
        read = torch.linalg.solve(covariance, cross)
        # A code that is constant, given by the others or unreadable adds nothing: hence the pseudo-inverse.
        self.mean.copy_(mean[:features])
        self.read.copy_(read @ torch.linalg.pinv(cross.T @ read, atol=1e-9, hermitian=True))
        self.write.copy_(cross.T)
