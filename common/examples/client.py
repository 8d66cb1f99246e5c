#!/usr/bin/env python3
"""A client of the broker, with nothing but Python's standard library.

    client.py publish TOPIC MESSAGE...   each message once, whatever is lost on the way
    client.py follow TOPIC [FROM]        from now on, or from a number on, for ever

Environment: BROKER, http://127.0.0.1:9000 unless said otherwise; BROKER_TOKEN if it asks for one.
"""

import http.client
import json
import os
import secrets
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

# What a broken connection looks like. A refusal is an OSError as well, and is told apart first.
LOST = (OSError, http.client.HTTPException)


class Broker:
    def __init__(self, address, token=None):
        self.address = address.rstrip("/")
        self.fields = {"Authorization": f"Bearer {token}"} if token else {}
        # Publishes are numbered under a name of our own, so that the broker knows one again that
        # is sent twice because its answer was lost.
        self.name = secrets.token_hex(8)
        self.sequences = {}

    def open(self, path, body=None, fields=None):
        """One request. Raises HTTPError for a refusal, and one of LOST where there is no answer."""
        fields = {**self.fields, **(fields or {})}
        request = urllib.request.Request(self.address + path, body, fields)
        # A stream says something every 15 seconds.
        return urllib.request.urlopen(request, timeout=40)

    def publish(self, topic, *messages):
        """Appends messages to a topic, each exactly once, and gives the offset of the first."""
        sequence = self.sequences.get(topic, 0)
        publish = {
            "topic": topic, "messages": messages,
            "publisher": self.name, "epoch": 0, "sequence": sequence,
        }
        answer = again(lambda: json.load(self.open("/publish", json.dumps(publish).encode())))
        self.sequences[topic] = sequence + len(messages)
        return answer["offset"]

    def follow(self, topic, start=None):
        """Yields the messages of a topic as they come, for ever: offset, message, time and
        publisher of each. Without `start` it begins now."""
        query = {"topic": topic} if start is None else {"topic": topic, "from": start}
        path = "/events?" + urllib.parse.urlencode(query)
        place = {}
        while True:
            stream = again(lambda: self.open(path, fields=place))
            opened = time.monotonic()
            event = {}
            try:
                for line in stream:
                    name, _, value = line.decode().rstrip("\n").partition(": ")
                    if name:
                        event[name] = value
                        continue
                    # An empty line ends the event. Its id is the place to go on at.
                    if "id" in event:
                        place = {"Last-Event-ID": event["id"]}
                    if event.get("event") == "reset":
                        print("the topic was deleted and created again", file=sys.stderr)
                    elif "data" in event:
                        yield json.loads(event["data"])
                    event = {}
            except LOST:
                pass
            # What opens and ends at once may do so again and again.
            time.sleep(max(0, opened + 1 - time.monotonic()))


def again(attempt):
    """Tries until there is an answer, with growing pauses. A refusal is an answer."""
    pause = 0.1
    while True:
        try:
            return attempt()
        except urllib.error.HTTPError as refusal:
            if refusal.code != 503:
                raise
        except LOST:
            pass
        time.sleep(pause)
        pause = min(2 * pause, 5)


def main(arguments):
    address = os.environ.get("BROKER", "http://127.0.0.1:9000")
    broker = Broker(address, os.environ.get("BROKER_TOKEN"))
    match arguments:
        case ["publish", topic, *messages] if messages:
            broker.publish(topic, *messages)
        case ["follow", topic, *start] if len(start) <= 1:
            for event in broker.follow(topic, *start):
                print(event["offset"], event["publisher"] or "-", event["message"], flush=True)
        case _:
            sys.exit(__doc__.strip())


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except urllib.error.HTTPError as refusal:
        sys.exit(f"{refusal.code}: {refusal.read().decode()}")
    except KeyboardInterrupt:
        pass
