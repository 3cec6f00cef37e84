"""Networks, their losses, and the one training loop."""
