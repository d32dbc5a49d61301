"""Python's acme library, the one under certbot, through everything that it offers."""

import datetime
import unittest

import josepy
from acme import challenges, client, errors, messages
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from place import EAB, Place


def connect(place, key=None, **registration):
    """Registers a new account and returns the library's client and its key."""
    key = key or josepy.JWKRSA(key=rsa.generate_private_key(public_exponent=65537, key_size=2048))
    net = client.ClientNetwork(key, user_agent="peers", verify_ssl=str(place.trust))
    acme = client.ClientV2(client.ClientV2.get_directory(place.directory, net), net=net)
    data = {"email": "a@example.org", "terms_of_service_agreed": True, **registration}
    acme.new_account(messages.NewRegistration.from_data(**data))
    return acme, key


def kind_of(body):
    """Returns a challenge's type, also of one that the library has no class for (tls-alpn-01)."""
    return body.chall.to_partial_json()["type"]


def request_for(names, key=None):
    key = key or ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


class Library(unittest.TestCase):
    config = {}
    environment = {}

    @classmethod
    def setUpClass(cls):
        cls.place = Place(cls.environment, **cls.config)
        cls.addClassCleanup(cls.place.close)

    def answer(self, acme, key, authorization, kind):
        """Tells the challenge test server what proves a name, then the CA that it may look."""
        body = next(c for c in authorization.body.challenges if kind_of(c) == kind)
        name = authorization.body.identifier.value
        if kind == "tls-alpn-01":
            # The library no longer makes this proof; the account's thumbprint and an empty object are all there is to it.
            thumbprint = josepy.b64encode(key.thumbprint(hash_function=hashes.SHA256)).decode()
            proof = body.chall.to_partial_json()["token"] + "." + thumbprint
            self.place.tell("add-tlsalpn01", host=name, content=proof)
            acme.net.post(body.uri, challenges.HTTP01Response(), new_nonce_url=acme.directory["newNonce"])
            return
        if kind == "http-01":
            proof = body.chall.key_authorization(key)
            self.place.tell("add-http01", token=body.chall.encode("token"), content=proof)
        if kind == "dns-01":
            self.place.tell("set-txt", host=f"_acme-challenge.{name}.", value=body.chall.validation(key))
        acme.answer_challenge(body, body.chall.response(key))

    def order(self, acme, key, names, kind="http-01", csr=None, **options):
        order = acme.new_order(csr or request_for(names), **options)
        for authorization in order.authorizations:
            if authorization.body.status != messages.STATUS_VALID:
                self.answer(acme, key, authorization, kind)
        return acme.poll_and_finalize(order)

    def leaf(self, order):
        return self.place.verify(order.fullchain_pem.encode())


class Accounts(Library):
    def test_is_found_again_and_changed_and_closed(self):
        acme, key = connect(self.place)
        account = acme.net.account
        with self.assertRaises(errors.ConflictError) as known:
            connect(self.place, key)
        self.assertEqual(known.exception.location, account.uri)
        changed = acme.update_registration(account.update(body=account.body.update(contact=("mailto:b@example.org",))))
        self.assertEqual(changed.body.contact, ("mailto:b@example.org",))
        self.assertEqual(acme.query_registration(changed).body.contact, ("mailto:b@example.org",))
        closed = acme.deactivate_registration(changed)
        self.assertEqual(closed.body.status, "deactivated")
        with self.assertRaises(messages.Error) as refused:
            acme.new_order(request_for(["closed.example.org"]))
        self.assertEqual(refused.exception.code, "unauthorized")

    def test_unknown_key_is_told_that_there_is_no_account(self):
        with self.assertRaises(messages.Error) as unknown:
            connect(self.place, only_return_existing=True)
        self.assertEqual(unknown.exception.code, "accountDoesNotExist")

    def test_terms_have_to_be_agreed_to(self):
        with self.assertRaises(messages.Error):
            connect(self.place, terms_of_service_agreed=False)

    def test_elliptic_keys_work_too(self):
        for curve in ec.SECP256R1(), ec.SECP384R1():
            key = josepy.JWKEC(key=ec.generate_private_key(curve))
            net = client.ClientNetwork(
                key,
                alg=josepy.ES256 if curve.key_size == 256 else josepy.ES384,
                verify_ssl=str(self.place.trust),
            )
            acme = client.ClientV2(client.ClientV2.get_directory(self.place.directory, net), net=net)
            account = acme.new_account(messages.NewRegistration.from_data(terms_of_service_agreed=True))
            self.assertEqual(account.body.status, "valid")


class Bindings(Library):
    config = {"externalAccountBindingRequired": True, "externalAccountMACKeys": dict([EAB])}

    def test_account_needs_a_binding_with_the_right_key(self):
        with self.assertRaises(messages.Error) as unbound:
            connect(self.place)
        self.assertEqual(unbound.exception.code, "externalAccountRequired")
        for mac, good in (EAB[1], True), ("A" * 64, False):
            key = josepy.JWKRSA(key=rsa.generate_private_key(public_exponent=65537, key_size=2048))
            net = client.ClientNetwork(key, verify_ssl=str(self.place.trust))
            directory = client.ClientV2.get_directory(self.place.directory, net)
            self.assertTrue(client.ClientV2(directory, net).external_account_required())
            binding = messages.ExternalAccountBinding.from_data(key.public_key(), EAB[0], mac, directory, hmac_alg="HS256")
            data = messages.NewRegistration.from_data(terms_of_service_agreed=True, external_account_binding=binding)
            if good:
                self.assertEqual(client.ClientV2(directory, net).new_account(data).body.status, "valid")
            else:
                with self.assertRaises(messages.Error):
                    client.ClientV2(directory, net).new_account(data)


class Orders(Library):
    environment = {"PEBBLE_ALTERNATE_ROOTS": "2", "PEBBLE_CHAIN_LENGTH": "2"}

    def test_names_are_proved_over_http(self):
        acme, key = connect(self.place)
        leaf = self.leaf(self.order(acme, key, ["a.example.org", "b.example.org"]))
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(set(names.get_values_for_type(x509.DNSName)), {"a.example.org", "b.example.org"})
        seen = self.place.tell("http-request-history", host="a.example.org")
        self.assertIn(b"/.well-known/acme-challenge/", seen)

    def test_names_are_proved_over_tls(self):
        acme, key = connect(self.place)
        self.leaf(self.order(acme, key, ["alpn.example.org"], "tls-alpn-01"))
        self.assertIn(b"acme-tls/1", self.place.tell("tlsalpn01-request-history", host="alpn.example.org"))

    def test_wildcards_are_proved_over_dns(self):
        acme, key = connect(self.place)
        self.leaf(self.order(acme, key, ["*.w.example.org", "w.example.org"], "dns-01"))

    def test_redirects_are_followed(self):
        acme, key = connect(self.place)
        order = acme.new_order(request_for(["redirect.example.org"]))
        body = next(c for c in order.authorizations[0].body.challenges if kind_of(c) == "http-01")
        self.place.tell("add-http01", token="elsewhere", content=body.chall.key_authorization(key))
        self.place.tell(
            "add-redirect",
            path=body.chall.path,
            targetURL="http://other.example.org:5002/.well-known/acme-challenge/elsewhere",
        )
        acme.answer_challenge(body, body.chall.response(key))
        self.leaf(acme.poll_and_finalize(order))

    def test_wrong_proof_is_told(self):
        acme, key = connect(self.place)
        order = acme.new_order(request_for(["wrong.example.org"]))
        body = next(c for c in order.authorizations[0].body.challenges if kind_of(c) == "http-01")
        self.place.tell("add-http01", token=body.chall.encode("token"), content="something else")
        acme.answer_challenge(body, body.chall.response(key))
        with self.assertRaises(errors.ValidationError) as failed:
            acme.poll_and_finalize(order)
        challenge = next(c for c in failed.exception.failed_authzrs[0].body.challenges if c.error)
        # Pebble says the former. RFC 8555 section 6.7 has the latter for an answer that does not match.
        self.assertIn(challenge.error.code, ["unauthorized", "incorrectResponse"])

    def test_servfail_is_told(self):
        acme, key = connect(self.place)
        self.place.tell("set-servfail", host="broken.example.org")
        with self.assertRaises(errors.ValidationError):
            self.order(acme, key, ["broken.example.org"], "http-01")

    def test_aliases_of_texts_are_followed(self):
        acme, key = connect(self.place)
        self.place.tell("set-cname", host="_acme-challenge.alias.example.org", target="_acme-challenge.real.example.org")
        order = acme.new_order(request_for(["alias.example.org"]))
        body = next(c for c in order.authorizations[0].body.challenges if kind_of(c) == "dns-01")
        self.place.tell("set-txt", host="_acme-challenge.real.example.org.", value=body.chall.validation(key))
        acme.answer_challenge(body, body.chall.response(key))
        self.leaf(acme.poll_and_finalize(order))

    def test_account_key_in_the_request_is_refused(self):
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        acme, key = connect(self.place, josepy.JWKRSA(key=private))
        with self.assertRaises(messages.Error) as refused:
            self.order(acme, key, ["own.example.org"], csr=request_for(["own.example.org"], private))
        self.assertEqual(refused.exception.code, "badCSR")

    def test_authorization_can_be_given_up(self):
        acme, key = connect(self.place)
        order = acme.new_order(request_for(["up.example.org"]))
        given_up = acme.deactivate_authorization(order.authorizations[0])
        self.assertEqual(given_up.body.status, messages.STATUS_DEACTIVATED)

    def test_other_roots_are_offered(self):
        acme, key = connect(self.place)
        order = acme.new_order(request_for(["roots.example.org"]))
        self.answer(acme, key, order.authorizations[0], "http-01")
        deadline = datetime.datetime.now() + datetime.timedelta(seconds=30)
        order = acme.finalize_order(acme.poll_authorizations(order, deadline), deadline, fetch_alternative_chains=True)
        chains = [order.fullchain_pem, *order.alternative_fullchains_pem]
        self.assertEqual(len(chains), 3)
        for index, chain in enumerate(chains):
            self.place.verify(chain.encode(), self.place.root(index))

    def test_certificate_is_revoked_for_a_reason(self):
        acme, key = connect(self.place)
        leaf = self.leaf(self.order(acme, key, ["revoked.example.org"]))
        self.assertEqual(self.place.status(leaf)[0], "Valid")
        acme.revoke(leaf, 4)
        status, reason = self.place.status(leaf)
        self.assertEqual((status, reason), ("Revoked", 4))
        with self.assertRaises(messages.Error) as again:
            acme.revoke(leaf, 4)
        self.assertEqual(again.exception.code, "alreadyRevoked")

    def test_renewal_is_advised(self):
        acme, key = connect(self.place)
        order = self.order(acme, key, ["ari.example.org"])
        leaf = self.leaf(order)
        when, again = acme.renewal_time(order.fullchain_pem.encode())
        self.assertIsNotNone(when)
        # The library gives the first moment with a zone and the second without.
        self.assertLess(when, leaf.not_valid_after_utc)
        self.assertGreater(again.timestamp(), datetime.datetime.now().timestamp())

    def test_profile_shortens_the_life(self):
        acme, key = connect(self.place)
        leaf = self.leaf(self.order(acme, key, ["short.example.org"], profile="shortlived"))
        self.assertLessEqual(leaf.not_valid_after_utc - leaf.not_valid_before_utc, datetime.timedelta(days=6, hours=2))
        with self.assertRaises(messages.Error) as refused:
            acme.new_order(request_for(["short.example.org"]), profile="nonsense")
        self.assertTrue(refused.exception.typ.endswith(":invalidProfile"), refused.exception)


class Reuse(Library):
    environment = {"PEBBLE_AUTHZREUSE": "100"}

    def test_valid_authorizations_are_used_again(self):
        acme, key = connect(self.place)
        self.order(acme, key, ["again.example.org"])
        order = acme.new_order(request_for(["again.example.org"]))
        self.assertEqual(order.authorizations[0].body.status, messages.STATUS_VALID)
        self.leaf(acme.poll_and_finalize(order))


if __name__ == "__main__":
    unittest.main(verbosity=2)
