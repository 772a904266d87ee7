"""The watch over a student while it serves: how often its teacher would agree, and whether its traffic has changed."""
