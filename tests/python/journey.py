"""Drives a CA with Python's acme library.

usage: journey.py issue  DIRECTORY_URL TRUST.pem FILE_PREFIX CHALLENGE_FOLDER NAME
       journey.py revoke DIRECTORY_URL TRUST.pem FILE_PREFIX REASON_CODE

`issue` registers, orders, proves over http-01 and writes PREFIX.chain.pem and PREFIX.account.pem;
`revoke` finds that account again by its key and revokes the leaf.
"""

import sys
from pathlib import Path

import josepy
import OpenSSL
from acme import challenges, client, errors, messages
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID


def connect(url, trust, key):
    net = client.ClientNetwork(key, user_agent="sigillo-tests", verify_ssl=trust)
    return client.ClientV2(client.ClientV2.get_directory(url, net), net=net)


def request_for(name):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    request = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def issue(url, trust, prefix, folder, name):
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    key = josepy.JWKRSA(key=private)
    acme = connect(url, trust, key)
    acme.new_account(messages.NewRegistration.from_data(email="a@example.test", terms_of_service_agreed=True))
    order = acme.new_order(request_for(name))
    for authorization in order.authorizations:
        body = next(c for c in authorization.body.challenges if isinstance(c.chall, challenges.HTTP01))
        response, validation = body.response_and_validation(key)
        Path(folder, body.chall.encode("token")).write_text(validation)
        acme.answer_challenge(body, response)
    order = acme.poll_and_finalize(order)
    Path(prefix + ".chain.pem").write_text(order.fullchain_pem)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    Path(prefix + ".account.pem").write_bytes(pem)


def revoke(url, trust, prefix, reason):
    key = josepy.JWKRSA.load(Path(prefix + ".account.pem").read_bytes())
    acme = connect(url, trust, key)
    try:
        acme.new_account(messages.NewRegistration.from_data(terms_of_service_agreed=True))
        raise SystemExit("the account of this key was not found again")
    except errors.ConflictError as known:
        account = messages.RegistrationResource(uri=known.location, body=messages.Registration())
        acme.net.account = acme.query_registration(account)
    leaf = x509.load_pem_x509_certificate(Path(prefix + ".chain.pem").read_bytes())
    acme.revoke(josepy.ComparableX509(OpenSSL.crypto.X509.from_cryptography(leaf)), int(reason))


{"issue": issue, "revoke": revoke}[sys.argv[1]](*sys.argv[2:])
