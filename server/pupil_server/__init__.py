"""Bundles in, gRPC out: the server of Pupil. It never imports torch."""
