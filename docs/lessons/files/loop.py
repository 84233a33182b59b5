#!/usr/bin/env python3
"""An event loop: one thread, many connections. It prints what each read returns.

Usage: python3 loop.py              a read returns at most 4096 bytes
       python3 loop.py BYTES        a read returns at most so many bytes
       python3 loop.py --busy       the loop is busy for 5 seconds after each read
"""

import selectors
import socket
import sys
import time

is_busy = "--busy" in sys.argv
numbers = [argument for argument in sys.argv[1:] if argument != "--busy"]
if len(numbers) > 1 or not all(number.isdigit() and int(number) > 0 for number in numbers):
    sys.exit(__doc__)
most = int(numbers[0]) if numbers else 4096


def accept(selector, listener, number):
    client, _ = listener.accept()
    client.setblocking(False)
    selector.register(client, selectors.EVENT_READ, data=f"client {number}")
    print(f"ready: listener -> accepted client {number}", flush=True)


def read(selector, client, name):
    try:
        data = client.recv(most)
    except ConnectionError:
        data = b""
    if not data:
        # An empty read means that the client has closed its connection.
        print(f"ready: {name} -> closed", flush=True)
        selector.unregister(client)
        client.close()
        return
    count = "1 byte" if len(data) == 1 else f"{len(data)} bytes"
    print(f"ready: {name} -> read {count}: {data.hex(' ')}", flush=True)
    if is_busy:
        print("busy for 5 seconds ...", flush=True)
        time.sleep(5)
        print("not busy any more", flush=True)


def run():
    listener = socket.create_server(("localhost", 9000))
    listener.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    print("The loop listens on port 9000. Ctrl+C stops it.", flush=True)
    accepted = 0
    while True:
        # Sleeps until the kernel reports which sockets are ready. On Windows, Ctrl+C is only noticed between two sleeps.
        for key, _ in selector.select(timeout=1):
            if key.fileobj is listener:
                accepted += 1
                accept(selector, listener, accepted)
            else:
                read(selector, key.fileobj, key.data)


try:
    run()
except OSError as error:
    sys.exit(f"port 9000: {error}")
except KeyboardInterrupt:
    print()
