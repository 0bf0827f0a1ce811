"""Models as pure functions, and their operations in forms that are fast."""
