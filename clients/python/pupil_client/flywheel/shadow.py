"""A new version in the shadow of the old one: both answer the same labelled images through the server."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from pupil_client.client import Client
from pupil_client.images import MAX_BATCH_BYTES, MAX_BATCH_IMAGES
from pupil_client.labelling.samples import Labelled

SECONDS = 60.0  # for one request and its retries


@dataclass
class Shadow:
    """On how many images which of the two was right, and how often they agreed."""

    images: int = 0
    old_right: int = 0
    new_right: int = 0
    only_old: int = 0
    only_new: int = 0
    agreed: int = 0

    def count(self, old: bool, new: bool, agree: bool) -> None:
        """One more image."""
        self.images += 1
        self.old_right += old
        self.new_right += new
        self.only_old += old and not new
        self.only_new += new and not old
        self.agreed += agree


def run_in_shadow(
    client: Client, old: str, new: str, labelled: Sequence[Labelled], progress: Callable[[int], object]
) -> dict[str, int]:
    """The counts over all of the labelled images. Raises PupilError, Unreadable."""
    found = Shadow()
    for batch in _batches(labelled):
        images = [image for image, _ in batch]
        answers = client.compare(images, student=new, teacher=old, top_k=1, timeout=SECONDS)
        for (_, label), answer in zip(batch, answers, strict=True):
            found.count(answer.teacher.label == label, answer.student.label == label, answer.agree)
        progress(len(batch))
    return asdict(found)


def _batches(labelled: Iterable[Labelled]) -> Iterator[list[tuple[bytes, str]]]:
    batch: list[tuple[bytes, str]] = []
    size = 0
    for picture, label, _ in labelled:
        image = picture.read().data
        if batch and (len(batch) == MAX_BATCH_IMAGES or size + len(image) > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((image, label))
        size += len(image)
    if batch:
        yield batch
