"""CreatePartitions (key 37), versions 0-3.

A topic that cannot grow does not keep the others. Data is not moved: keys go to other partitions from then on.
Not done: timeout_ms, as the answer comes with the commit.
"""

from tailrace_core.errors import TailraceError
from tailrace_core.membership import NewPartitions, Topic
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka.context import Call
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
    CreatePartitionsTopicResult,
)


async def handle(call: Call, request: CreatePartitionsRequest) -> CreatePartitionsResponse:
    new = [_new_partitions(asked) for asked in request.topics]
    grown: list[Topic | TailraceError]
    try:
        grown = await call.services.membership.create_partitions(new, request.validate_only)
    except TailraceError as error:
        grown = [error] * len(new)
    results: dict[str, CreatePartitionsTopicResult] = {}
    for asked, outcome in zip(new, grown, strict=True):
        # A name that is there twice was refused twice, and is answered once.
        result = results[asked.name] = CreatePartitionsTopicResult(name=asked.name)
        if isinstance(outcome, TailraceError):
            result.error_code = kafka_code(outcome)
            result.error_message = str(outcome)
    return CreatePartitionsResponse(results=list(results.values()))


def _new_partitions(asked: CreatePartitionsTopic) -> NewPartitions:
    assignments = asked.assignments
    return NewPartitions(
        asked.name,
        asked.count,
        None if assignments is None else [assignment.broker_ids for assignment in assignments],
    )


API = Api(key=37, name="CreatePartitions", versions=range(4), handle=handle)
