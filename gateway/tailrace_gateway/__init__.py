"""The gateway: speaks the Kafka protocol to clients and hands their requests to the storage engine."""
