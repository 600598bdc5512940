"""
A web application that makes one call per request, named after the path; as WSGI and as ASGI.
"""

import asyncio
import os

from calls import acall, call, opened


def wsgi(environ, start_response):
    name = environ["PATH_INFO"][1:]
    call(name)
    if "own-loop" in name:
        asyncio.run(asyncio.sleep(0))
    with opened(f"{name}-stream") as chunks:
        for _ in chunks:
            pass
    with opened(f"{name}-left"):
        pass
    start_response("200 OK", [("content-type", "text/plain")])
    return [str(os.getpid()).encode()]


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while (event := (await receive())["type"].partition(".")[2]) != "shutdown":
            await send({"type": f"lifespan.{event}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await acall(scope["path"][1:])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
