"""A client of the dialect of channels, written by somebody who knows nothing but that dialect.

Objects are sent without line breaks between them. Whatever one `recv` returns is decoded at once,
which only works where a broker writes ASCII. Lines of standard input are commands: `subscribe
CHANNEL`, `unsubscribe CHANNEL` and `publish CHANNEL MESSAGE`; what the broker says is printed.

Usage: channels.py HOST PORT args|flat
"""

import json
import socket
import sys
import threading


class Client:
    def __init__(self, host, port, is_flat):
        self.is_flat = is_flat
        self.socket = socket.create_connection((host, port))

    def subscribe(self, channel):
        self.command("SUBSCRIBE", {"channel": channel})

    def unsubscribe(self, channel):
        self.command("UNSUBSCRIBE", {"channel": channel})

    def publish(self, channel, message):
        self.command("PUBLISH", {"channel": channel, "message": message})

    def command(self, name, arguments):
        command = {"command": name}
        command.update(arguments if self.is_flat else {"args": arguments})
        self.socket.sendall(json.dumps(command).encode())

    def listen(self):
        rest = ""
        while True:
            received = self.socket.recv(1000)
            if not received:
                return
            *lines, rest = (rest + received.decode()).split("\n")
            for line in lines:
                yield json.loads(line)


def show(client):
    for said in client.listen():
        kind = said.pop("type")
        print(kind, " ".join(f"{key}={value}" for key, value in said.items()), flush=True)
    print("END", flush=True)


def main():
    host, port, form = sys.argv[1:]
    client = Client(host, int(port), form == "flat")
    threading.Thread(target=show, args=(client,), daemon=True).start()
    for line in sys.stdin:
        verb, *arguments = line.rstrip("\n").split(" ", 2)
        getattr(client, verb)(*arguments)


main()
