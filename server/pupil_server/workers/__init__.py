"""Several server processes behind one port: `pupil serve --workers N`."""
