#!/usr/bin/env python3
"""A chat client: JSON events over a WebSocket, rooms, private messages, and a connection that comes back.

Usage: python3 client.py NAME [ROOM] [URL]
It needs the package websockets, version 11 or later: python3 -m pip install websockets

    Hello          says it to everybody in the room
    @ana: Hello    says it to ana alone
    /room 7b       goes to another room
    /who           asks who is in the room
    /exit          leaves
"""

import json
import random
import re
import sys
import threading
import time

try:
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect
except ImportError:
    sys.exit("The package websockets is missing or too old. Type: python3 -m pip install --upgrade websockets")


def show(text):
    """Prints a line in place of the prompt, and the prompt again below it."""
    # Whoever sends control characters could move the cursor and change what the terminal shows.
    text = re.sub(r"[\x00-\x1f\x7f-\x9f]", "?", text)
    print(f"\r{text}\n> ", end="", flush=True)


def ask():
    """Prints the prompt, or prints it once more where it is already, and returns the next line."""
    print("\r> ", end="", flush=True)
    return input()


def delay(failures):
    """Returns how many seconds to wait after so many failures: at most 1, 2, 4, 8, 16, then always 30, and at least half of it."""
    return min(30, 2 ** (failures - 1)) * random.uniform(0.5, 1)


class Client:
    def __init__(self, name, room="lobby", url="ws://localhost:8765/ws/events"):
        self.name, self.room, self.url = name, room, url
        self.socket = None
        self.is_leaving = False

    def keep_connected(self):
        """Connects, and connects again after each loss. This runs in a thread of its own."""
        failures = 0
        while not self.is_leaving:
            try:
                with connect(self.url) as self.socket:
                    self.send({"type": "join", "room": self.room, "name": self.name})
                    for text in self.socket:
                        failures = 0
                        self.receive(json.loads(text))
                reason = "the server has closed the connection"
            except (OSError, WebSocketException) as error:
                reason = str(error)
            self.socket = None
            failures += 1
            if failures == 1 and not self.is_leaving:
                show(f"Not connected: {reason}. Trying again.")
            time.sleep(delay(failures))

    def send(self, event):
        """Sends an event. Reports whether there is a connection to send it on."""
        try:
            self.socket.send(json.dumps(event))
        except (AttributeError, WebSocketException):
            # Without a connection, self.socket is None and has no send.
            return False
        return True

    def receive(self, event):
        """Shows what an event says. A chat message is the only event without a type."""
        kind = event.get("type", "message")
        if kind == "message":
            somebody = event.get("from", "somebody")
            show(f"{somebody}{' to you alone' if 'to' in event else ''}: {event['message']}")
        elif kind == "joined":
            self.name, self.room = event.get("name"), event["room"]
            show(f"You are {self.name or 'nobody'} in {self.room}.")
        elif kind == "who":
            show("In the room: " + ", ".join(event["names"]))
        elif kind == "error":
            show("error: " + event["error"]["message"])
            if event["error"]["code"] == "name_taken":
                self.send({"type": "join", "room": self.room, "name": event["error"]["free"]})
        else:
            show(json.dumps(event))

    def typed(self, line):
        """Does what a typed line asks for."""
        if line.startswith("/room "):
            event = {"type": "join", "room": line[6:]}
        elif line == "/who":
            event = {"type": "who"}
        elif line.startswith("@") and ": " in line:
            to, text = line[1:].split(": ", 1)
            event = {"message": text, "to": to}
        else:
            event = {"message": line}
        if not self.send(event):
            show("There is no connection, so this was not sent.")

    def leave(self):
        self.is_leaving = True
        if self.socket:
            self.socket.close()


if not 2 <= len(sys.argv) <= 4:
    sys.exit(__doc__)
client = Client(*sys.argv[1:])
threading.Thread(target=client.keep_connected, daemon=True).start()
try:
    while (line := ask()) != "/exit":
        if line:
            client.typed(line)
except (EOFError, KeyboardInterrupt):
    print()
client.leave()
