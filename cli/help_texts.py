"""Help texts that list what the registries hold: filled in when help is asked for, and loaded no earlier."""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING

from typer.core import TyperArgument, TyperCommand, TyperOption

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

LISTS = {
    "datasets": ("neural.data.catalogue", "DATASETS"),
    "methods": ("simulations.choice", "METHODS"),
    "models": ("runner", "MODELS"),
    "networks": ("neural.networks.catalogue", "NETWORKS"),
    "optimizers": ("theory.parametrization", "OPTIMIZERS"),
    "parametrizations": ("theory.parametrization", "TABLE"),
    "quantities": ("theory.observables", "OBSERVABLES"),
    "scales": ("experiments.base", "SCALES"),
}
"""By the name in braces that stands for it in a text: module and name of what is listed."""

_PLACE = re.compile(r"\{(\w+)\}")


def filled(text: str) -> str:
    """A help text with every `{name}` replaced by what the registry of that name holds.

    Examples
    --------
    >>> filled("One of {optimizers}.")
    'One of sgd, adam, adamw.'
    """
    return _PLACE.sub(lambda found: ", ".join(_names(found[1])), text)


def _names(name: str) -> list[str]:
    module, registry = LISTS[name]
    package = __package__.rpartition(".")[0]
    return list(map(str, getattr(importlib.import_module(f"{package}.{module}"), registry)))


class ListingCommand(TyperCommand):
    """A command whose help lists what there is to choose from."""

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Fill in the texts of all options, then print them."""
        for parameter in self.params:
            if isinstance(parameter, TyperArgument | TyperOption) and parameter.help:
                parameter.help = filled(parameter.help)
        super().format_help(ctx, formatter)
