"""One picture to the model's pixels, by the `resize` rule of docs/files.md that the server follows too."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from pupil_training.errors import DataError
from pupil_training.settings import DataSettings

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # the server's; for some others Pillow starts programs
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # of 8 bits or fewer
DEEP = ("I;16", "I;16B")  # grey of 16 or 12 bits
MOST_PIXELS = 64_000_000  # checked on the header, before the pixels exist
INTERPOLATION = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

TiffImagePlugin.READ_LIBTIFF = True  # as in the server: the two ways of reading a TIFF differ in its YCbCr pixels


class UnreadableImage(DataError):
    """Not an image, truncated, or too large; the caller knows the file's name."""


@dataclass(frozen=True)
class Preprocess:
    """Decode, turn by EXIF, convert, resize, crop."""

    height: int
    width: int
    channels: int
    shortest_side: int
    interpolation: str

    @classmethod
    def of(cls, data: DataSettings) -> "Preprocess":
        shortest_side = data.shortest_side or max(data.height, data.width)
        return cls(data.height, data.width, data.channels, shortest_side, data.interpolation)

    @property
    def resize(self) -> dict[str, Any]:
        """The rule as bundle.json states it."""
        return {"shortest_side": self.shortest_side, "crop": "center", "interpolation": self.interpolation}

    def decode(self, file: bytes) -> NDArray[np.uint8]:
        """Pixels (H, W, C) of one image file. Raises UnreadableImage."""
        Image.MAX_IMAGE_PIXELS = MOST_PIXELS  # Pillow opens nothing of twice as many, not even a GIF's first frame
        try:
            with Image.open(io.BytesIO(file), formats=FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise UnreadableImage(f"{image.width}×{image.height} pixels are more than {MOST_PIXELS:,}")
                image.load()
                _turn_upright(image)
                return self.fit(image)
        except (UnreadableImage, MemoryError):
            raise
        except UnidentifiedImageError:  # whose own text is about an object in memory
            raise UnreadableImage(f"not a readable image (it begins as none of {', '.join(FORMATS)} does)") from None
        except Exception as error:  # Pillow's decoders raise a dozen types for broken files
            raise UnreadableImage(f"not a readable image ({error})") from None

    def fit(self, image: Image.Image) -> NDArray[np.uint8]:
        """Pixels (H, W, C) of an upright picture. Raises UnreadableImage."""
        image = self._shrink(_in_colours(image, "L" if self.channels == 1 else "RGB"))
        left, top = (image.width - self.width) // 2, (image.height - self.height) // 2
        image = image.crop((left, top, left + self.width, top + self.height))
        return np.array(image, dtype=np.uint8).reshape(self.height, self.width, self.channels)

    def _shrink(self, image: Image.Image) -> Image.Image:
        shorter = min(image.size)
        if shorter == self.shortest_side:
            return image
        width, height = (max(self.shortest_side, round(side * self.shortest_side / shorter)) for side in image.size)
        if width * height > MOST_PIXELS:  # a line of 1 × 50,000,000 pixels grows here
            raise UnreadableImage(f"{image.width}×{image.height} pixels are too far from a square")
        return image.resize((width, height), INTERPOLATION[self.interpolation])


def _turn_upright(image: Image.Image) -> None:
    """By its EXIF orientation; EXIF that makes no sense is as good as none."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:
        return


def _in_colours(image: Image.Image, mode: str) -> Image.Image:
    """Grey or RGB of 8 bits. Raises UnreadableImage for numbers of which nobody can tell which one is white."""
    image.info.pop("transparency", None)  # Pillow would drop it too, with a warning
    if image.mode in DEEP:
        image = _eight_bits(image)
    elif image.mode not in MODES:
        raise UnreadableImage(f"pixels of the kind {image.mode}; save it with 8 or 16 bits, grey or RGB")
    return image.convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    """The highest 8 bits of each pixel; Pillow's own conversion makes everything above 255 white."""
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    (bits,) = tags.get(TiffImagePlugin.BITSPERSAMPLE, (16,))
    grey = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
    white_is_zero = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
    return Image.fromarray(~grey if white_is_zero else grey)
