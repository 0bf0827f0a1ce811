"""Two rounds of every algorithm for groups in NumPy, from the papers and not from the package.

Binary, full batches, plain SGD, everybody present, networks of at most one hidden layer of tanh. A model
is ``{layer: {kernel, bias}}``, a hospital ``(x, y)``; functions return the models and the common form.
"""

from __future__ import annotations

import numpy as np

RATE, EPOCHS = 0.2, 3


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def forward(model, x):
    """Features and logits of rows."""
    features = x
    if "hidden_0" in model:
        features = np.tanh(x @ model["hidden_0"]["kernel"] + model["hidden_0"]["bias"])
    return features, (features @ model["head"]["kernel"] + model["head"]["bias"])[:, 0]


def descend(model, x, slope, pull=0.0):
    """A step, given the derivatives of the loss by the logits ``[n]`` and by the features ``[n, d]``."""
    features, _ = forward(model, x)
    head = model["head"]
    grads = {"head": (features.T @ slope[:, None], slope.sum(keepdims=True))}
    if "hidden_0" in model:
        back = (slope[:, None] @ head["kernel"].T + pull) * (1 - features**2)
        grads["hidden_0"] = (x.T @ back, back.sum(0))
    return {
        name: {"kernel": model[name]["kernel"] - RATE * k, "bias": model[name]["bias"] - RATE * b}
        for name, (k, b) in grads.items()
    }


def learn(model, x, y, epochs=EPOCHS):
    """Cross-entropy with labels, which may be soft."""
    for _ in range(epochs):
        model = descend(model, x, (sigmoid(forward(model, x)[1]) - y) / len(y))
    return model


def mean(models, weights=None):
    """Number by number."""
    return {
        name: {
            leaf: np.average([model[name][leaf] for model in models], axis=0, weights=weights)
            for leaf in models[0][name]
        }
        for name in models[0]
    }


def fedmd(models, rows, public, *, epochs):
    """``public`` are the rows of each round."""
    target = None
    for r in range(2):
        for k, (x, y) in enumerate(rows):
            for _ in range(epochs if r else 0):
                d = public[r - 1]
                slope = np.sign(forward(models[k], d)[1] - target) / len(d)
                models[k] = descend(models[k], d, slope)
            models[k] = learn(models[k], x, y)
        target = np.mean([forward(model, public[r])[1] for model in models], axis=0)
    return models, target


def dsfl(models, rows, public, *, epochs, temperature):
    """With weights n_k."""
    target = None
    for r in range(2):
        for k, (x, y) in enumerate(rows):
            if r:
                models[k] = learn(models[k], public, target, epochs)
            models[k] = learn(models[k], x, y)
        p = np.average(
            [sigmoid(forward(model, public)[1]) for model in models],
            axis=0,
            weights=[len(y) for _, y in rows],
        )
        sharp = np.exp(np.stack([1 - p, p]) / temperature)
        target = (sharp / sharp.sum(0))[1]
    return models, target


def feddf(models, rows, public, *, groups):
    """``groups`` are the hospitals of each group; one step of distillation."""
    z = None
    for _ in range(2):
        models = [learn(model, x, y) for model, (x, y) in zip(models, rows, strict=True)]
        z = np.mean([forward(model, public)[1] for model in models], axis=0)
        for group in groups:
            own = mean([models[k] for k in group], [len(rows[k][1]) for k in group])
            own = learn(own, public, sigmoid(z), 1)
            for k in group:
                models[k] = own
    return models, z


def fedproto(models, rows, *, lam, weighting):
    prototypes = {}
    for _ in range(2):
        sent = {0: [], 1: []}
        for k, (x, y) in enumerate(rows):
            for _ in range(EPOCHS):
                features, z = forward(models[k], x)
                pull = np.zeros_like(features)
                for i, label in enumerate(y):
                    if label in prototypes:
                        pull[i] = 2 * lam * (features[i] - prototypes[label]) / features.shape[1]
                models[k] = descend(models[k], x, (sigmoid(z) - y) / len(y), pull / len(y))
            for label in set(y.tolist()):
                own = forward(models[k], x)[0][y == label]
                sent[label].append((own.mean(0), len(own) if weighting == "samples" else 1))
        prototypes = {
            label: np.average([m for m, _ in found], axis=0, weights=[w for _, w in found])
            for label, found in sent.items()
        }
    return models, np.array([prototypes[0], prototypes[1]])


def fml(models, rows, meme, *, alpha, beta):
    for _ in range(2):
        memes = []
        for k, (x, y) in enumerate(rows):
            own, shared = models[k], meme
            for _ in range(EPOCHS):
                p, q = sigmoid(forward(own, x)[1]), sigmoid(forward(shared, x)[1])
                # d KL(p || q) / d logit of q = q - p
                own, shared = (
                    descend(own, x, (alpha * (p - y) + (1 - alpha) * (p - q)) / len(y)),
                    descend(shared, x, (beta * (q - y) + (1 - beta) * (q - p)) / len(y)),
                )
            models[k] = own
            memes.append(shared)
        meme = mean(memes)
    return models, meme
