"""Version 1 of the wire contract: `inference.proto` and `models.proto`."""
