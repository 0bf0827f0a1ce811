"""What protects uploads and patients: secure sums."""

from jaxfed.privacy.secure_sum import SecureSum

__all__ = ["SecureSum"]
