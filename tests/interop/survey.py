"""What a server of TLS accepts, one thing at a time: survey.py RSA_PORT ECDSA_PORT CA, for two servers with such keys."""
import os, re, socket, ssl, struct, subprocess, sys, tempfile

from checks import check, exactly, run

RSA, ECDSA, CA = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
# RFC 8446 section 6.2
HANDSHAKE_FAILURE, ILLEGAL_PARAMETER, PROTOCOL_VERSION = 40, 47, 70
# By key: the suites of TLS 1.2 with an ephemeral key and AEAD, as in RFC 5289 and RFC 7905, and their names in OpenSSL.
SUITES = {
    RSA: {0xC02F: "ECDHE-RSA-AES128-GCM-SHA256", 0xC030: "ECDHE-RSA-AES256-GCM-SHA384", 0xCCA8: "ECDHE-RSA-CHACHA20-POLY1305"},
    ECDSA: {0xC02B: "ECDHE-ECDSA-AES128-GCM-SHA256", 0xC02C: "ECDHE-ECDSA-AES256-GCM-SHA384",
            0xCCA9: "ECDHE-ECDSA-CHACHA20-POLY1305"},
}

def vector(size, data):
    """RFC 8446 section 3.4: a length of so many bytes, and the data."""
    return len(data).to_bytes(size, "big") + data

def hello(port, version=0x0303, suites=tuple(SUITES[RSA]) + tuple(SUITES[ECDSA]), compression=b"\0"):
    """Sends a ClientHello without the extensions of TLS 1.3. Returns the code of the alert, or the suite, the compression and the
    random bytes that the server chose (RFC 5246 section 7.4.1)."""
    extensions = [(10, vector(2, b"\x00\x1d\x00\x17")), (11, vector(1, b"\0")), (23, b""), (0xff01, vector(1, b"")),
                  (13, vector(2, b"\x08\x04\x04\x01\x04\x03"))]
    body = struct.pack(">H32s", version, os.urandom(32)) + vector(1, b"")
    body += vector(2, b"".join(suite.to_bytes(2, "big") for suite in suites)) + vector(1, compression)
    body += vector(2, b"".join(number.to_bytes(2, "big") + vector(2, data) for number, data in extensions))
    with socket.create_connection(("localhost", port), 30) as client:
        client.sendall(b"\x16\x03\x01" + vector(2, b"\x01" + vector(3, body)))
        kind, _, length = struct.unpack(">BHH", exactly(client, 5))
        record = exactly(client, length)
    if kind == 21:
        assert record[0] == 2, "a fatal alert"
        return record[1]
    assert kind == 22 and record[0] == 2, record
    random, rest = record[6:38], record[39 + record[38]:]
    return int.from_bytes(rest[:2], "big"), rest[2], random

def openssl(port, *options, request="GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"):
    """Returns whether the handshake of s_client succeeded, and what it printed."""
    command = ["openssl", "s_client", "-connect", f"localhost:{port}", "-CAfile", CA, "-verify_return_error", "-ign_eof"]
    command += options
    result = subprocess.run(command, input=request, capture_output=True, text=True, timeout=60)
    output = result.stdout + result.stderr
    return "426 Upgrade Required" in output, output

def ciphers(*options):
    return subprocess.run(["openssl", "ciphers", *options], capture_output=True, text=True, check=True).stdout.strip().split(":")

@check("SSL 3.0, TLS 1.0 and TLS 1.1 are refused")
def _():
    for version in 0x0300, 0x0301, 0x0302:
        answer = hello(RSA, version)
        assert answer == PROTOCOL_VERSION, (hex(version), answer)

@check("TLS 1.2 and TLS 1.3 are accepted")
def _():
    for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
        context = ssl.create_default_context(cafile=CA)
        context.minimum_version = context.maximum_version = version
        with context.wrap_socket(socket.create_connection(("localhost", RSA), 30), server_hostname="localhost") as client:
            assert client.version() == version.name.replace("_", "."), client.version()
            assert client.compression() is None

@check("TLS 1.2 marks that it is not the newest version (RFC 8446 section 4.1.3)")
def _():
    _, _, random = hello(RSA)
    assert random.endswith(b"DOWNGRD\x01"), random

@check("of all suites of TLS 1.2, only those with an ephemeral key and AEAD are chosen")
def _():
    for port, expected in SUITES.items():
        # The blocks of which suites were assigned. 0x00FF and 0x5600 are signals and no suites.
        left = {high << 8 | low for high in (0x00, 0x13, 0xC0, 0xC1, 0xCC, 0xD0) for low in range(256)} - {0x00FF}
        chosen = set()
        while not isinstance(answer := hello(port, suites=sorted(left)), int):
            chosen.add(answer[0])
            left.remove(answer[0])
        assert answer == HANDSHAKE_FAILURE and chosen == set(expected), (answer, [hex(suite) for suite in chosen])

@check("OpenSSL: every suite of TLS 1.2 by itself")
def _():
    names = [name for name in ciphers("-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0") if not name.startswith("TLS_")]
    weak = {"AES128-SHA", "AES256-GCM-SHA384", "ECDHE-RSA-AES128-SHA256", "DHE-RSA-AES128-GCM-SHA256", "NULL-SHA256"}
    assert weak <= set(names), f"OpenSSL has not got all of {weak}"
    for port, expected in SUITES.items():
        accepted = {name for name in names if openssl(port, "-tls1_2", "-cipher", f"{name}:@SECLEVEL=0")[0]}
        assert accepted == set(expected.values()), accepted

@check("OpenSSL: every suite of TLS 1.3 by itself")
def _():
    # RFC 8446 appendix B.4: these five are all.
    good = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
    names = good | {"TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"}
    assert names <= set(ciphers("-s", "-tls1_3", "-ciphersuites", ":".join(names))), f"OpenSSL has not got all of {names}"
    accepted = {name for name in names if openssl(RSA, "-tls1_3", "-ciphersuites", name)[0]}
    assert accepted == good, accepted

@check("no compression")
def _():
    assert hello(RSA, compression=b"\1\0")[1] == 0
    answer = hello(RSA, compression=b"\1")
    assert answer in (HANDSHAKE_FAILURE, ILLEGAL_PARAMETER), answer

@check("renegotiation is secure where it is indicated, and refused")
def _():
    is_open, output = openssl(RSA, "-tls1_2")
    assert is_open and "Secure Renegotiation IS supported" in output, output
    # Without -ign_eof, a line R makes s_client renegotiate.
    command = ["openssl", "s_client", "-connect", f"localhost:{RSA}", "-CAfile", CA, "-tls1_2"]
    result = subprocess.run(command, input="R\n", capture_output=True, text=True, timeout=60)
    assert "RENEGOTIATING" in result.stdout + result.stderr and "no renegotiation" in result.stderr, result.stderr

@check("sessions are resumed, and no data is accepted before the handshake (0-RTT)")
def _():
    with tempfile.TemporaryDirectory() as folder:
        session, early = f"{folder}/session", f"{folder}/early"
        with open(early, "w") as file:
            file.write("GET /early HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for version in "-tls1_2", "-tls1_3":
            assert openssl(RSA, version, "-sess_out", session)[0]
            is_open, output = openssl(RSA, version, "-sess_in", session)
            assert is_open and re.search(r"^Reused, TLSv1\.[23]", output, re.M), output
        assert openssl(RSA, "-tls1_3", "-sess_out", session)[0]
        is_open, output = openssl(RSA, "-tls1_3", "-sess_in", session, "-early_data", early)
        assert is_open and "Early data was accepted" not in output, output
        assert "Max Early Data: 0" in output and "Early data was not sent" in output, output

@check("ALPN: http/1.1 is chosen, also after others; h2 alone is refused; none is needed")
def _():
    for offered, chosen in ("http/1.1", True), ("h2,http/1.1", True), ("h2", False), ("http/1.0,spdy/3", False):
        is_open, output = openssl(RSA, "-alpn", offered)
        assert is_open == chosen, (offered, output)
        assert ("ALPN protocol: http/1.1" if chosen else "alert no application protocol") in output, (offered, output)
    is_open, output = openssl(RSA)
    assert is_open and "No ALPN negotiated" in output, output

sys.exit(run("TLS survey"))
