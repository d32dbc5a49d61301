"""A Pebble and its challenge test server, whichever programs stand behind these names, at their usual ports.

It wants a network of its own: `tests/peers/run` makes one.
"""

import datetime
import ipaddress
import json
import os
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

START_WITHIN = 30
HTTP01_PORT = 5002
TLS_ALPN01_PORT = 5001
EAB = ("kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W")


class Place:
    """The two servers; `folder` is the test's own."""

    directory = "https://localhost:14000/dir"
    management = "https://localhost:15000"
    challenges = "http://localhost:8055"

    def __init__(self, environment=None, answers=True, **config):
        self.folder = Path(tempfile.mkdtemp(prefix="peers-"))
        self.trust = self.folder / "https.pem"
        self._make_https()
        settings = {
            "listenAddress": "127.0.0.1:14000",
            "managementListenAddress": "127.0.0.1:15000",
            "certificate": str(self.trust),
            "privateKey": str(self.folder / "https.key"),
            "httpPort": HTTP01_PORT,
            "tlsPort": TLS_ALPN01_PORT,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            "profiles": {
                "default": {"description": "The usual one", "validityPeriod": 7776000},
                "shortlived": {"description": "A short one", "validityPeriod": 518400},
            },
            **config,
        }
        file = self.folder / "pebble.json"
        file.write_text(json.dumps({"pebble": settings}))
        surroundings = {
            **os.environ,
            "PEBBLE_VA_NOSLEEP": "1",
            # The acme library tries a refused nonce once more and then gives up, so that refusing by chance fails tests by chance.
            "PEBBLE_WFE_NONCEREJECT": "0",
            "PEBBLE_AUTHZREUSE": "0",
            **(environment or {}),
        }
        # Whoever answers challenges by itself has those ports.
        ports = [":5002", ":5001"] if answers else ["", ""]
        responders = ["-http01", ports[0], "-tlsalpn01", ports[1], "-https01", "", "-defaultIPv6", ""]
        self.log = self.folder / "servers.log"
        with self.log.open("w") as log:
            start = lambda command: subprocess.Popen(command, env=surroundings, stdout=log, stderr=subprocess.STDOUT)
            self.servers = [
                start(["pebble-challtestsrv", *responders]),
                start(["pebble", "-config", str(file), "-dnsserver", "127.0.0.1:8053"]),
            ]
        self._wait()

    def _make_https(self):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "place")])
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=30))
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(key, hashes.SHA256())
        self.trust.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (self.folder / "https.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def _wait(self):
        deadline = time.monotonic() + START_WITHIN
        while True:
            try:
                self.get(self.directory)
                self.tell("dns-request-history", host="x")
                return
            except OSError:
                gone = [server for server in self.servers if server.poll() is not None]
                if gone or time.monotonic() > deadline:
                    self.close()
                    raise SystemExit("the servers do not start:\n" + self.log.read_text())
                time.sleep(0.1)

    def get(self, url):
        context = ssl.create_default_context(cafile=str(self.trust))
        with urllib.request.urlopen(url, context=context, timeout=10) as answer:
            return answer.read()

    def tell(self, command, **arguments):
        """Commands the challenge test server; returns what it says."""
        request = urllib.request.Request(f"{self.challenges}/{command}", json.dumps(arguments).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    def root(self, index=0):
        return x509.load_pem_x509_certificate(self.get(f"{self.management}/roots/{index}"))

    def status(self, certificate):
        """Returns what the management side says of a certificate: Valid or Revoked, and the reason."""
        # Digits in pairs, as both programs read them.
        serial = f"{certificate.serial_number:x}"
        serial = serial.zfill(len(serial) + len(serial) % 2)
        told = json.loads(self.get(f"{self.management}/cert-status-by-serial/{serial}"))
        return told["Status"], told.get("Reason")

    def verify(self, chain, root=None):
        """Has openssl verify a chain of PEM certificates, leaf first, below a root."""
        leaf, others, anchor = (self.folder / name for name in ("leaf.pem", "others.pem", "root.pem"))
        certificates = x509.load_pem_x509_certificates(chain)
        pem = lambda certificate: certificate.public_bytes(serialization.Encoding.PEM)
        leaf.write_bytes(pem(certificates[0]))
        others.write_bytes(b"".join(map(pem, certificates[1:])))
        anchor.write_bytes(pem(root or self.root()))
        command = ["openssl", "verify", "-CAfile", anchor, "-untrusted", others, leaf]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
        return certificates[0]

    def close(self):
        for server in self.servers:
            server.send_signal(signal.SIGKILL)
            server.wait()
