"""Follows an event stream with `sseclient-py` over `requests`. It does not come back by itself."""

import json
import sys
import time

import requests
import sseclient

url, last = sys.argv[1], None
while True:
    headers = {"Accept": "text/event-stream"}
    if last:
        headers["Last-Event-ID"] = last
    try:
        with requests.get(url, headers=headers, stream=True, timeout=(5, 60)) as answer:
            answer.raise_for_status()
            for event in sseclient.SSEClient(answer).events():
                data = json.loads(event.data)
                print(data["offset"], data["message"], flush=True)
                last = event.id
    except requests.RequestException:
        pass
    time.sleep(0.1)
