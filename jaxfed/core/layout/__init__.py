"""Where hospitals lie: on devices, in blocks, in memory."""
