"""LEACE against what it promises: nothing linear is left, and nothing else is touched."""

import torch
from torch import Tensor

from fader.attributes import Attribute, Schema
from fader.networks.erasure import LinearErasure

SCHEMA = Schema((Attribute("Hat", ("no", "yes")), Attribute("Hair", ("black", "blond", "red"))))


def latents_and_codes(count: int) -> tuple[Tensor, Tensor]:
    """Correlated latents of very unequal variances that tell both attributes, also where they hardly vary."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.stack([torch.randint(0, k, (count,), generator=generator) for k in (2, 3)], dim=1)
    code = SCHEMA.code(labels)
    latent = torch.randn(count, 12, generator=generator, dtype=torch.float64) * torch.logspace(0, -4, 12)
    latent = latent @ torch.randn(12, 12, generator=generator, dtype=torch.float64)
    latent += code.double() @ torch.randn(5, 12, generator=generator, dtype=torch.float64) * torch.logspace(0, -4, 12)
    return latent.view(count, 3, 2, 2) + 5, code


def fitted(latent: Tensor, code: Tensor) -> LinearErasure:
    erasure = LinearErasure(12, SCHEMA.code_size).double().eval()
    erasure.fit(zip(latent.split(77), code.split(77), strict=True))
    return erasure


def test_no_linear_reader_is_left_anything() -> None:
    latent, code = latents_and_codes(1000)
    erased = fitted(latent, code)(latent).flatten(1)
    centred = code.double() - code.double().mean(dim=0)
    before = (latent.flatten(1).T @ centred / 1000).abs().max()
    assert before > 0.1
    # Equal means whatever the value: no loss that is convex in a linear reader's scores can then be lowered by reading.
    assert (erased.T @ centred / 1000).abs().max() < 1e-9 * before
    for part in SCHEMA.slices:
        means = torch.stack([erased[code[:, value] == 1].mean(dim=0) for value in range(part.start, part.stop)])
        torch.testing.assert_close(means, means.mean(dim=0).expand_as(means), rtol=0, atol=1e-9)


def test_it_is_a_projection_of_the_least_rank_that_keeps_the_mean() -> None:
    latent, code = latents_and_codes(1000)
    erasure = fitted(latent, code)
    projection = erasure.read @ erasure.write
    torch.testing.assert_close(projection @ projection, projection)
    assert torch.linalg.matrix_rank(projection, rtol=1e-8) == 1 + 2  # A binary attribute, and one of three values.
    torch.testing.assert_close(erasure(latent).mean(dim=0), latent.mean(dim=0))
    again = fitted(erasure(latent), code)
    torch.testing.assert_close(again(erasure(latent)), erasure(latent))


def test_it_acts_only_in_evaluation_and_once_fitted() -> None:
    latent, code = latents_and_codes(100)
    erasure = LinearErasure(12, SCHEMA.code_size).double().eval()
    assert torch.equal(erasure(latent), latent)
    erasure = fitted(latent, code)
    assert not torch.equal(erasure(latent), latent)
    assert torch.equal(erasure.train()(latent), latent)
    erasure.eval().reset()
    assert torch.equal(erasure(latent), latent)


def test_a_constant_attribute_changes_nothing() -> None:
    latent, code = latents_and_codes(200)
    code = code.clone()
    code[:, :2] = torch.tensor([1.0, 0.0])
    projection = (erasure := fitted(latent, code)).read @ erasure.write
    assert projection.isfinite().all()
    assert torch.linalg.matrix_rank(projection, rtol=1e-8) == 2
