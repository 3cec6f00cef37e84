"""Find the peculiar galaxies in an imaging survey."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"
__all__ = ["Atlas", "__version__"]

if TYPE_CHECKING:
    from peculiar.atlas import Atlas


def __getattr__(name: str) -> Any:
    """Import `Atlas` when it is asked for, so that `peculiar --help` is instant."""
    if name == "Atlas":
        return import_module("peculiar.atlas").Atlas
    raise AttributeError(f"module 'peculiar' has no attribute {name!r}")
