"""Batches that other processes decode while this one learns."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pupil_training.data.feed import Batch, Feed
from pupil_training.data.order import Order
from pupil_training.data.pictures import Picture
from pupil_training.data.streamed import SKIP, Streamed
from pupil_training.errors import DataError
from pupil_training.preprocess import Preprocess

AHEAD = 2  # parts that each worker may have ready; more would only take memory


class StreamFeed(Feed):
    """The same batches as a `MemoryFeed`'s, bit for bit. Workers start with the first part that is asked for.

    Parts are to be asked for in their order; any other order is served too, but each jump starts the workers anew.
    """

    def __init__(
        self, images: Streamed, targets: Tensor | None, order: Order, *, device: torch.device, workers: int
    ) -> None:
        super().__init__(order)
        self._images = images
        self._targets = targets
        self._device = device
        self._workers = workers
        self._decoded: Iterator[NDArray[np.uint8] | str] | None = None
        self._next = (0, 0)  # what `_decoded` gives next

    def part(self, step: int, part: int) -> Batch:
        """Waits for the workers. Raises DataError with the name of an image that they could not read."""
        places, chosen, epochs = self.order.at(step, part)
        pixels = torch.from_numpy(self._pixels(step, part)).to(self._device)
        targets = None if self._targets is None else self._targets[places.to(self._targets.device)]
        return Batch(step, part, pixels, targets, chosen, epochs)

    def close(self) -> None:
        """Ends the workers."""
        # A traceback may keep the iterator alive, so that its own __del__, which does the same, would come late.
        end = getattr(self._decoded, "_shutdown_workers", None)
        self._decoded = None
        if end is not None:
            end()

    def _pixels(self, step: int, part: int) -> NDArray[np.uint8]:
        if self._decoded is None or self._next != (step, part):
            self.close()
            self._decoded = self._start(step, part)
        try:
            pixels = next(self._decoded)
        except RuntimeError as error:  # how the loader says that a worker died
            raise DataError(
                f"a process that decodes images died ({str(error).splitlines()[0]}): it ran out of memory, then try "
                "fewer data.workers; or the program that calls train does so outside of if __name__ == '__main__'"
            ) from None
        if isinstance(pixels, str):
            raise DataError(f"{pixels} ({SKIP})")
        self._next = self.order.after(step, part)
        return pixels

    def _start(self, step: int, part: int) -> Iterator[NDArray[np.uint8] | str]:
        several: dict[str, Any] = {"multiprocessing_context": "spawn", "prefetch_factor": AHEAD}  # fork breaks CUDA
        loader = DataLoader(
            Decoder(self._images.preprocess),
            batch_size=None,  # what the sampler gives is a whole part
            sampler=self._wanted(step, part),
            collate_fn=_as_it_is,
            worker_init_fn=_end_with_the_run,
            num_workers=self._workers,
            generator=torch.Generator(),  # or it would draw from the generator that dropout draws from
            **(several if self._workers else {}),
        )
        return iter(loader)

    def _wanted(self, step: int, part: int) -> Iterator[list[Picture]]:
        """The pictures of this part and of every later one."""
        while True:
            places = self.order.at(step, part).places
            yield [self._images.pictures[place] for place in places.tolist()]
            step, part = self.order.after(step, part)


class Decoder(Dataset[NDArray[np.uint8] | str]):
    """What a worker knows: not the set, only how to decode the pictures that are sent to it."""

    def __init__(self, preprocess: Preprocess) -> None:
        self._preprocess = preprocess

    def __getitem__(self, pictures: Sequence[Picture]) -> NDArray[np.uint8] | str:
        """Pixels (B, H, W, C), or what is wrong: an exception would come out as a page of traces.

        An array goes through a pipe; a tensor would need shared memory, of which containers have 64 MB.
        """
        height, width, channels = self._preprocess.height, self._preprocess.width, self._preprocess.channels
        pixels = np.empty((len(pictures), height, width, channels), dtype=np.uint8)
        for place, picture in enumerate(pictures):
            try:
                decoded = picture.read(self._preprocess).pixels
            except (DataError, OSError) as error:
                return f"{picture.name}: {error}"
            assert decoded is not None  # it was asked for
            pixels[place] = decoded
        return pixels


def _as_it_is(part: Any) -> Any:
    return part


def _end_with_the_run(worker: int) -> None:
    """Ends this worker with the process that started it, even where that is killed, and only with it.

    The loader's own watchdog would wait for a part to be sent, which nobody takes any more; and so would, for
    seconds, a worker that Ctrl-C reaches too.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait() -> None:
        run = multiprocessing.parent_process()
        assert run is not None  # this is a child
        run.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
