"""InitProducerId (key 22), versions 0-5.

v3 the producer's last id and epoch (KIP-360) · v4 PRODUCER_FENCED, v5 TRANSACTION_ABORTABLE (transactions only)
An idempotent producer always gets a new id in epoch 0, also when it says which one it had.
Not done: transactions. A transactional id gets COORDINATOR_NOT_AVAILABLE, which producers retry.
"""

from tailrace_core.errors import CoordinatorNotAvailable, InvalidRequest, TailraceError
from tailrace_core.ids import NO_PRODUCER_ID
from tailrace_gateway.errors import kafka_code
from tailrace_gateway.kafka.context import Call
from tailrace_gateway.kafka.routes import Api
from tailrace_gateway.kafka.schema.messages.init_producer_id import InitProducerIdRequest, InitProducerIdResponse


async def handle(call: Call, request: InitProducerIdRequest) -> InitProducerIdResponse:
    try:
        _check(request)
        return InitProducerIdResponse(producer_id=await call.services.producer_ids.allocate(), producer_epoch=0)
    except TailraceError as error:
        return InitProducerIdResponse(error_code=kafka_code(error), producer_id=NO_PRODUCER_ID, producer_epoch=-1)


def _check(request: InitProducerIdRequest) -> None:
    if (request.producer_id == NO_PRODUCER_ID) != (request.producer_epoch == -1):
        raise InvalidRequest("the producer's id and epoch are given together, or neither of them")
    if request.transactional_id == "":
        raise InvalidRequest("a transactional id is not empty")
    if request.transactional_id is not None:
        raise CoordinatorNotAvailable("no transaction coordinator is available on this broker")


API = Api(key=22, name="InitProducerId", versions=range(6), handle=handle)
