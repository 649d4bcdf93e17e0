"""The APIs that are served: one file each, and this one table of them. ApiVersions is derived from it."""

from typing import Final

from tailrace_gateway.kafka.apis import (
    alter_configs,
    api_versions,
    create_partitions,
    create_topics,
    delete_records,
    delete_topics,
    describe_cluster,
    describe_configs,
    describe_producers,
    describe_topic_partitions,
    fetch,
    find_coordinator,
    incremental_alter_configs,
    init_producer_id,
    list_config_resources,
    list_offsets,
    metadata,
    offset_for_leader_epoch,
    produce,
)
from tailrace_gateway.kafka.routes import Api

APIS: Final[tuple[Api, ...]] = (
    produce.API,
    fetch.API,
    list_offsets.API,
    metadata.API,
    find_coordinator.API,
    api_versions.API,
    create_topics.API,
    delete_topics.API,
    delete_records.API,
    init_producer_id.API,
    offset_for_leader_epoch.API,
    describe_configs.API,
    alter_configs.API,
    create_partitions.API,
    incremental_alter_configs.API,
    describe_cluster.API,
    describe_producers.API,
    list_config_resources.API,
    describe_topic_partitions.API,
)
