"""How a forwarding broker names the principal of the client."""

from __future__ import annotations

from tailrace_core.schema.declare import Message, boolean, f, string


class DefaultPrincipalData(Message, versions="0", flexible="0+"):
    type: str = f(string, "0+")
    name: str = f(string, "0+")
    token_authenticated: bool = f(boolean, "0+")
