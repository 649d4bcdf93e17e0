"""/v1/brokers: who there is, what this one keeps where, and how it is."""

from tailrace_core.errors import TailraceError, UnknownTopicOrPartition
from tailrace_core.membership import Broker
from tailrace_gateway.admin.answers import Refusal, error_value
from tailrace_gateway.admin.context import AdminContext, Asked, Pace


async def list_brokers(context: AdminContext, asked: Asked) -> dict[str, object]:
    image = context.services.membership.image
    return {
        "cluster_id": image.cluster_id,
        "controller_id": image.controller_id,
        "brokers": [_broker(broker, image.controller_id) for broker in image.brokers],
    }


def _broker(broker: Broker, controller_id: int) -> dict[str, object]:
    return {
        "node_id": broker.node_id,
        "rack": broker.rack,
        "is_controller": broker.node_id == controller_id,
        "broker_epoch": broker.broker_epoch,
        "leader_epoch": broker.leader_epoch,
        "endpoints": [
            {"listener": listener, "host": endpoint.host, "port": endpoint.port}
            for listener, endpoint in broker.endpoints.items()
        ],
    }


async def describe_broker(context: AdminContext, asked: Asked) -> dict[str, object]:
    services, node_id = context.services, asked.path["node_id"]
    image = services.membership.image
    broker = next((one for one in image.brokers if str(one.node_id) == node_id), None)
    if broker is None:
        allowed = ", ".join(str(one.node_id) for one in image.brokers)
        raise Refusal(404, "BROKER_ID_NOT_REGISTERED", f"there is no broker {node_id!r}; allowed: {allowed}")
    is_ready, reason = context.is_ready()
    partition_count, size_bytes, offline = 0, 0, []
    pace = Pace()
    for topic in image.topics:
        for index in range(topic.partition_count):
            partition_count += 1
            size_bytes += services.membership.extents(topic.topic_id, index).data_bytes
            try:
                services.engine.partition(topic.name, index)
            except UnknownTopicOrPartition:
                partition_count -= 1  # deleted meanwhile
            except TailraceError as error:
                offline.append({"topic": topic.name, "partition": index, "error": error_value(error)})
            await pace.step()
    return {
        **_broker(broker, image.controller_id),
        "is_ready": is_ready,
        "reason": reason,
        "topic_count": len(image.topics),
        "partition_count": partition_count,
        "offline_partitions": offline,
        "storage": {"uploaded_bytes": size_bytes, **context.storage()._asdict()},
    }
