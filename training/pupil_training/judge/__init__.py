"""Runs and bundles judged on images that taught them nothing. Opened by the command line, so nothing heavy here."""
