"""`python -m pupil_client` is `pupil`."""

from pupil_client.command import main

main(prog_name="pupil")
