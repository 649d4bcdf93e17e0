"""The Kafka protocol: frames, message schemas, connections and one handler per API."""
