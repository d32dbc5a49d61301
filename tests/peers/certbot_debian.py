"""Debian's certbot, as its package is tried: one certificate for the name `localhost`, checked no further."""

import os
import subprocess

from place import HTTP01_PORT, TLS_ALPN01_PORT, Place

COMMAND_WITHIN = 120

place = Place(answers=False)
try:
    command = ["/usr/bin/certbot", "certonly", "-d", "localhost", "--standalone", "--server", place.directory]
    command += ["--no-verify-ssl", "--http-01-port", str(HTTP01_PORT), "--https-port", str(TLS_ALPN01_PORT)]
    for kind in "config", "work", "logs":
        command += [f"--{kind}-dir", str(place.folder / kind)]
    command += ["--non-interactive", "--agree-tos", "--register-unsafely-without-email"]
    # That it is told not to verify HTTPS is part of the trial; the warnings of that fill pages.
    surroundings = {**os.environ, "PYTHONWARNINGS": "ignore"}
    subprocess.run(command, check=True, timeout=COMMAND_WITHIN, env=surroundings)
    place.verify((place.folder / "config/live/localhost/fullchain.pem").read_bytes())
    print("1 passed, 0 failed")
finally:
    place.close()
