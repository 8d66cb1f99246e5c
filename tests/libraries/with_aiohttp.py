"""Follows an event stream with `aiohttp-sse-client2`, which comes back by itself for a while."""

import asyncio
import json
import sys

import aiohttp
from aiohttp_sse_client2 import client


async def follow(url):
    last = None
    while True:
        headers = {"Last-Event-ID": last} if last else {}
        try:
            # Without a time-out: the library's own ends a stream after five minutes.
            async with client.EventSource(
                url, headers=headers, timeout=aiohttp.ClientTimeout(total=None)
            ) as events:
                async for event in events:
                    data = json.loads(event.data)
                    print(data["offset"], data["message"], flush=True)
                    last = event.last_event_id
        except (aiohttp.ClientError, ConnectionError, asyncio.TimeoutError):
            pass
        await asyncio.sleep(0.1)


asyncio.run(follow(sys.argv[1]))
