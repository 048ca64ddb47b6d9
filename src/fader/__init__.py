"""Fader Networks: slide the attributes of a picture like the faders of a mixing console.

import fader

model = fader.load("runs/demo")       # a run or a model folder
face = model.encode("me.png")         # a path, a PIL image or an array; or several
face.edit(Smiling=1).save("out.png")  # what is not named stays as it is

Everything else is imported from its module: fader.datasets, fader.training, fader.evaluation and so on.
"""

from typing import TYPE_CHECKING, Any

from fader.errors import UserError

if TYPE_CHECKING:
    from fader.model import Faces, Model, load, push_to_hub

__version__ = "0.1.0"
__all__ = ["Faces", "Model", "UserError", "__version__", "load", "push_to_hub"]


def __getattr__(name: str) -> Any:
    """Import torch only where a model is wanted, so that the command line's help is instant."""
    if name in ("Faces", "Model", "load", "push_to_hub"):
        from fader import model

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
