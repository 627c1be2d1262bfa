"""Serve a collection from a web application: opened at startup, shared by threads, closed at exit.

    python examples/web_app.py                    # asks itself, without a server
    uvicorn --app-dir examples web_app:app        # serves, once `pip install uvicorn` was run

The application is plain ASGI, which FastAPI and Starlette are as well: there, `lifespan` is the
argument of that name, and `search` and `add` are bodies of `def` endpoints, which run in threads.
A collection is safe to share: searches run side by side, and each sees whole commits only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import nestling

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class App:
    """An ASGI application: GET /search?q=…&k=…, POST /documents with a JSON list of texts.

    Args:
        path: The collection's folder.
        model: Its encoder.
    """

    def __init__(self, path: str | Path, model: str = "minilm") -> None:
        self.path = Path(path)
        self.model = model
        self.collection: nestling.Collection | None = None

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Opens the collection once, before the first request; closes it after the last."""
        self.collection = await asyncio.to_thread(nestling.Collection, self.path, self.model)
        try:
            yield
        finally:
            self.collection.close()

    def search(self, question: str, k: int = 3) -> list[dict[str, Any]]:
        """Runs in a thread: the GIL is released while the core and the model work."""
        assert self.collection is not None, "outside of the lifespan"
        hits = self.collection.search(question, k=k, mode="hybrid")
        return [{"id": hit.id, "score": hit.score, "text": hit.text} for hit in hits]

    def add(self, texts: list[str]) -> dict[str, int]:
        """Runs in a thread: one writer at a time, and others wait for it; searches do not."""
        assert self.collection is not None, "outside of the lifespan"
        self.collection.add(texts)
        return {"documents": len(self.collection)}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers one request, or runs the lifespan."""
        if scope["type"] == "lifespan":
            await receive()
            async with self.lifespan():
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "http":
            try:
                status, answer = 200, await self._answer(scope, receive)
            except (nestling.NestlingError, ValueError) as error:
                status, answer = 400, {"error": str(error)}
            body = json.dumps(answer, ensure_ascii=False).encode()
            headers = [(b"content-type", b"application/json; charset=utf-8")]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Message, receive: Receive) -> Any:
        request = scope["method"], scope["path"]
        if request == ("GET", "/search"):
            query = parse_qs(scope["query_string"].decode())
            return await asyncio.to_thread(self.search, query["q"][0], int(query.get("k", [3])[0]))
        if request == ("POST", "/documents"):
            body, more = b"", True
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
            return await asyncio.to_thread(self.add, json.loads(body))
        raise ValueError(f"no such page: {' '.join(request)}")


app = App("web-app-collection")


async def request(app: App, method: str, path: str, query: str = "", body: bytes = b"") -> Any:
    """Calls the application as a server does; returns the decoded answer."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode()}
    await app(scope, receive, send)
    return json.loads(sent[-1]["body"])


async def try_out(app: App) -> None:
    """Asks 200 questions at once while documents are added."""
    texts = [f"Room {number} is on floor {number // 100}." for number in range(100, 500)]
    async with app.lifespan():
        print(await request(app, "POST", "/documents", body=json.dumps(texts[:200]).encode()))
        questions = [request(app, "GET", "/search", f"q=room+{n}&k=1") for n in range(100, 300)]
        adding = request(app, "POST", "/documents", body=json.dumps(texts[200:]).encode())
        *answers, added = await asyncio.gather(*questions, adding)
        right = sum(f"Room {100 + n} " in hits[0]["text"] for n, hits in enumerate(answers))
        print(added)
        print(f"{right} of {len(answers)} questions found their room while documents were added")


def main() -> None:
    """Reads the command line and tries the application out in a temporary folder."""
    parser = argparse.ArgumentParser(description="Serve a collection from a web application.")
    parser.add_argument("--model", default="minilm", help="a built-in model, a folder, a hub id")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(try_out(App(Path(folder, "rooms"), options.model)))


if __name__ == "__main__":
    main()
