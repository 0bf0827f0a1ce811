"""Libraries that come with an extra, asked for only where they are used."""

from __future__ import annotations

import importlib
from typing import Any


def needs(module: str, extra: str, why: str) -> Any:
    """The module, or an ImportError that says what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.split(".")[0]
        raise ImportError(f"{why} needs {library}; install it with: pip install 'jaxfed[{extra}]'") from error
