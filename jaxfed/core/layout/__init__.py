"""The layout of hospitals on devices, in blocks and in memory."""
