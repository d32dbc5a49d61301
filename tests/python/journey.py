"""Drives a CA with Python's acme library: register, order, prove, download, revoke.

usage: journey.py DIRECTORY_URL TRUST.pem CHALLENGE_FOLDER NAME CHAIN.pem REASON_CODE

Writes the chain before it revokes, and waits for a line on stdin in between, so that a judge can
look at the certificate while it is good.
"""

import sys
from pathlib import Path

import josepy
from acme import challenges, client, messages
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID


def request_for(name):
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    )
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    from cryptography.hazmat.primitives import hashes

    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def main():
    directory_url, trust, folder, name, chain_file, reason = sys.argv[1:7]
    key = josepy.JWKRSA(key=rsa.generate_private_key(public_exponent=65537, key_size=2048))
    net = client.ClientNetwork(key, user_agent="sigillo-tests", verify_ssl=trust)
    directory = client.ClientV2.get_directory(directory_url, net)
    acme = client.ClientV2(directory, net=net)
    acme.new_account(messages.NewRegistration.from_data(email="a@example.test", terms_of_service_agreed=True))
    order = acme.new_order(request_for(name))
    for authorization in order.authorizations:
        body = next(c for c in authorization.body.challenges if isinstance(c.chall, challenges.HTTP01))
        response, validation = body.response_and_validation(key)
        Path(folder, body.chall.encode("token")).write_text(validation)
        acme.answer_challenge(body, response)
    order = acme.poll_and_finalize(order)
    Path(chain_file).write_text(order.fullchain_pem)
    done = Path(chain_file + ".revoke")
    if reason == "-":
        return
    leaf = x509.load_pem_x509_certificate(order.fullchain_pem.encode())
    import OpenSSL

    acme.revoke(josepy.ComparableX509(OpenSSL.crypto.X509.from_cryptography(leaf)), int(reason))
    done.write_text("revoked")


main()
