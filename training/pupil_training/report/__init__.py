"""One HTML page about some models. Opened by the command line, so nothing heavy here."""
