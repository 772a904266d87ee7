"""What one run learns from."""

import io
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pupil_training.data.feed import Feed
from pupil_training.data.feed_memory import MemoryFeed
from pupil_training.data.feed_stream import StreamFeed
from pupil_training.data.images import Images, Pictures
from pupil_training.data.order import Cut, Order
from pupil_training.data.overlap import refuse_overlap
from pupil_training.data.pseudo import find_pseudo, open_pseudo
from pupil_training.data.sample import in_proportion
from pupil_training.data.splits import Splits
from pupil_training.data.streamed import Streamed, joined
from pupil_training.data.written_splits import WrittenSplits
from pupil_training.errors import RecipeError
from pupil_training.preprocess import Preprocess
from pupil_training.recipe import Recipe

GREY = ("1", "L", "LA", "I;16", "I;16B")  # Pillow's modes


@dataclass(frozen=True)
class TrainingData:
    """Training images of every origin, the pool where it teaches too, and the validation split."""

    images: Images  # N of them
    targets: Tensor | None  # classes (N,), distributions (N, K), or None: learn from the teacher alone
    sample: Tensor | None  # the places (M,) that an epoch is made of; None where it is each image once
    pool: Images | None
    validation: Pictures
    sha256: dict[str, str]  # of each split that was read, and of the pseudo-labelled images; with their labels
    counts: dict[str, int]  # images by origin
    splits: Splits
    written: WrittenSplits  # the content of the run's splits.json
    _feeds: list[Feed] = field(default_factory=list)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.splits.classes

    @property
    def validation_labels(self) -> Tensor:
        assert self.validation.labels is not None  # every source labels this split
        return self.validation.labels

    def sentence(self) -> str:
        """`585 train, 135 validation images of 3 classes; cat/7.jpg, 500×375 in colour, becomes 28×28 in grey`."""
        counts = ", ".join(f"{count:,} {origin}" for origin, count in self.counts.items())
        size = self.splits.data
        with Image.open(io.BytesIO(self.validation.encoded(0))) as picture:
            was = f"{picture.width}×{picture.height} in {'grey' if picture.mode in GREY else 'colour'}"
        becomes = f"{size.width}×{size.height} in {'grey' if size.channels == 1 else 'colour'}"
        first = self.validation.pictures[0].name
        skipped = sum(map(len, self.written.skipped.values()))
        left_out = f"; {skipped:,} left out, unreadable: splits.json names them" if skipped else ""
        return f"{counts} images of {len(self.classes)} classes{left_out}; {first}, {was}, becomes {becomes}"

    def feed(self, recipe: Recipe, cut: Cut, device: torch.device) -> Feed:
        """The batches of the run. Raises RecipeError where pairs are mixed and a process's share is odd."""
        share = cut.share(recipe.batch_size)
        if recipe.augment.mixes and share % 2:
            raise RecipeError(
                f"mixup and cutmix mix pairs, but a batch of {recipe.batch_size} leaves {share} images to a process "
                "at once: give it an even share"
            )
        order = Order(len(self.images), recipe.batch_size, seed=recipe.seed, cut=cut, sample=self.sample)
        return self._fed(self.images, self.targets, order, device)

    def pool_feed(self, recipe: Recipe, cut: Cut, device: torch.device) -> Feed:
        """The pool's batches that go with them."""
        assert self.pool is not None  # gathered for every pool.method
        order = Order(len(self.pool), recipe.pool.batch_size, seed=recipe.seed, stream="pool order", cut=cut)
        return self._fed(self.pool, None, order, device)

    def close(self) -> None:
        """Ends what decodes for the feeds."""
        for feed in self._feeds:
            feed.close()

    def _fed(self, images: Images, targets: Tensor | None, order: Order, device: torch.device) -> Feed:
        targets = None if targets is None else targets.to(device)
        feed: Feed
        if isinstance(images, Streamed):
            workers = self.splits.data.workers
            workers = torch.get_num_threads() if workers is None else workers  # the cores that are ours
            feed = StreamFeed(images, targets, order, device=device, workers=workers)
        else:
            feed = MemoryFeed(images[:].to(device), targets, order)
        self._feeds.append(feed)
        return feed


def gather(recipe: Recipe) -> TrainingData:
    """The training split, with the pool and the accepted pseudo-labels if asked for.

    Raises DataError, also where an image to learn from is one to be judged on too.
    """
    splits = Splits(recipe.data)
    pseudo = find_pseudo(recipe.labels, splits)
    pool_joins = bool(recipe.distill.teacher) and recipe.distill.pool
    more = (len(splits.listing("pool")) if pool_joins else 0) + (len(pseudo) if pseudo else 0)
    streamed = splits.streams(len(splits.listing("train")) + more)

    train = splits.open("train", streamed)
    read = {"train": train, "validation": splits.open("validation")}
    images, targets, sample, pool = train.images, train.labels, None, None
    if pool_joins:
        read["pool"] = splits.open("pool", streamed)
        images, targets = joined(images, read["pool"].images), None
    elif recipe.pool.method != "none":
        read["pool"] = splits.open("pool")
        pool = read["pool"].images
    counts = {split: len(each) for split, each in read.items()}
    if pseudo is not None and targets is not None:
        images = joined(images, open_pseudo(pseudo, Preprocess.of(recipe.data), streamed=streamed))
        targets = torch.cat([_like(targets, pseudo.targets, len(splits.classes)), pseudo.targets])
        sample = in_proportion(len(train), pseudo.repeats, recipe.labels.ratio)
        counts["pseudo-labelled"] = len(pseudo)
    if recipe.augment.mixes and targets is not None and targets.ndim == 1:
        targets = F.one_hot(targets, len(splits.classes)).float()

    used = {*read, "pool"} if recipe.distill.match_prior else set(read)
    if recipe.data.overlap == "refuse":
        ours = {"labels.file": pseudo.marked()} if pseudo else {}
        refuse_overlap({split: splits.marked(split) for split in splits.touched(used)} | ours)
    sha256 = {split: each.sha256 for split, each in read.items()}
    if pseudo is not None:
        sha256["pseudo-labelled"] = pseudo.sha256
    written = splits.written_down(used, pseudo.marked() if pseudo else None)
    return TrainingData(images, targets, sample, pool, read["validation"], sha256, counts, splits, written)


def _like(labels: Tensor, targets: Tensor, classes: int) -> Tensor:
    """Hard labels in the form of `targets`."""
    return F.one_hot(labels, classes).to(targets) if targets.ndim == 2 else labels
