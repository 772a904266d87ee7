"""The labelling job: a source of images in, a labels file out, resumable, in order, under one promise.

`job.py` tells the story; the other files are its parts.
"""
