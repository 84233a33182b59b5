"""What the TLS checks in Python share: named checks, the lines that they print, and reads of an exact length."""
CHECKS = []

def check(name):
    return lambda function: CHECKS.append((name, function))

def run(title):
    """Runs all checks and prints a line for each. Returns the exit code."""
    failed = 0
    for name, function in CHECKS:
        try:
            function()
            print(f"ok     {title}: {name}")
        except Exception as error:
            failed += 1
            print(f"FAILED {title}: {name}: {error!r}")
    return 1 if failed else 0

def exactly(client, length):
    """Returns the next bytes of a connection, exactly `length` of them."""
    data = b""
    while len(data) < length:
        piece = client.recv(length - len(data))
        assert piece, f"the end after {data!r}"
        data += piece
    return data
