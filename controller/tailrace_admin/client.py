"""The HTTP side: one request after another on one connection, answers as JSON objects."""

import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

_SECONDS_MAX: Final = 90.0
"""Above the broker's own patience with a request, so that its reason is heard."""

Answer = dict[str, Any]


class WrongUrl(ValueError):
    """The text says what is allowed."""


class Unreachable(Exception):
    """Nobody there, or nobody who speaks this API."""


class Refused(Exception):
    """The broker's own answer: code is Kafka's name of the error, the text says what is allowed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Client:
    """url: http://HOST:PORT. Raises WrongUrl."""

    def __init__(self, url: str, seconds: float = _SECONDS_MAX) -> None:
        split = urlsplit(url if "://" in url else f"http://{url}")
        try:
            port = split.port
        except ValueError:
            port = None
            split = split._replace(scheme="")
        if split.scheme != "http" or not split.hostname or split.path not in ("", "/") or split.query:
            raise WrongUrl(f"{url!r} is not a broker's HTTP address; allowed: http://HOST:PORT")
        self.url = f"http://{split.netloc}"
        self._connection = http.client.HTTPConnection(split.hostname, port or 9644, timeout=seconds)

    def close(self) -> None:
        self._connection.close()

    def get(self, *segments: str, **query: str | int) -> Answer:
        """The object at the path of these segments. Raises Refused and Unreachable."""
        return self.send("GET", *segments, query=query)

    def send(
        self,
        method: str,
        *segments: str,
        body: Mapping[str, object] | None = None,
        query: Mapping[str, str | int] | None = None,
    ) -> Answer:
        """Raises Refused and Unreachable."""
        path = "/v1/" + "/".join(quote(segment, safe="") for segment in segments)
        if query:
            path += "?" + urlencode(query)
        headers = {} if method == "GET" else {"Content-Type": "application/json"}
        try:
            self._connection.request(method, path, json.dumps(body or {}) if headers else None, headers)
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unreachable(f"no broker answers at {self.url}: {error or type(error).__name__}") from None
        try:
            answer = json.loads(text)
            if response.status < 400:
                assert isinstance(answer, dict)
                return answer
            refusal = Refused(answer["error"]["code"], answer["error"]["message"])
        except (ValueError, AssertionError, KeyError, TypeError):
            raise Unreachable(f"what answers at {self.url} is not a broker's admin API") from None
        raise refusal

    def pages(self, noun: str, on_page: Callable[[int], object], **query: str) -> Answer:
        """All of a list, as one answer. on_page is told how many there are so far."""
        answer = self.get(noun, **query)
        items = answer[noun]
        while answer["next_after"] is not None:
            on_page(len(items))
            answer = self.get(noun, **query, after=answer["next_after"])
            items += answer[noun]
        return {**answer, noun: items}

    def names(self, noun: str) -> Iterator[str]:
        """What there is: topics, groups, brokers. Raises Refused and Unreachable."""
        match noun:
            case "brokers" | "broker-loggers":
                yield from (str(broker["node_id"]) for broker in self.get("brokers")["brokers"])
            case "topics" | "groups":
                key = "name" if noun == "topics" else "group_id"
                yield from (item[key] for item in self.pages(noun, lambda count: None)[noun])
