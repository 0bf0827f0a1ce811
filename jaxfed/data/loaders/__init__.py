"""Data sets that users fetch themselves: from their files as they are published to hospitals."""
