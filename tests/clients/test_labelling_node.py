from pathlib import Path

from pupil_client.images import RawImage
from pupil_client.labelling.node import Labeller
from pupil_client.labelling.pictures import Picture, packed, unpacked
from pupil_client.labelling.promise import Promise


def test_a_file_that_is_another_here_is_left_to_the_head(tmp_path):
    (tmp_path / "a.png").write_bytes(b"other")
    labeller = Labeller(lambda: None, None, Promise(), 1.0, tmp_path)
    assert labeller._seen(Picture("a.png", 5, Path("a.png"))).read().data == b"other"
    assert labeller._seen(Picture("a.png", 6, Path("a.png"))) is None
    assert labeller._seen(Picture("b.png", 6, Path("b.png"))) is None
    assert labeller._seen(Picture("b.png", 0, Path("b.png"))) is not None  # the head did not see it either


def test_pictures_are_the_same_on_the_other_side():
    pictures = [
        Picture("a", 3, RawImage(b"abc")),
        Picture("b", 2, RawImage(b"ab", (1, 2, 1))),
        Picture("c", 9, Path("photos/c.png")),
        Picture("d", 0, "No such file or directory"),
    ]
    assert unpacked(packed(pictures)) == pictures
