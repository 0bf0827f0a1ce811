"""What is timed: hospitals' sizes, models and training, as NumPy arrays that every peer reads."""
