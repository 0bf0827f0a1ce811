"""Optional libraries, which are imported only where they are used."""

from __future__ import annotations

import importlib
from typing import Any


def needs(module: str, extra: str, why: str) -> Any:
    """Import and return the module.

    Raises:
        ImportError: it is not installed; the message gives the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.split(".")[0]
        raise ImportError(f"{why} needs {library}; install it with: pip install 'jaxfed[{extra}]'") from error
