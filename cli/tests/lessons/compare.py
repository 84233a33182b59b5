"""Compares what a terminal shows with what a page shows. Only times, ports that the kernel chose, the memory of the machine
and, where a page says so, random keys may differ."""

import difflib
import re

BYTE = "[0-9a-f]{2}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"

# What differs from run to run, and the name that stands for it.
ALWAYS = [
    (TIME, "<time>"),
    (r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", "<time>"),
    (r'"uptime_seconds": ?\d+', '"uptime_seconds":<time>'),
    # The ports of clients. A port that a page chooses is below this range.
    (r"(127\.0\.0\.1|\[::1\]|localhost|::1)(:|', |\) )(3[2-9]\d{3}|[45]\d{4}|60\d{3})\b", r"\1\2<port>"),
    (r"((?:memory limit of all|limite de memória de todas).*bytes=)\d+", r"\1<memory>"),
]

# The values of `random=` of a block.
RANDOM = {
    "keys": [
        # The key of a request, and what the server computes from it.
        (r"(Sec-WebSocket-(?:Key|Accept): *)\S+", r"\1<key>"),
        (r"((?:GUID|base64): *)\S+", r"\1<key>"),
        (rf"(SHA-1: *){BYTE}( {BYTE})*", r"\1<key>"),
        # The header of a masked frame, in which the key comes last.
        (rf"({BYTE} )+(\|.* MASK=1 .*key=){BYTE}( {BYTE}){{3}}", r"<header> \2<key>"),
        # The masked payload data, before the same without its mask.
        (rf"({BYTE} )+(\| .*(?:unmasked|sem a máscara))", r"<masked> \2"),
        # A masking key alone, and the SHA-256 of a certificate.
        (rf"\bkey={BYTE}( {BYTE}){{3}}", "key=<key>"),
        (r"\b([0-9A-F]{2}:){31}[0-9A-F]{2}\b", "<fingerprint>"),
    ],
    "times": [(r"\b\d+([.,]\d+)? (ms|s)\b", "<time>")],
    # How much is queued depends on the machine. Its first digit and how many digits it has do not.
    "sizes": [(r"\b(\d)(\d{4,})\b", lambda size: size[1] + "#" * len(size[2]))],
    # What `framewise load` measures. How many messages it has sent and received is compared.
    "speed": [
        (r", \d+\.\d s: ", ", <time>: "),
        (r"\b\d+ (a second|por segundo)\b", r"<rate> \1"),
        (r"\b(p[\d.]+|max) +\d+\.\d\d", r"\1 <latency>"),
        (r"^ *\d+\.\d\d +█+ \d+$", "<row>"),
    ],
    # How many messages were sent and received, how much is queued or was read.
    "counts": [
        (r"\b\d+ (messages sent|mensagens enviadas), \d+ (received|recebidas)", r"<count> \1, <count> \2"),
        (r"^(framewise_\w+(?:\{.*\})?) \d+$", r"\1 <count>"),
        (r"\b\d+\.\d MiB", "<size>"),
    ],
    # The records of a TLS handshake, as tap.py shows them. A signature is sometimes a byte longer, and so is its record.
    "records": [(rf"\b(1[4-7] 03 0[1-4]) {BYTE} {BYTE} (\| .*), \d+ bytes?", r"\1 <length> \2, <length>")],
    # The history of a room, as an acknowledgement names it.
    "epoch": [(r'("epoch":")[0-9a-f]{16}"', r'\1<epoch>"')],
    # What both directions of a connection carry at the same time has no order; `equal` compares them apart.
    "order": [],
}


def numbered(lines, random=()):
    """Returns the lines with names in place of what may differ, without empty lines at the end, each with its number from 0."""
    rules = ALWAYS + [rule for name in random for rule in RANDOM[name]]
    result = []
    for number, line in enumerate(lines):
        # The terminal may show Ctrl+C or not, which depends on its mode.
        is_interrupt = line.startswith("^C")
        line = line.removeprefix("^C").rstrip()
        for pattern, name in rules:
            line = re.sub(pattern, name, line)
        if line == "<row>" and result and result[-1][1] == line:
            # How many rows a histogram has, depends on the machine too.
            continue
        if line or not is_interrupt:
            result.append((number, line))
    while result and not result[-1][1]:
        result.pop()
    return result


def is_log(line):
    return re.match(r"<time> +(ERROR|WARN|INFO|DEBUG|TRACE) ", line) is not None


def equal(shown, page, random=()):
    """Reports whether both are the same. A server writes its log and its other lines to two streams, whose order relative to
    each other is not fixed, so they are compared apart. With `order` so are lines that begin with > and with <."""

    def stream(line):
        if is_log(line):
            return "log"
        return line[0] if "order" in random and line[:1] in (">", "<") else "other"

    def streams(lines):
        result = {}
        for _, line in numbered(lines, random):
            result.setdefault(stream(line), []).append(line)
        return result

    return streams(shown) == streams(page)


def difference(shown, page, first_line, random=()):
    """Returns the number of the first line of the page that differs, and all lines: - on the page, + on the terminal."""
    page = numbered(page, random)
    shown = [line for _, line in numbered(shown, random)]
    texts = [line for _, line in page]
    at, rows = None, []
    for tag, i, j, k, m in difflib.SequenceMatcher(None, texts, shown, autojunk=False).get_opcodes():
        if tag == "equal":
            rows += [f"      {line}" for line in texts[i:j]]
            continue
        if at is None:
            # Where lines are missing at the end, the line after the last one.
            at = page[i][0] if i < len(page) else (page[-1][0] + 1 if page else 0)
        rows += [f"    - {line}" for line in texts[i:j]]
        rows += [f"    + {line}" for line in shown[k:m]]
    return first_line + (at or 0), rows
