"""What a supervisor says to its workers, a line each."""

DRAIN = b"drain\n"
RELOAD = b"reload\n"
