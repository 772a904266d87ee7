"""ModelStatistics: what the models counted, in the protocol's words."""

from pupil_proto.oip.v2 import statistics_pb2 as pb
from pupil_server.call import Call
from pupil_server.model import LoadedModel
from pupil_server.oip.names import model_spec
from pupil_server.repository import Repository


class StatisticsHandlers:
    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def statistics(self, request: pb.ModelStatisticsRequest, call: Call) -> pb.ModelStatisticsResponse:
        """Built in one go on the event loop, where everything is counted too: its numbers are of one moment."""
        return pb.ModelStatisticsResponse(model_stats=[_spell(model) for model in self._asked(request)])

    def _asked(self, request: pb.ModelStatisticsRequest) -> list[LoadedModel]:
        if not request.name:
            return self._repository.loaded()
        model = self._repository.get(model_spec(request.name, request.version))
        return [model] if request.version else self._repository.loaded(request.name)


def _spell(model: LoadedModel) -> pb.ModelStatistics:
    s = model.statistics
    requests, batches = s.answered.count, s.batches
    output_seconds = max(0.0, s.answered.seconds - s.input_seconds - s.queue_seconds - s.compute_seconds)
    return pb.ModelStatistics(
        name=model.facts.model,
        version=str(model.facts.version),
        last_inference=int(s.last_batch * 1000),
        inference_count=s.images,
        execution_count=sum(spent.count for spent in batches.values()),
        inference_stats=pb.InferStatistics(
            success=_duration(requests, s.answered.seconds),
            fail=_duration(s.failed.count, s.failed.seconds),
            queue=_duration(requests, s.queue_seconds),
            compute_input=_duration(requests, s.input_seconds),
            compute_infer=_duration(requests, s.compute_seconds),
            compute_output=_duration(requests, output_seconds),
            cache_hit=_duration(0, 0.0),
            cache_miss=_duration(0, 0.0),
        ),
        batch_stats=[
            pb.InferBatchStatistics(
                batch_size=images,
                compute_input=_duration(spent.count, 0.0),
                compute_infer=_duration(spent.count, spent.seconds),
                compute_output=_duration(spent.count, 0.0),
            )
            for images, spent in sorted(batches.items())
        ],
    )


def _duration(count: int, seconds: float) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=count, ns=round(seconds * 1e9))
