"""certbot from PyPI, through what its project tries it with at Pebble.

The project's own integration suite is in no package; these journeys follow the same ground: accounts, the ways of
proving, requests of one's own, renewal with hooks and other keys, revocation, chains, profiles.
"""

import http.server
import os
import subprocess
import sys
import threading
import unittest
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from place import EAB, HTTP01_PORT, Place

COMMAND_WITHIN = 120
CERTBOT = str(Path(sys.executable).parent / "certbot")


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Journey(unittest.TestCase):
    config = {}
    environment = {}

    @classmethod
    def setUpClass(cls):
        # certbot answers by itself: the challenge test server leaves it the ports.
        cls.place = Place(cls.environment, answers=False, **cls.config)
        cls.addClassCleanup(cls.place.close)

    def setUp(self):
        self.folder = self.place.folder / self.id().rsplit(".", 1)[1]
        self.folder.mkdir()

    def certbot(self, *arguments, fails=False):
        command = [CERTBOT, "--non-interactive", "--server", self.place.directory]
        for kind in "config", "work", "logs":
            command += [f"--{kind}-dir", str(self.folder / kind)]
        command += ["--no-random-sleep-on-renew", *map(str, arguments)]
        surroundings = {**os.environ, "REQUESTS_CA_BUNDLE": str(self.place.trust)}
        done = subprocess.run(
            command, env=surroundings, cwd=self.folder, capture_output=True, text=True, timeout=COMMAND_WITHIN
        )
        said = done.stdout + done.stderr
        self.assertEqual(done.returncode != 0, fails, said)
        return said

    def register(self, *arguments):
        return self.certbot("register", "--agree-tos", "--email", "a@example.org", *arguments)

    def obtain(self, names, *arguments, **options):
        names = [word for name in names for word in ("-d", name)]
        how = ["--standalone", "--http-01-port", HTTP01_PORT, "--agree-tos", "--register-unsafely-without-email"]
        return self.certbot("certonly", *names, *how, *arguments, **options)

    def lineage(self, name):
        return self.folder / "config" / "live" / name

    def leaf(self, name, root=None):
        """Verifies a lineage's chain and returns its leaf, whose key has to be the one beside it."""
        folder = self.lineage(name)
        leaf = self.place.verify((folder / "fullchain.pem").read_bytes(), root)
        self.assertEqual(self.key(name).public_key(), leaf.public_key())
        return leaf

    def key(self, name):
        return serialization.load_pem_private_key((self.lineage(name) / "privkey.pem").read_bytes(), None)

    def script(self, name, text):
        file = self.folder / name
        file.write_text("#!/bin/sh\nset -e\n" + text)
        file.chmod(0o755)
        return file

    def names(self, leaf):
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return set(names.get_values_for_type(x509.DNSName))


class Accounts(Journey):
    def test_is_registered_changed_and_closed(self):
        self.register()
        self.assertIn("a@example.org", self.certbot("show_account"))
        self.certbot("update_account", "--email", "b@example.org,c@example.org")
        self.assertIn("c@example.org", self.certbot("show_account"))
        self.certbot("update_account", "--register-unsafely-without-email")
        self.assertIn("none", self.certbot("show_account"))
        self.certbot("unregister")
        self.certbot("show_account", fails=True)


class Bindings(Journey):
    config = {"externalAccountBindingRequired": True, "externalAccountMACKeys": dict([EAB])}

    def test_registers_with_an_external_account_alone(self):
        self.certbot("register", "--agree-tos", "--email", "a@example.org", fails=True)
        self.register("--eab-kid", EAB[0], "--eab-hmac-key", EAB[1])


class Proofs(Journey):
    def test_proves_by_a_server_of_its_own(self):
        self.obtain(["alone.example.org", "www.alone.example.org"])
        self.assertEqual(self.names(self.leaf("alone.example.org")), {"alone.example.org", "www.alone.example.org"})
        self.assertIn("alone.example.org", self.certbot("certificates"))

    def test_proves_by_somebody_elses_web_server(self):
        root = self.folder / "web"
        root.mkdir()
        handler = partial(Silent, directory=str(root))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", HTTP01_PORT), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            self.register()
            self.certbot("certonly", "-d", "web.example.org", "--webroot", "--webroot-path", root)
        finally:
            server.shutdown()
            server.server_close()
        self.leaf("web.example.org")

    def test_proves_over_dns_by_hooks(self):
        tell = "%s -c 'import json,os,sys,urllib.request as u; e=os.environ; u.urlopen(sys.argv[1], json.dumps(" % sys.executable
        host = '"host": "_acme-challenge." + e["CERTBOT_DOMAIN"] + "."'
        add = self.script("add", tell + '{%s, "value": e["CERTBOT_VALIDATION"]}).encode())\' %s/set-txt\n' % (host, self.place.challenges))
        clear = self.script("clear", tell + "{%s}).encode())' %s/clear-txt\n" % (host, self.place.challenges))
        self.register()
        hooks = ["--manual-auth-hook", add, "--manual-cleanup-hook", clear]
        names = ["-d", "*.dns.example.org", "-d", "dns.example.org"]
        self.certbot("certonly", "--manual", "--preferred-challenges", "dns", *hooks, *names)
        self.assertEqual(self.names(self.leaf("dns.example.org")), {"*.dns.example.org", "dns.example.org"})

    def test_wildcard_is_refused_over_http(self):
        self.assertIn("wildcard", self.obtain(["*.no.example.org"], fails=True))

    def test_proves_an_address(self):
        self.certbot(
            "certonly", "--ip-address", "127.0.0.1", "--standalone", "--http-01-port", HTTP01_PORT,
            "--agree-tos", "--register-unsafely-without-email", "--preferred-profile", "shortlived",
        )
        leaf = self.leaf("127.0.0.1")
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual([str(name) for name in names.get_values_for_type(x509.IPAddress)], ["127.0.0.1"])

    def test_failure_is_told(self):
        self.place.tell("add-a", host="elsewhere.example.org", addresses=["127.0.0.99"])
        said = self.obtain(["elsewhere.example.org"], "--http-01-address", "127.0.0.1", fails=True)
        self.assertIn("elsewhere.example.org", said)

    def test_rehearsal_leaves_nothing(self):
        self.obtain(["dry.example.org"], "--dry-run")
        self.assertFalse(self.lineage("dry.example.org").exists())


class Requests(Journey):
    def test_request_of_ones_own_is_signed(self):
        key = ec.generate_private_key(ec.SECP384R1())
        names = x509.SubjectAlternativeName([x509.DNSName("csr.example.org"), x509.DNSName("www.csr.example.org")])
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        request = builder.add_extension(names, critical=False).sign(key, hashes.SHA384())
        files = {name: self.folder / f"{name}.pem" for name in ("csr", "cert", "chain", "fullchain")}
        files["csr"].write_bytes(request.public_bytes(serialization.Encoding.PEM))
        self.certbot(
            "certonly", "--standalone", "--http-01-port", HTTP01_PORT, "--agree-tos", "--register-unsafely-without-email",
            "--csr", files["csr"], "--cert-path", files["cert"], "--chain-path", files["chain"],
            "--fullchain-path", files["fullchain"],
        )
        leaf = self.place.verify(files["fullchain"].read_bytes())
        self.assertEqual(leaf.public_key(), key.public_key())

    def test_keys_are_as_wished(self):
        for name, arguments, kind, size in [
            ("ec256.example.org", [], ec.EllipticCurvePrivateKey, 256),
            ("ec384.example.org", ["--elliptic-curve", "secp384r1"], ec.EllipticCurvePrivateKey, 384),
            ("rsa2048.example.org", ["--key-type", "rsa"], rsa.RSAPrivateKey, 2048),
            ("rsa4096.example.org", ["--key-type", "rsa", "--rsa-key-size", "4096"], rsa.RSAPrivateKey, 4096),
        ]:
            self.obtain([name], *arguments)
            self.leaf(name)
            self.assertIsInstance(self.key(name), kind)
            self.assertEqual(self.key(name).key_size, size)


class Renewals(Journey):
    def test_renews_with_hooks_and_keeps_what_is_not_due(self):
        name = "renew.example.org"
        self.obtain([name])
        first = self.leaf(name)
        self.assertIn("not due", self.certbot("renew").lower().replace("not yet due", "not due"))
        record = self.folder / "record"
        hook = lambda kind: self.script(kind, f'echo {kind} "$RENEWED_DOMAINS" >> "{record}"\n')
        hooks = [word for kind in ("pre", "post", "deploy") for word in (f"--{kind}-hook", hook(kind))]
        self.certbot("renew", "--force-renewal", *hooks)
        second = self.leaf(name)
        self.assertNotEqual(first.serial_number, second.serial_number)
        self.assertNotEqual(first.public_key(), second.public_key())
        self.assertEqual(record.read_text().split("\n"), ["pre ", f"deploy {name}", f"post {name}", ""])

    def test_keeps_a_key_and_changes_its_kind(self):
        name = "keys.example.org"
        self.obtain([name], "--reuse-key")
        first = self.leaf(name)
        self.certbot("renew", "--force-renewal", "--cert-name", name)
        self.assertEqual(self.leaf(name).public_key(), first.public_key())
        self.certbot("renew", "--force-renewal", "--cert-name", name, "--key-type", "rsa", "--new-key")
        self.leaf(name)
        self.assertIsInstance(self.key(name), rsa.RSAPrivateKey)

    def test_takes_in_another_name(self):
        self.obtain(["grow.example.org"])
        self.obtain(["grow.example.org", "more.grow.example.org"], "--expand")
        self.assertEqual(self.names(self.leaf("grow.example.org")), {"grow.example.org", "more.grow.example.org"})

    def test_renews_when_the_server_advises_it(self):
        name = "advised.example.org"
        self.obtain([name])
        first = self.leaf(name)
        cert = self.lineage(name) / "cert.pem"
        self.certbot("revoke", "--cert-path", cert, "--reason", "superseded", "--no-delete-after-revoke")
        self.certbot("renew", "--cert-name", name)
        self.assertNotEqual(self.leaf(name).serial_number, first.serial_number)


class Revocations(Journey):
    def test_revokes_by_account_and_by_key(self):
        for name, arguments, reason in [
            ("account.example.org", [], 4),
            ("key.example.org", ["--key-path", "privkey.pem"], 4),
        ]:
            self.obtain([name])
            leaf, folder = self.leaf(name), self.lineage(name)
            arguments = [folder / word if word.endswith(".pem") else word for word in arguments]
            path = ["--cert-path", folder / "cert.pem"]
            self.certbot("revoke", *path, "--reason", "superseded", "--delete-after-revoke", *arguments)
            self.assertEqual(self.place.status(leaf), ("Revoked", reason))
            self.assertFalse(folder.exists())

    def test_revokes_and_leaves(self):
        names = ["one.example.org", "two.example.org"]
        for name in names:
            self.obtain([name])
        leaves = [self.leaf(name) for name in names]
        for name in names:
            self.certbot("revoke", "--cert-name", name)
        self.certbot("unregister")
        for leaf in leaves:
            self.assertEqual(self.place.status(leaf)[0], "Revoked")

    def test_deletes_without_revoking(self):
        self.obtain(["delete.example.org"])
        leaf = self.leaf("delete.example.org")
        self.certbot("delete", "--cert-name", "delete.example.org")
        self.assertEqual(self.place.status(leaf)[0], "Valid")


class Chains(Journey):
    environment = {"PEBBLE_ALTERNATE_ROOTS": "2", "PEBBLE_CHAIN_LENGTH": "2"}

    def test_takes_the_chain_that_is_preferred(self):
        common = lambda name: name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
        for index in range(3):
            root = self.place.root(index)
            name = f"chain{index}.example.org"
            self.obtain([name], "--preferred-chain", common(root.subject))
            self.leaf(name, root)
            last = x509.load_pem_x509_certificates((self.lineage(name) / "chain.pem").read_bytes())[-1]
            self.assertEqual(common(last.issuer), common(root.subject))


class Profiles(Journey):
    def test_asks_for_a_profile(self):
        self.obtain(["short.example.org"], "--required-profile", "shortlived")
        leaf = self.leaf("short.example.org")
        self.assertLess((leaf.not_valid_after_utc - leaf.not_valid_before_utc).days, 7)
        self.obtain(["none.example.org"], "--required-profile", "nonsense", fails=True)
        self.obtain(["any.example.org"], "--preferred-profile", "nonsense")
        self.leaf("any.example.org")


class Reuse(Journey):
    environment = {"PEBBLE_AUTHZREUSE": "100"}

    def test_takes_valid_authorizations(self):
        self.obtain(["reuse.example.org"])
        # Nobody can reach the name any more, and nobody has to.
        self.place.tell("add-a", host="reuse.example.org", addresses=["127.0.0.99"])
        self.obtain(["reuse.example.org"], "--force-renewal", "--http-01-address", "127.0.0.1")
        self.leaf("reuse.example.org")


if __name__ == "__main__":
    unittest.main(verbosity=2)
