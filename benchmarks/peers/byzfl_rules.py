"""ByzFL's aggregators and pre-aggregators on given uploads, in an environment of their own.

    python -m peers.byzfl_rules

Requests are JSON lines ``{"uploads": PATH, "rule": NAME, "arguments": {...}, "before": [[NAME, {...}], ...],
"repeats": N, "out": PATH}``; the aggregate is written to ``out``, and answers have the seconds of calls.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np


def library() -> Any:
    """ByzFL's rules alone: its package also imports torchvision, which they do not need."""
    spec = importlib.util.find_spec("byzfl")
    assert spec is not None
    assert spec.origin is not None
    package = types.ModuleType("byzfl")
    package.__path__ = [str(Path(spec.origin).parent)]  # type: ignore[attr-defined]
    sys.modules["byzfl"] = package
    return importlib.import_module("byzfl.aggregators")


def main() -> None:
    """Answer requests until there are no more."""
    import torch

    byzfl = library()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            uploads = np.load(request["uploads"])
            seconds = []
            for _ in range(request["repeats"]):
                mixed = torch.from_numpy(uploads.copy())
                rule = getattr(byzfl, request["rule"])(**request["arguments"])
                mixers = [getattr(byzfl, name)(**arguments) for name, arguments in request["before"]]
                began = time.perf_counter()
                for mixer in mixers:
                    mixed = mixer(mixed)
                result = rule(mixed)
                seconds.append(time.perf_counter() - began)
            np.save(request["out"], result.numpy())
            answer: dict[str, Any] = {"seconds": seconds, "version": importlib.metadata.version("byzfl")}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {str(error).strip()[:300]}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
