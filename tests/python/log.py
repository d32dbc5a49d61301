"""Checks Sigillo's audit log from outside, with hashlib and the cryptography package alone.

    log.py certificate URL KEY CERT.pem    that the log holds the certificate's issuance
    log.py tree URL KEY                    that tiles, entries and the signed head fit together
    log.py consistent URL KEY CHECKPOINT   that a head that was kept is the beginning of the present log

URL is where the log is (http://ca.example/log), KEY its key (NAME+ID+KEY).
"""

import base64
import hashlib
import sys
import urllib.request

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def leaf(entry):
    return sha256(b"\0", entry)


def node(left, right):
    return sha256(b"\1", left, right)


def root(hashes):
    """The tree hash of RFC 6962 section 2.1, as it is defined."""
    if not hashes:
        return sha256()
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return node(root(hashes[:split]), root(hashes[split:]))


def fetch(url):
    with urllib.request.urlopen(url, timeout=30) as response:
        return response.read()


def head(note, key):
    """Verifies a checkpoint's signature, and returns its size and root."""
    name, number, encoded = key.split("+", 2)
    raw = base64.b64decode(encoded)
    assert raw[0] == 1, "an Ed25519 key"
    assert sha256(name.encode(), b"\n", raw)[:4].hex() == number, "the key's ID"
    text, _, lines = note.rpartition("\n\n")
    text += "\n"
    for line in lines.splitlines():
        dash, who, signature = line.split(" ")
        signature = base64.b64decode(signature)
        if dash == "\u2014" and who == name and signature[:4].hex() == number:
            Ed25519PublicKey.from_public_bytes(raw[1:]).verify(signature[4:], text.encode())
            origin, size, tree = text.splitlines()[:3]
            assert origin == name, "the log's name"
            return int(size), base64.b64decode(tree)
    raise AssertionError("the checkpoint is not signed by the key")


def up(hash, index, size, path):
    """Walks from a leaf to the root (RFC 9162 section 2.1.3.2)."""
    last = size - 1
    for step in path:
        assert last > 0, "the proof is too long"
        if index & 1 or index == last:
            hash = node(step, hash)
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            hash = node(hash, step)
        index, last = index >> 1, last >> 1
    assert last == 0, "the proof is too short"
    return hash


def certificate(url, key, path):
    with open(path, "rb") as file:
        first, end, _ = file.read().partition(b"-----END CERTIFICATE-----")
    found = x509.load_pem_x509_certificate(first + end + b"\n")
    proof = fetch(f"{url}/proof/certificate/{found.serial_number:032x}").decode()
    lines, _, note = proof.partition("\n\n")
    first, extra, index, *path = lines.splitlines()
    assert first == "c2sp.org/tlog-proof@v1"
    event = base64.b64decode(extra.removeprefix("extra "))
    index = int(index.removeprefix("index "))
    size, tree = head(note, key)
    digest = sha256(found.public_bytes(Encoding.DER))
    entry = sha256(b"sigillo-audit-entry-v1\0", digest, event)
    assert up(leaf(entry), index, size, map(base64.b64decode, path)) == tree, "the root"
    print(f"the certificate is entry {index} of {size}")


def tile_path(index):
    path = f"{index % 1000:03}"
    while index := index // 1000:
        path = f"x{index % 1000:03}/{path}"
    return path


def tiles(url, what, count):
    """Fetches everything of one level."""
    octets = b""
    for index in range((count + 255) // 256):
        width = min(256, count - 256 * index)
        partial = "" if width == 256 else f".p/{width}"
        octets += fetch(f"{url}/tile/{what}/{tile_path(index)}{partial}")
    return octets


def leaves(url, size):
    octets = tiles(url, "0", size)
    assert len(octets) == 32 * size
    return [octets[at : at + 32] for at in range(0, len(octets), 32)]


def tree(url, key):
    size, signed = head(fetch(f"{url}/checkpoint").decode(), key)
    bundle, entries = tiles(url, "entries", size), []
    while bundle:
        length = int.from_bytes(bundle[:2], "big")
        entries.append(bundle[2 : 2 + length])
        bundle = bundle[2 + length :]
    hashes = [leaf(entry) for entry in entries]
    assert len(entries) == size and root(hashes) == signed, "the root over the entries"
    assert leaves(url, size) == hashes, "the tiles of level 0"
    level, below = 1, hashes
    while len(below) >= 256:
        below = [root(below[at : at + 256]) for at in range(0, len(below) - 255, 256)]
        assert tiles(url, str(level), len(below)) == b"".join(below), f"the tiles of level {level}"
        level += 1
    print(f"{size} entries, and all tiles fit")


def consistent(url, key, path):
    with open(path, encoding="utf-8") as file:
        old, earlier = head(file.read(), key)
    size, signed = head(fetch(f"{url}/checkpoint").decode(), key)
    hashes = leaves(url, size)
    assert root(hashes) == signed, "the present root"
    assert old <= size and root(hashes[:old]) == earlier, "the earlier root"
    print(f"the log of {old} entries is the beginning of that of {size}")


if __name__ == "__main__":
    {"certificate": certificate, "tree": tree, "consistent": consistent}[sys.argv[1]](*sys.argv[2:])
