"""A publisher that knows the bare contract and nothing else."""

import json
import os
import urllib.request

address = os.environ["PEER_BROKER_HOST"] + ":" + os.environ["PEER_BROKER_PORT"]

for topic, messages in {"alpha": ["one", "two", "three"], "beta": ["red", "green"]}.items():
    for message in messages:
        body = json.dumps({"topic": topic, "message": message}).encode()
        with urllib.request.urlopen(f"http://{address}/publish", data=body, timeout=60) as answer:
            assert answer.status == 200, answer.status
