"""A subscriber that knows the bare contract and nothing else: it polls, and copies."""

import os
import time
import urllib.parse
import urllib.request

address = os.environ["PEER_BROKER_HOST"] + ":" + os.environ["PEER_BROKER_PORT"]
with open("topic.txt", encoding="utf-8") as file:
    topic = urllib.parse.quote(file.read().strip())

while True:
    url = f"http://{address}/messages?topic={topic}"
    with urllib.request.urlopen(url, timeout=60) as answer:
        text = answer.read()
    with open("received.tmp", "wb") as file:
        file.write(text)
    os.replace("received.tmp", "received.txt")
    time.sleep(0.05)
