"""Follows an event stream with `requests`, which knows nothing of events: by its lines."""

import json
import sys
import time

import requests

url, last = sys.argv[1], None
while True:
    headers = {"Last-Event-ID": last} if last else {}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=(5, 60)) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines(decode_unicode=True, chunk_size=None):
                if line.startswith("data: "):
                    event = json.loads(line[6:])
                    print(event["offset"], event["message"], flush=True)
                elif line.startswith("id: "):
                    last = line[4:]
    except requests.RequestException:
        pass
    time.sleep(0.1)
