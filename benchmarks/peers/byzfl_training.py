"""ByzFL's distributed SGD on given hospitals, in an environment of its own.

    python -m peers.byzfl_training

Requests are JSON lines ``{"hospitals": PATH, "rule": [NAME, {...}], "before": [[NAME, {...}], ...],
"attack": NAME or null, "strengths": [..] or null, "f": N, "steps": N, "batch_size": N, "rate": ETA,
"momentum": BETA, "seed": N}``. Where ``strengths`` are given, an optimised attack tries these instead of
those that ByzFL's search comes to. The file holds ``train_x_k, train_y_k`` of every hospital k that computes
gradients, ``test_x_k, test_y_k`` of every hospital that is scored, and ``initial_i``, the layers' weights and
biases in turn. Answers have the accuracy in each hospital that is scored, and the seconds of training, from
the first step to the last.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
import time
from typing import Any

import numpy as np

from peers.byzfl_rules import library


class Trainer:
    """ByzFL's clients, server and attackers, as its own training loop connects them."""

    def __init__(self, request: dict[str, Any]) -> None:
        import torch

        framework = importlib.import_module("byzfl.fed_framework")
        models = importlib.import_module("byzfl.fed_framework.models")
        self.request, self.torch = request, torch
        torch.manual_seed(request["seed"])
        with np.load(request["hospitals"]) as file:
            arrays = {name: torch.from_numpy(file[name]) for name in file.files}
        initial = [arrays[f"initial_{i}"] for i in range(sum(name.startswith("initial") for name in arrays))]
        models.given = lambda: _model(torch, initial)  # ByzFL looks models up by name
        self.scored = _pairs(arrays, "test")
        common = {
            "model_name": "given",
            "device": "cpu",
            "optimizer_name": "SGD",
            "learning_rate": request["rate"],
            "weight_decay": 0.0,
            "milestones": [],
            "learning_rate_decay": 1.0,
        }
        self.clients = [
            framework.Client(
                {
                    **common,
                    "loss_name": "CrossEntropyLoss",
                    "LabelFlipping": False,
                    "nb_labels": len(initial[-1]),
                    "momentum": request["momentum"],
                    "store_per_client_metrics": False,
                    "training_dataloader": self._loader(x, y, request["batch_size"]),
                }
            )
            for x, y in _pairs(arrays, "train")
        ]
        named = lambda pair: {"name": pair[0], "parameters": dict(pair[1])}  # noqa: E731
        rule, before = named(request["rule"]), [*map(named, request["before"])]
        loader = self._loader(*self.scored[0], 1)
        self.server = framework.Server(
            {**common, "test_loader": loader, "aggregator_info": rule, "pre_agg_list": before}
        )
        attackers = request["f"] if request["attack"] else 0
        settings = {"aggregator_info": rule, "pre_agg_list": before, "f": attackers, "tau": 1.0}
        self.attackers = framework.ByzantineClient(
            {"name": request["attack"] or "NoAttack", "f": attackers, "parameters": settings}
        )

        if request["strengths"]:
            self.attackers.attack = self._searching(request["strengths"])

    def _searching(self, strengths: list[float]) -> Any:
        """The attack with the strength, of these, that moves the aggregate furthest."""
        attack = self.attackers.attack
        attacks = importlib.import_module("byzfl.attacks.attacks")
        kind = getattr(attacks, type(attack).__name__.removeprefix("Optimal_"))

        def sent(honest: list[Any]) -> Any:
            stacked = self.torch.stack(honest)
            mean = stacked.mean(0)

            def distance(strength: float) -> float:
                vectors = self.torch.cat([stacked, kind(strength)(stacked).repeat(attack.f, 1)])
                for mixer in attack.pre_agg_list:
                    vectors = mixer(vectors)
                return float((attack.agg(vectors) - mean).norm())

            return kind(max(strengths, key=distance))(stacked)

        return sent

    def train(self) -> float:
        """All steps; the seconds they took."""
        began = time.perf_counter()
        self._send()
        for _ in range(self.request["steps"]):
            for client in self.clients:
                client.compute_gradients()
            honest = [client.get_flat_gradients_with_momentum() for client in self.clients]
            self.server.update_model_with_gradients(honest + self.attackers.apply_attack(honest))
            self._send()
        return time.perf_counter() - began

    def accuracies(self) -> list[float]:
        """Of the server's model in each hospital that is scored."""
        with self.torch.no_grad():
            return [float((self.server.model(x).argmax(1) == y).float().mean()) for x, y in self.scored]

    def _send(self) -> None:
        state = self.server.get_dict_parameters()
        for client in self.clients:
            client.set_model_state(state)

    def _loader(self, x: Any, y: Any, batch_size: int) -> Any:
        data = self.torch.utils.data
        return data.DataLoader(data.TensorDataset(x, y), batch_size=batch_size, shuffle=True, drop_last=True)


def _model(torch: Any, initial: list[Any]) -> Any:
    """Dense layers with relu between them; weights are ``[inputs, outputs]``."""
    layers: list[Any] = []
    for weight, bias in zip(initial[::2], initial[1::2], strict=True):
        layer = torch.nn.Linear(*weight.shape)
        with torch.no_grad():
            layer.weight.copy_(weight.T)
            layer.bias.copy_(bias)
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def _pairs(arrays: dict[str, Any], part: str) -> list[tuple[Any, Any]]:
    count = sum(name.startswith(f"{part}_x") for name in arrays)
    return [(arrays[f"{part}_x_{k}"], arrays[f"{part}_y_{k}"].long()) for k in range(count)]


def main() -> None:
    """Answer requests until there are no more."""
    import torch

    library()
    torch.set_num_threads(1)  # small models; the driver runs a process on each core
    for line in sys.stdin:
        try:
            trainer = Trainer(json.loads(line))
            seconds = trainer.train()
            answer: dict[str, Any] = {
                "accuracies": trainer.accuracies(),
                "seconds": seconds,
                "version": importlib.metadata.version("byzfl"),
            }
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {str(error).strip()[:300]}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
