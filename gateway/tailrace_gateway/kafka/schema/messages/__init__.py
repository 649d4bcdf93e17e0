"""The declarations: one file per API, and a few for headers and records. Loaded by `schema`, one by one."""
