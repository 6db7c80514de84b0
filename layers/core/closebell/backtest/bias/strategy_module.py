"""The module that a strategy is written in: its text, and its function as a process has it that has never called it."""

import sys
from dataclasses import dataclass
from functools import cached_property
from importlib.abc import InspectLoader
from importlib.util import module_from_spec, spec_from_loader
from types import ModuleType

from closebell.model.panel import BarPanel, Matrix
from closebell.strategies import Strategy


@dataclass(frozen=True)
class StrategyText(InspectLoader):
    """The text of a strategy's module. Called, it is `scores` of that text, which is run once in each process that it is sent to:
    it brings nothing of the sender's memory.

    Parameters
    ----------
    name
        The module's.
    text
        As it was loaded.
    path
        Where it was loaded from: a strategy may read what lies beside it.
    folders
        Where a package's modules are; none of what is one file.
    """

    name: str
    text: str
    path: str
    folders: tuple[str, ...] = ()

    def __call__(self, panel: BarPanel) -> Matrix:
        scores: Matrix = self._module.scores(panel)
        return scores

    def __reduce__(self) -> tuple[type["StrategyText"], tuple[str, str, str, tuple[str, ...]]]:
        return StrategyText, (self.name, self.text, self.path, self.folders)

    def get_source(self, fullname: str) -> str:
        return self.text

    def is_package(self, fullname: str) -> bool:
        return bool(self.folders)

    @cached_property
    def _module(self) -> ModuleType:
        spec = spec_from_loader(self.name, self, origin=self.path)
        if spec is None:
            raise ImportError(f"{self.name} cannot be loaded again from {self.path}")
        spec.has_location = True  # the module knows its __file__
        spec.submodule_search_locations = list(self.folders) or None
        module = module_from_spec(spec)
        sys.modules[self.name] = module  # dataclasses look their module up
        self.exec_module(module)
        return module


def strategy_text(strategy: Strategy) -> StrategyText | None:
    """The module with this strategy's name and scores; whatever these are: a function, a part of one, an object that is called.

    None of what was made by hand: no loaded module has them, or its text is not known.
    """
    held = getattr(strategy.scores, "module", None)  # of a file's scores, which know their module
    for module in [held] if isinstance(held, ModuleType) else list(sys.modules.values()):
        known = getattr(module, "__dict__", {})
        if known.get("NAME") != strategy.name or (known.get("scores") is not strategy.scores and module is not held):
            continue
        spec = known.get("__spec__")
        loader = getattr(spec, "loader", None)
        text = loader.get_source(module.__name__) if isinstance(loader, InspectLoader) else None
        if spec is not None and text is not None:
            return StrategyText(module.__name__, text, f"{spec.origin}", tuple(spec.submodule_search_locations or ()))
    return None
