"""Judges one certificate with Python's cryptography: path, OCSP answer and CRL.

usage: judge.py LEAF.pem ISSUER.pem ROOT.pem good|revoked [REASON]

REASON is the name of RFC 5280 section 5.3.1. Ends with 1 and says why if anything disagrees.
"""

import sys
import urllib.request

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

# The names that cryptography gives the reasons differ in case only.
TIMEOUT_SECONDS = 10


def load(path):
    with open(path, "rb") as file:
        return x509.load_pem_x509_certificate(file.read())


def check_signature(key, signature, data, algorithm):
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, data, padding.PKCS1v15(), algorithm)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, data, ec.ECDSA(algorithm))
    elif isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, data)
    else:
        raise SystemExit(f"a key of kind {type(key)}")


def check_issued(child, parent):
    if child.issuer.public_bytes() != parent.subject.public_bytes():
        raise SystemExit(f"{child.subject} does not name {parent.subject} as its issuer")
    check_signature(
        parent.public_key(), child.signature, child.tbs_certificate_bytes, child.signature_hash_algorithm
    )


def extension(certificate, kind):
    return certificate.extensions.get_extension_for_class(kind).value


def ask(url, leaf, issuer, algorithm):
    request = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, algorithm).build()
    body = request.public_bytes(serialization.Encoding.DER)
    post = urllib.request.Request(url, body, {"Content-Type": "application/ocsp-request"})
    with urllib.request.urlopen(post, timeout=TIMEOUT_SECONDS) as answer:
        if answer.headers["Content-Type"] != "application/ocsp-response":
            raise SystemExit(f"OCSP content type {answer.headers['Content-Type']}")
        return ocsp.load_der_ocsp_response(answer.read())


def responder_of(response, issuer):
    """Finds who signed: the issuer or a certificate that it gave the right to."""
    for certificate in response.certificates:
        check_issued(certificate, issuer)
        usages = list(extension(certificate, x509.ExtendedKeyUsage))
        if ExtendedKeyUsageOID.OCSP_SIGNING not in usages:
            raise SystemExit("the responder's certificate is not for OCSP signing")
        extension(certificate, x509.OCSPNoCheck)
        return certificate
    return issuer


def judge_ocsp(leaf, issuer, status, reason, algorithm):
    access = extension(leaf, x509.AuthorityInformationAccess)
    url = next(a.access_location.value for a in access if a.access_method == AuthorityInformationAccessOID.OCSP)
    response = ask(url, leaf, issuer, algorithm)
    if response.response_status != ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise SystemExit(f"OCSP {response.response_status}")
    if response.serial_number != leaf.serial_number:
        raise SystemExit("OCSP answers for another serial number")
    signer = responder_of(response, issuer)
    check_signature(
        signer.public_key(), response.signature, response.tbs_response_bytes, response.signature_hash_algorithm
    )
    if response.next_update is None or response.next_update <= response.this_update:
        raise SystemExit("OCSP without a sound nextUpdate")
    found = response.certificate_status
    if found.name.lower() != status:
        raise SystemExit(f"OCSP says {found}, not {status}")
    if status == "revoked":
        compare(response.revocation_reason, reason, "OCSP")
        if response.revocation_time > response.this_update:
            raise SystemExit("OCSP revokes in the future")


def judge_crl(leaf, issuer, status, reason):
    points = extension(leaf, x509.CRLDistributionPoints)
    url = points[0].full_name[0].value
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
        crl = x509.load_der_x509_crl(answer.read())
    if crl.issuer.public_bytes() != issuer.subject.public_bytes():
        raise SystemExit("the CRL names another issuer")
    # Its own check of a CRL does not know Ed25519 in the versions that distributions carry.
    check_signature(issuer.public_key(), crl.signature, crl.tbs_certlist_bytes, crl.signature_hash_algorithm)
    extension(crl, x509.CRLNumber)
    extension(crl, x509.AuthorityKeyIdentifier)
    entry = crl.get_revoked_certificate_by_serial_number(leaf.serial_number)
    if (entry is not None) != (status == "revoked"):
        raise SystemExit(f"the CRL does not agree with {status}")
    if entry is None:
        return
    try:
        found = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        found = None
    compare(found, reason, "CRL")


def compare(found, reason, where):
    name = "unspecified" if found is None else found.value
    if name.lower() != reason.lower():
        raise SystemExit(f"{where} gives the reason {name}, not {reason}")


def main():
    leaf, issuer, root = (load(path) for path in sys.argv[1:4])
    status, reason = sys.argv[4], sys.argv[5]
    check_issued(root, root)
    check_issued(issuer, root)
    check_issued(leaf, issuer)
    for algorithm in (hashes.SHA1(), hashes.SHA256()):
        judge_ocsp(leaf, issuer, status, reason, algorithm)
    judge_crl(leaf, issuer, status, reason)


main()
