import asyncio
import time

import numpy as np

from pupil_server.bundle import InputSize, Resize
from pupil_server.call import Call
from pupil_server.decoding import Decoder
from pupil_server.images import Limits
from pupil_server.metrics import Metrics
from pupil_server.priority import Priority

SIZE = InputSize(height=6, width=6, channels=3)
RESIZE = Resize(shortest_side=6, crop="center", interpolation="bilinear")


def test_an_interactive_image_is_not_decoded_behind_a_pool_of_bulk_ones(toolbox) -> None:
    files = [toolbox.png(pixels) for pixels in toolbox.random_pixels(200, seed=0)]

    async def run() -> None:
        decoder = Decoder(Limits(file_bytes=10_000, pixels=10_000), threads=1, metrics=Metrics())

        def decode(files: list[bytes], priority: Priority) -> asyncio.Task[list[object]]:
            call = Call("test", time.monotonic() + 60, priority=priority)
            return asyncio.create_task(decoder.decode(files, SIZE, RESIZE, call))

        pool = decode(files, Priority.BULK)
        await asyncio.sleep(0)
        interactive = decode(files[:1], Priority.INTERACTIVE)
        first, _ = await asyncio.wait([pool, interactive], return_when=asyncio.FIRST_COMPLETED)
        assert first == {interactive}
        np.testing.assert_array_equal(await pool, toolbox.random_pixels(200, seed=0))
        decoder.close()

    asyncio.run(run())
