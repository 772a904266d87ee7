"""A call with a single request, which is most of them; its handler starts when the request is whole."""

from pupil_server.errors import Code, ProtocolViolation
from pupil_server.nghttp2.framing import Message, MessageReader, whole_message
from pupil_server.nghttp2.server_call import ServerCall
from pupil_server.nghttp2.session import STREAM_WINDOW


class SingleCall(ServerCall):
    _reader: MessageReader | None = None  # of a request that comes in several pieces
    _message: Message | None = None
    _ungranted = 0  # bytes that came, and that the caller may not yet replace by others

    def _read(self, chunk: bytes) -> None:
        most = self._connection.limits.message_bytes
        if not self._reader:
            if not self._message and (message := whole_message(chunk, most)):
                self._message = message
                return
            self._reader = MessageReader(most)
        for message in self._reader.feed(chunk):
            if self._message:
                raise ProtocolViolation(Code.UNIMPLEMENTED, "several messages, one is wanted")
            self._message = message
        self._ungranted += len(chunk)
        if self._ungranted >= STREAM_WINDOW // 2 and self._reader.inside:
            self._connection.session.grant(self._number, self._ungranted)
            self._ungranted = 0

    def request_ended(self) -> None:
        if self._finished:
            return
        if self._reader and self._reader.inside:
            self.refuse(ProtocolViolation(Code.INTERNAL, "the request ended in the middle of a message"))
        elif not self._message:
            self.refuse(ProtocolViolation(Code.UNIMPLEMENTED, "no message, one is wanted"))
        else:
            self._connection.begin_soon(self)

    def plain(self) -> bytes | None:
        message = self._message
        if not message or message.compressed or self._finished or not self.method.at_once:
            return None
        return message.body

    def answer(self, answer: bytes) -> None:
        self._message = None
        super().answer(answer)

    async def _work(self) -> None:
        method, dispatcher, call = self.method, self._connection.dispatcher, self.call
        message, self._message = self._message, None
        assert message is not None
        request = await self._unpacked(message) if message.compressed else message.body
        if method.unary:
            self._answer(await dispatcher.unary(method, request, call), last=True)
        else:
            await self._answer_all(dispatcher.server_stream(method, request, call))
