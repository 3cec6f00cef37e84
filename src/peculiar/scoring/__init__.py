"""From networks to numbers: reconstructions, scores, and what they are relative to."""
