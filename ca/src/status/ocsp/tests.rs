//! The responder against RFC 6960, RFC 9654 and RFC 9919: what it answers, what it refuses, and what it never says.

mod answers;
mod requests;

use const_oid::{ObjectIdentifier, db::rfc6960::ID_PKIX_OCSP_NONCE};
use der::{Decode, Encode, asn1::OctetString};
use x509_cert::ext::Extension;
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspRequest as Message, OcspResponse, Request, TbsRequest, Version,
};

use super::*;
use crate::status::testing::*;

fn message(ids: Vec<CertId>) -> Message {
    let request_list = ids
        .into_iter()
        .map(|req_cert| Request {
            req_cert,
            single_request_extensions: None,
        })
        .collect();
    let tbs_request = TbsRequest {
        version: Version::V1,
        requestor_name: None,
        request_list,
        request_extensions: None,
    };
    Message {
        tbs_request,
        optional_signature: None,
    }
}

fn extension(extn_id: ObjectIdentifier, critical: bool, value: &[u8]) -> Extension {
    Extension {
        extn_id,
        critical,
        extn_value: OctetString::new(value).unwrap(),
    }
}

fn with_extensions(mut message: Message, extensions: Vec<Extension>) -> Message {
    message.tbs_request.request_extensions = Some(extensions);
    message
}

fn nonce(length: usize) -> Extension {
    let value = OctetString::new(vec![0xa5; length]).unwrap().to_der().unwrap();
    extension(ID_PKIX_OCSP_NONCE, false, &value)
}

impl Node {
    fn ask(&self, number: u128) -> Message {
        message(vec![self.ca.cert_id(HashAlgorithm::Sha256, serial(number))])
    }

    async fn reply(&self, request: &[u8]) -> Reply {
        self.service.ocsp().answer(request).await
    }

    async fn answer(&self, request: &Message) -> BasicOcspResponse {
        match self.reply(&request.to_der().unwrap()).await {
            Reply::Answer(answer) => basic(&answer.der),
            Reply::Error(status) => panic!("{status:?} instead of an answer"),
        }
    }

    async fn error(&self, request: &[u8]) -> ErrorStatus {
        match self.reply(request).await {
            Reply::Error(status) => status,
            Reply::Answer(_) => panic!("an answer instead of an error"),
        }
    }
}

fn basic(der: &[u8]) -> BasicOcspResponse {
    let response = OcspResponse::from_der(der).unwrap();
    assert_eq!(response.to_der().unwrap(), der);
    let octets = response.response_bytes.unwrap().response;
    BasicOcspResponse::from_der(octets.as_bytes()).unwrap()
}

fn status(answer: &BasicOcspResponse) -> CertStatus {
    assert_eq!(answer.tbs_response_data.responses.len(), 1);
    answer.tbs_response_data.responses[0].cert_status
}

fn is_revoked(answer: &BasicOcspResponse) -> bool {
    matches!(status(answer), CertStatus::Revoked(_))
}
