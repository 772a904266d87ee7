"""A policy applied to a batch: every image gets a view of its own, which its epoch decides.

Always in this order: what moves pixels (crop, perspective, rotate, shear, scale, shift, flip, all in one warp), then
RandAugment or TrivialAugment, contrast, brightness, saturation, hue, blur, cutout, and mixing last.
"""

from torch import Tensor

from pupil_training.augment import colour, geometry, mix, randaugment
from pupil_training.augment.chance import Chance
from pupil_training.data.feed import Batch
from pupil_training.pixels import to_pixels
from pupil_training.recipe import Recipe
from pupil_training.settings import AugmentSettings


class Views:
    """What a net sees of a batch. The same seed, stream, image and epoch always give the same view.

    With `epochs`, the views of so many epochs come round again.
    """

    def __init__(
        self, settings: AugmentSettings, seed: int, stream: str = "augment", epochs: int | None = None
    ) -> None:
        self.settings = settings
        self._seed = seed
        self._stream = stream
        self._epochs = epochs

    def __call__(self, batch: Batch) -> Tensor:
        """Pixels (B, C, H, W) in [0, 1]."""
        return self.mixed(batch, None)[0]

    def mixed(self, batch: Batch, targets: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Pixels (B, C, H, W), and the targets that belong to them: mixed where the pictures are."""
        pixels = to_pixels(batch.images)
        if not self.settings.active:
            return pixels, targets
        epochs = batch.epochs if self._epochs is None else batch.epochs % self._epochs
        chance = Chance(self._seed, self._stream, batch.chosen, epochs)
        pixels = geometry.move(pixels, self.settings, chance)
        if self.settings.randaugment:
            pixels = randaugment.several(pixels, self.settings, chance)
        if self.settings.trivial:
            pixels = randaugment.trivial(pixels, self.settings, chance)
        pixels = colour.change(pixels, self.settings, chance)
        if self.settings.cutout:
            pixels = geometry.cut_out(pixels, self.settings.cutout, chance)
        if self.settings.mixes:
            return mix.pairs(pixels, targets, self.settings, chance)
        return pixels, targets


def views_of(recipe: Recipe) -> Views:
    """What the student of a recipe sees."""
    repeated = recipe.distill.teacher and recipe.distill.logits == "views"
    return Views(recipe.augment, recipe.seed, epochs=recipe.distill.views if repeated else None)
