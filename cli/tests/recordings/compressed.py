"""What tshark reads in the capture of a class that compresses: python3 compressed.py RECORDING CAPTURE"""

import subprocess
import sys

RECORDING, CAPTURE = sys.argv[1:]


def check(name, is_fine):
    print(f"{'ok    ' if is_fine else 'FAILED'} tshark: {name}")


def fields(which, *names):
    """Returns the values of these fields in each packet that has them."""
    columns = [option for name in names for option in ("-e", name)]
    command = ["tshark", "-r", CAPTURE, "-Y", which, "-T", "fields", *columns]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


extensions = fields("http.response.code == 101", "http.sec_websocket_extensions").split("\n")
check("the response names the extension", extensions[0].startswith("permessage-deflate"))
check("the recording has no text of a compressed message", "e282ace282ace282ac" not in open(RECORDING).read())
# RSV1 is the first of the three bits. tshark 4.0 does not decompress a message in several fragments.
texts = fields("websocket.rsv == 4 && websocket.fin == 1 && websocket.opcode == 1", "websocket.payload.text").split("\n")
for text in ("x" * 3000, "Echo: " + "x" * 3000, "€" * 30000, "Echo: " + "€" * 30000):
    check(f"{len(text)} characters, {text[:7]}…, are decompressed", text in texts)
check("nothing fails to decompress", not fields("websocket.decompression.failed.expert", "frame.number"))
