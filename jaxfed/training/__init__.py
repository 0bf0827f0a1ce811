"""One recipe on devices."""
