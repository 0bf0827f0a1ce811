"""What models of both flavours of flax have in common."""

from __future__ import annotations

import abc
import dataclasses
from functools import partial

from jax import Array

from jaxfed.core.nn.rewrite import Form, routed
from jaxfed.core.types import PyTree, Variables


@dataclasses.dataclass(frozen=True)
class FlaxModel(abc.ABC):
    """A user's model as pure functions.

    Attributes:
        form: of the operations in it, see :func:`jaxfed.core.nn.rewrite.routed`.
    """

    form: Form | None = dataclasses.field(default=None, kw_only=True)

    @abc.abstractmethod
    def init(self, key: Array, x: PyTree) -> Variables:
        """Fresh variables; ``x`` is a batch, of which only shapes and dtypes matter."""

    def apply(
        self, variables: Variables, x: PyTree, *, train: bool, key: Array | None, mask: Array | None
    ) -> tuple[Array, PyTree]:
        """Outputs ``[B, ...]`` and, in training, the new ``stats``; ``mask`` ``[B]`` marks real rows."""
        return routed(partial(self._apply, train), variables, x, key, mask, form=self.form)

    @property
    @abc.abstractmethod
    def has_features(self) -> bool:
        """Whether the module has a method ``features(x)``."""

    def features(self, variables: Variables, x: PyTree) -> Array:
        """The result of the module's method ``features(x)`` in evaluation mode."""
        return routed(self._features, variables, x, form=self.form)

    @abc.abstractmethod
    def _apply(
        self, train: bool, variables: Variables, x: PyTree, key: Array | None, mask: Array | None
    ) -> tuple[Array, PyTree]: ...

    @abc.abstractmethod
    def _features(self, variables: Variables, x: PyTree) -> Array: ...
