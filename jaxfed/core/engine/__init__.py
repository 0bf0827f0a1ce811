"""The engine: rounds of federated learning as a pure function of stacked hospitals."""
