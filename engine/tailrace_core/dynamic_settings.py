"""Broker settings that change while the broker runs (Kafka's dynamic broker configs), apart from topics' defaults.

What topics inherit reaches them as TopicConfigs; the few other settings that take effect at once are attributes here,
of the settings' own names and types. Read them where they are used, each time, and keep no copy: `services.dynamic` has
the one object, so `services.dynamic.connections_max` is the limit in force now.

    DynamicSettings(settings)          what the broker was started with
    .follow(membership)                and from then on what IncrementalAlterConfigs made of it

Another one that is to change at run time is declared here and added to _PLACES; its Kafka name must not be read-only.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from tailrace_core.kafka_configs import broker_config_name, setting_type
from tailrace_core.membership import BrokerConfigsChanged, ChangeEvent, Membership
from tailrace_core.settings import Place, Settings, each_field

_PLACES: Final = (
    Place("kafka", "connections_max"),
    Place("kafka", "connections_per_ip_max"),
    Place("kafka", "connections_per_ip_overrides"),
)
_NAMES: Final = {place: broker_config_name(place, field) for place, field in each_field() if place in _PLACES}


class DynamicSettings:
    """See the module."""

    connections_max: int
    connections_per_ip_max: int
    connections_per_ip_overrides: Sequence[tuple[str, int]]
    """Addresses in their normal form, and their limits."""

    def __init__(self, settings: Settings) -> None:
        self._static = {place: getattr(getattr(settings, place.section), place.key) for place in _PLACES}
        self._apply({})

    def follow(self, membership: Membership) -> None:
        """Take what is in force, now and after every change."""

        def on_change(event: ChangeEvent) -> None:
            if isinstance(event, BrokerConfigsChanged):
                self._apply(membership.image.dynamic_broker_configs)

        membership.subscribe(on_change)
        self._apply(membership.image.dynamic_broker_configs)

    def _apply(self, texts: Mapping[str, str]) -> None:
        for place, name in _NAMES.items():
            text = texts.get(name)
            value = self._static[place] if text is None else setting_type(place).validate_python(text.strip())
            setattr(self, place.key, value)
