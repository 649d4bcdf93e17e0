"""One broker: settings → ports → controller, engine → servers. The only place where all parts meet."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tailrace_controller.client import open_local_controller
from tailrace_core.addresses import Listener
from tailrace_core.errors import DataCorrupt, InvalidSettings
from tailrace_core.kafka_configs import static_broker_configs
from tailrace_core.membership import Membership, TopicDeleted
from tailrace_core.settings import Settings, memory_bytes
from tailrace_core.telemetry import Registry, histogram
from tailrace_engine.objects import MeasuredStore, open_store
from tailrace_engine.runtime.compaction import CompactionOptions
from tailrace_engine.runtime.engine import Engine
from tailrace_engine.runtime.internal_topics import group_coordinator
from tailrace_engine.runtime.retention import RetentionOptions
from tailrace_engine.runtime.storage import BrokerStorage, StorageOptions
from tailrace_engine.runtime.workers import ProcessWorkers
from tailrace_engine.tier.reader import TierReaderOptions
from tailrace_engine.tier.uploader import UploadOptions
from tailrace_engine.wal.writer import Wal, WalOptions
from tailrace_gateway.admin.lazy import LazyAdmin
from tailrace_gateway.gc_policy import GcPolicy
from tailrace_gateway.kafka.apis import APIS
from tailrace_gateway.kafka.context import Services
from tailrace_gateway.kafka.metadata_cache import MetadataCache
from tailrace_gateway.kafka.routes import Routes
from tailrace_gateway.kafka.server import KafkaServer
from tailrace_gateway.memory_policy import MemoryPolicy
from tailrace_gateway.observability.exporter import Exporter
from tailrace_gateway.observability.health import routes as http_routes
from tailrace_gateway.observability.http import Handler, start_http
from tailrace_gateway.observability.measures import measure
from tailrace_gateway.system import SystemClock, SystemEntropy, lock_data_folder, process_age_seconds

if TYPE_CHECKING:
    from tailrace_gateway.admin.context import StorageFigures

logger = logging.getLogger(__name__)

_RECEIVE_BUDGET_BYTES: Final = 64 << 20
_STOP_SECONDS: Final = 3.0


class Broker:
    """A running broker. `start` brings it up, `stop` ends it; both once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self.ready = False
        self.start_seconds = 0.0
        """From the start of the process until the broker was ready."""
        self.wal_damage = 0
        """Damaged places in the WAL that the start found."""
        self.commit_times = histogram("tailrace_metadata_commit_seconds")
        self.wal: Wal
        self.engine: Engine
        self.membership: Membership
        self.server: KafkaServer
        self.listeners: list[Listener] = []
        """As bound."""

    async def start(self) -> None:
        """Recover and begin to serve. Raises TailraceError with a text for people."""
        settings = self.settings
        if settings.without_effect:
            logger.warning("settings that have no effect: %s (see docs/configs.md)", ", ".join(settings.without_effect))
        loop = asyncio.get_running_loop()
        folder = settings.broker.data_dir.absolute()
        self._lock = lock_data_folder(folder)
        _check_folder(folder)
        entropy = SystemEntropy()
        self.membership = membership = await open_local_controller(
            folder / "metadata.sqlite",
            entropy,
            loop,
            static_broker_configs(settings),
            (self.clock, self.commit_times),
        )
        url = settings.object_store.url_for(folder)
        self.store = MeasuredStore(open_store(url, removes_leftovers=True), self.clock)
        self.workers = ProcessWorkers()
        self.storage = storage = BrokerStorage(
            folder, _storage_options(settings), self.store, membership, self.clock, entropy, workers=self.workers
        )
        self.tier, self.engine = storage.tier, storage.engine
        await storage.recover()
        self.wal, self.wal_damage = storage.wal, storage.wal_damage
        self.server = server = KafkaServer(settings.kafka, _RECEIVE_BUDGET_BYTES)
        server.routes = routes = Routes(APIS, server.bind)
        for listener in settings.kafka.listeners:
            try:
                port = await server.listen(listener)
            except OSError as error:
                raise InvalidSettings(f"kafka.listeners: {listener} cannot be bound: {error}") from error
            self.listeners.append(Listener(listener.name, listener.host, port))
        endpoints = self._endpoints()
        begun = await membership.start_broker(settings.broker.node_id, settings.broker.rack, endpoints)
        storage.start(settings.broker.node_id, begun)
        metadata = MetadataCache(membership.image)
        membership.subscribe(lambda event: metadata.forget(event.topic) if isinstance(event, TopicDeleted) else None)
        self.groups = group_coordinator(
            settings.groups, self.engine, membership, self.clock, entropy, loop, server.spawn
        )
        self.groups.on_answers = server.flush
        self.groups.start()
        self.services = services = Services(
            settings=settings,
            engine=self.engine,
            membership=membership,
            clock=self.clock,
            entropy=entropy,
            loop=loop,
            metadata=metadata,
            routes=routes,
            spawn=server.spawn,
            flush=server.flush,
            groups=self.groups,
        )
        self.uploader, self.retention = storage.uploader, storage.retention
        self.http = await start_http(
            settings.http.listen.host,
            settings.http.listen.port,
            self._http_routes(),
            {"/v1/": LazyAdmin(self._admin_handler)},
        )
        await server.start(services)
        for job in storage.jobs():
            server.spawn(job)
        self.ready = True
        self.start_seconds = process_age_seconds()
        self.gc_policy.start()
        MemoryPolicy(loop, self._work_done).start()

    def _http_routes(self) -> dict[str, Mapping[str, Handler]]:
        registry = Registry()
        measure(registry, self)
        self.registry = registry
        self.gc_policy = GcPolicy(
            asyncio.get_running_loop(),
            self.clock,
            self._work_done,
            registry.histogram("tailrace_gc_pause_seconds"),
        )
        return http_routes(self.is_ready, Exporter(registry))

    def _admin_handler(self) -> Handler:
        from tailrace_gateway.admin.context import AdminContext
        from tailrace_gateway.admin.routes import handler

        return handler(AdminContext(self.services, self.is_ready, self._storage_figures))

    def _storage_figures(self) -> "StorageFigures":
        from tailrace_gateway.admin.context import StorageFigures

        engine, wal = self.engine, self.wal
        return StorageFigures(
            data_dir=str(self.settings.broker.data_dir.absolute()),
            object_store=self.store.url,
            durability=self.settings.engine.durability,
            wal_backend=wal.backend,
            wal_sync=wal.sync,
            wal_used_bytes=wal.bytes_used,
            wal_capacity_bytes=wal.capacity_bytes,
            wal_fenced=None if wal.fenced is None else str(wal.fenced),
            hot_bytes=engine.hot.bytes_used,
            hot_budget_bytes=engine.hot.budget_bytes,
            upload_pending_bytes=engine.unuploaded_bytes,
            holds_back=engine.must_hold_back,
        )

    def _work_done(self) -> int:
        return self.engine.appended_batches + self.server.connections_accepted

    def is_ready(self) -> tuple[bool, str]:
        if not self.ready:
            return False, "the broker is not serving"
        if self.wal.fenced is not None:
            return False, str(self.wal.fenced)
        return True, "ok"

    def _endpoints(self) -> Mapping[str, tuple[str, int]]:
        bound = {listener.name: listener.port for listener in self.listeners}
        return {
            listener.name: (listener.host, listener.port or bound[listener.name])
            for listener in self.settings.kafka.advertised
        }

    def banner(self) -> str:
        """The line that says that, where and how it serves."""
        wal = self.settings.wal
        return (
            f"tailrace serves Kafka on {', '.join(map(str, self.listeners))}; "
            f"data {self.settings.broker.data_dir.absolute()}; objects {self.store.url}; "
            f"durability {self.settings.engine.durability}; WAL {self.wal.backend}, sync {wal.sync}"
        )

    async def stop(self) -> None:
        """Stop accepting, finish what is in the WAL, close. What is acknowledged is durable without an upload."""
        self.ready = False
        await self.server.stop_accepting()
        self.groups.stop()
        await self.wal.close(_STOP_SECONDS)
        self.server.flush()
        await self.server.close()
        await self.http.close()
        await self.workers.close()
        await self.tier.close()
        await self.store.close()
        await self.membership.close()


def _storage_options(settings: Settings) -> StorageOptions:
    cache, compaction, wal, upload = settings.cache, settings.compaction, settings.wal, settings.upload
    return StorageOptions(
        hot_bytes=settings.engine.hot_bytes_for(memory_bytes()),
        tier=TierReaderOptions(
            cache_bytes=cache.cold_bytes,
            block_bytes=cache.block_bytes,
            bytes_per_second_max=cache.bandwidth_bytes_per_second,
            read_ahead_bytes_min=cache.read_ahead_bytes_min,
            read_ahead_bytes_max=cache.read_ahead_bytes_max,
            read_ahead_budget_bytes=cache.read_ahead_budget_bytes,
        ),
        wal=WalOptions(wal.backend, wal.sync, wal.sync_interval_ms, wal.segment_bytes, wal.capacity_bytes),
        upload=UploadOptions(upload.bytes, upload.interval_ms, upload.pressure_ratio),
        retention=RetentionOptions(
            settings.log.retention_check_interval_ms,
            settings.object_store.sweep_interval_ms,
            settings.object_store.delete_grace_ms,
            settings.engine.producer_id_expiration_ms,
        ),
        compaction=CompactionOptions(compaction.dirty_bytes, compaction.check_interval_ms, compaction.memory_bytes),
    )


def _check_folder(folder: Path) -> None:
    """Refuse a folder whose metadata is gone while data is there: a new cluster would take that data for nobody's."""
    if (folder / "metadata.sqlite").exists():
        return
    for data in (folder / "wal", folder / "objects" / "data"):
        if data.is_dir() and any(data.iterdir()):
            raise DataCorrupt(
                f"{folder}: metadata.sqlite is missing, but {data} holds data that only it can place; "
                "restore it, or begin with an empty folder"
            )
