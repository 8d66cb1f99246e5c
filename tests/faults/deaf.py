"""Thousands of sessions that stop reading at once, in a network of their own with small buffers.

    deaf.py BROKER COUNT

Publishers are answered all the same, the broker has no more threads than std can bear, and whoever
reads gets everything in order once the others are gone.
"""
import json
import socket
import subprocess
import sys
import time


def main(program, count):
    broker = subprocess.Popen([program, "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        port = int(broker.stdout.readline().split("127.0.0.1:")[1].split()[0])
        check(broker, ("127.0.0.1", port), count)
    finally:
        broker.kill()


def check(broker, address, count):
    deaf = [subscribe(address) for _ in range(count)]
    for session in deaf:
        assert b"success" in session.recv(100)
    good = subscribe(address).makefile("rb")
    assert b"success" in good.readline()
    # Each thread takes four mappings, and a fifth is for other things.
    with open("/proc/sys/vm/max_map_count") as file:
        limit = int(file.read()) // 5
    most, slowest = 0, 0
    for number in range(40):
        began = time.monotonic()
        publish(address, [f"{number} {line} " + "x" * 1000 for line in range(10)])
        slowest = max(slowest, time.monotonic() - began)
        most = max(most, threads(broker))
    for _ in range(30):
        time.sleep(0.1)
        most = max(most, threads(broker))
    assert count < most <= limit, f"{most} threads, {limit} are allowed"
    assert slowest < 20, f"a publish took {slowest} s"
    for session in deaf:
        session.close()
    for number in range(40):
        for line in range(10):
            message = json.loads(good.readline())["message"]
            assert message.startswith(f"{number} {line} "), message
    deadline = time.monotonic() + 60
    while threads(broker) > 50:
        assert time.monotonic() < deadline, f"{threads(broker)} threads stay"
        time.sleep(0.1)
    assert broker.poll() is None
    print(f"{count} sessions, at most {most} threads of {limit}, "
          f"the slowest of 40 publishes took {slowest * 1000:.0f} ms")


def subscribe(address):
    session = socket.create_connection(address)
    session.sendall(b'{"command":"subscribe","topic":"loud","from":0}')
    return session


def publish(address, lines):
    body = "\n".join(lines).encode()
    with socket.create_connection(address) as publisher:
        publisher.settimeout(60)
        publisher.sendall(b"POST /topics/loud HTTP/1.1\r\nHost: localhost\r\n"
                          b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        answer = publisher.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200 "), answer


def threads(process):
    with open(f"/proc/{process.pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Threads:"))


main(sys.argv[1], int(sys.argv[2]))
