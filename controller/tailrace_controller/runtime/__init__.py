"""The asyncio owners of the metadata."""
