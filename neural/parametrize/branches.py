"""Residual branches of a network of the user's own: which modules they are, which parameters are theirs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from ...errors import invalid
from .infer_layers import matches, require_used

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .infer_layers import InferredLayer


class Branches(NamedTuple):
    """Names of what belongs to residual branches; see `matches`."""

    outputs: tuple[str, ...]
    """Modules that return a branch."""
    inside: tuple[str, ...]
    """What else belongs to one."""

    def has(self, name: str) -> bool:
        """Whether a parameter belongs to one."""
        return any(matches(pattern, name) for pattern in (*self.outputs, *self.inside))

    def of(self, network: nn.Module) -> list[str]:
        """Names of a network's modules that return one."""
        patterns = [(pattern, pattern.count(".")) for pattern in self.outputs]
        return [
            name
            for name, _ in network.named_modules()
            if any(matches(pattern, name) for pattern, dots in patterns if dots == name.count("."))
        ]

    def require_fitting(self, model: nn.Module, readings: Sequence[InferredLayer], *, scaled: bool) -> None:
        """Refuse names that fit nothing, or cannot be given a factor.

        Parameters
        ----------
        model, readings
            The network and its parameters.
        scaled
            Whether the table scales anything with the depth; then it matters where every parameter is.

        Raises
        ------
        InputError
            Naming what does not fit.
        """
        modules = dict(model.named_modules(remove_duplicate=False))
        require_used("branches", self.outputs, [name for name in modules if name])
        require_used("inside", self.inside, [*modules, *(reading.name for reading in readings)])
        names = self.of(model)
        for name in names:
            _require_called(name, names, modules)
        if not scaled:
            return
        if not names:
            remedy = "pass branches, or a table that does not know the depth, such as mup"
            raise invalid("branches", (), accepted="names of modules, for this table", remedy=remedy)
        _require_once(names, modules)
        self._require_placed(names, readings)

    def _require_placed(self, names: Sequence[str], readings: Sequence[InferredLayer]) -> None:
        """Refuse a parameter in a block, beside its branches, of which nothing was said."""
        blocks = {_block(name) for name in names} - {""}
        for reading in readings:
            beside = any(reading.name.startswith(f"{block}.") for block in blocks)
            if beside and not reading.told and not self.has(reading.name):
                raise invalid(
                    f"place of {reading.name}", "beside the branches of its block",
                    accepted="what belongs to a branch, or stands in the stream",
                    remedy='name it in inside, or say kinds={...: "stream"} of a normalisation in the stream,'
                    " or another kind",
                )  # fmt: skip


def _require_called(name: str, names: Sequence[str], modules: dict[str, nn.Module]) -> None:
    """Refuse a module in another branch, or whose call is not seen."""
    parts = name.split(".")
    above = [".".join(parts[:length]) for length in range(1, len(parts))]
    for outer in above:
        if outer in names:
            remedy = "name one of them"
            raise invalid(
                "branches", f"{name} inside {outer}", accepted="branches side by side", remedy=remedy
            )
        if isinstance(modules[outer], nn.MultiheadAttention):
            accepted = "a module that is called (attention uses its weights only)"
            raise invalid("branches", name, accepted=accepted, remedy=f"name {outer}")


def _require_once(names: Sequence[str], modules: dict[str, nn.Module]) -> None:
    """Refuse a branch that several blocks share: no rate of the table is that of its weights."""
    uses = Counter(map(id, modules.values()))
    for name in names:
        if uses[id(modules[name])] > 1:
            accepted = "branches with weights of their own, for a table that knows the depth"
            raise invalid(
                "branches", f"{name}, at several places", accepted=accepted, remedy="pass mup, for example"
            )


def _block(name: str) -> str:
    """The module that holds a branch with what belongs to it: the last that has a number, or its parent."""
    parts = name.split(".")[:-1]
    parent = ".".join(parts)
    while parts and not parts[-1].isdigit():
        parts.pop()
    return ".".join(parts) or parent
