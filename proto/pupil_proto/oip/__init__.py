"""The Open Inference Protocol, a folder a version."""
