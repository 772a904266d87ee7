"""One turn of the flywheel: what a running service labels teaches its next version, which must prove itself first.

`turn.py` tells the story; the other files are its parts.
"""
