"""What the APIs work with: the services of the broker, and the call that is being answered."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from tailrace_core.dynamic_settings import DynamicSettings
from tailrace_core.membership import Membership
from tailrace_core.ports import Clock, Entropy, Loop
from tailrace_core.settings import Settings
from tailrace_engine.api import StorageEngine
from tailrace_engine.runtime.coordinator import Coordinator
from tailrace_gateway.kafka.fetch_sessions import FetchSessions
from tailrace_gateway.kafka.latency import ProduceLatency
from tailrace_gateway.kafka.produce_successes import ProduceSuccesses
from tailrace_gateway.kafka.producer_ids import ProducerIds

if TYPE_CHECKING:
    from tailrace_gateway.kafka.connection import Connection
    from tailrace_gateway.kafka.metadata_cache import MetadataCache
    from tailrace_gateway.kafka.routes import Routes


@dataclass(slots=True)
class Services:
    """Made once by main.py.

    spawn runs a coroutine in the server's task group, for what cannot be answered at once; flush sends the responses
    that became ready outside of a receive or an engine completion.
    """

    settings: Settings
    engine: StorageEngine
    membership: Membership
    clock: Clock
    entropy: Entropy
    loop: Loop
    metadata: "MetadataCache"
    routes: "Routes"
    spawn: Callable[[Coroutine[Any, Any, None]], object]
    flush: Callable[[], None]
    groups: Coordinator
    topics_in_creation: dict[str, None] = field(default_factory=dict)
    """Asked for by Metadata requests, and not there yet."""
    dynamic: DynamicSettings = field(init=False)
    producer_ids: ProducerIds = field(init=False)
    produce_latency: ProduceLatency = field(init=False)
    produce_successes: ProduceSuccesses = field(init=False)
    fetch_sessions: FetchSessions = field(init=False)

    def __post_init__(self) -> None:
        self.dynamic = DynamicSettings(self.settings)
        self.dynamic.follow(self.membership)
        self.producer_ids = ProducerIds(self.membership)
        self.produce_latency = ProduceLatency(self.clock)
        self.produce_successes = ProduceSuccesses()
        self.fetch_sessions = FetchSessions(self.settings.kafka.fetch_session_slots_max, self.entropy.bytes)


class Call(NamedTuple):
    """One request of an API that answers with a value."""

    services: Services
    connection: "Connection"
    client_id: str
    version: int
