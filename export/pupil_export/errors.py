"""What the user can mend, in one line."""


class ExportError(Exception):
    """The run cannot become a bundle: what, where, what next."""
