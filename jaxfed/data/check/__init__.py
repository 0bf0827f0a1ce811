"""The check of a table before training: findings, each with what to type, and a page."""
