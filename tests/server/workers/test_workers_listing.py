"""What a worker tells of versions that its siblings know more about."""

import asyncio
import socket
import time

from pupil_proto.v1.models_pb2 import STATE_UNLOADED, ListModelsRequest, ListModelsResponse, ModelInfo
from pupil_server.call import Call
from pupil_server.method import Method
from pupil_server.workers.listing import with_failures_elsewhere
from pupil_server.workers.place import Place


def test_a_list_leaves_in_time_though_a_sibling_hangs(tmp_path) -> None:
    known = ListModelsResponse(models=[ModelInfo(name="student", version=1, state=STATE_UNLOADED)])

    async def here(request: ListModelsRequest, call: Call) -> ListModelsResponse:
        return known

    place = Place(tmp_path, 1, 2)
    method = with_failures_elsewhere(Method("test.Models", "List", ListModelsRequest, unary=here), place)

    async def story(hung: socket.socket) -> None:
        (sibling,) = place.siblings
        hung.bind(str(sibling.control))
        hung.listen()
        call = Call(method.path, time.monotonic() + 3.0)
        assert method.unary
        assert await method.unary(ListModelsRequest(), call) == known
        assert call.remaining() > 0

    with socket.socket(socket.AF_UNIX) as hung:
        asyncio.run(story(hung))
