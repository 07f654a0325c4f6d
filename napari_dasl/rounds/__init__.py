"""Rounds of active self-paced learning, from gathered labels to a ranked worklist."""
