//! Why a request to an object store failed, in words for its operator. What the store answers is
//! never shown, because an answer may repeat what was sent: only its status and its error code are.

use std::error::Error;

use object_store::client::{HttpError, HttpErrorKind};

use super::super::super::Failure;
use crate::exit::Code;

/// The longest error code that is shown.
const CODE_LEN_MAX: usize = 64;

/// How a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The store refused.
    Answer {
        status: u16,
        /// Its error code, such as `NoSuchBucket`, or nothing.
        code: String,
    },
    /// No connection, or one that broke.
    Broken(String),
    /// The certificate of the store is not trusted.
    Untrusted(String),
    /// No answer in time.
    Slow,
    /// An answer that no object store gives.
    Nonsense,
}

impl Fault {
    /// An answer that is an error.
    pub(super) fn of_answer(status: u16, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let code = text
            .split_once("<Code>")
            .and_then(|(_, rest)| rest.split_once("</Code>"))
            .map(|(code, _)| code.trim())
            .filter(|code| code.len() <= CODE_LEN_MAX)
            .filter(|code| code.bytes().all(|byte| byte.is_ascii_alphanumeric()))
            .unwrap_or_default();
        Self::Answer {
            status,
            code: code.to_owned(),
        }
    }

    /// A request that got no answer.
    pub(super) fn of_transport(error: &HttpError) -> Self {
        // The innermost cause says most.
        let mut cause: &dyn Error = error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        let cause = cause.to_string();
        match error.kind() {
            HttpErrorKind::Timeout => Self::Slow,
            HttpErrorKind::Decode => Self::Nonsense,
            _ if cause.contains("certificate") => Self::Untrusted(cause),
            _ => Self::Broken(cause),
        }
    }

    /// Whether there is no object of that name in the bucket.
    pub(super) fn is_no_object(&self) -> bool {
        matches!(self, Self::Answer { status: 404, code } if code != "NoSuchBucket")
    }

    /// Whether an object is empty, so that a part of it cannot be read.
    pub(super) fn is_empty_object(&self) -> bool {
        matches!(self, Self::Answer { status: 416, .. })
    }

    /// What happened, and what to do.
    pub(super) fn failure(&self, doing: &str, store: &StoreName) -> Failure {
        let endpoint = &store.endpoint;
        let (exit, cause, hint) = match self {
            Self::Broken(cause) => (
                Code::Network,
                format!("cannot reach {endpoint}: {cause}"),
                "check the network, AWS_ENDPOINT_URL and AWS_REGION, and HTTPS_PROXY if there is \
                 one",
            ),
            Self::Untrusted(cause) => (
                Code::NotTrusted,
                format!("{endpoint} is not trusted: {cause}"),
                "check AWS_ENDPOINT_URL; if the store has its own authority, give its certificate \
                 with AWS_CA_BUNDLE=FILE",
            ),
            Self::Slow => (
                Code::Network,
                format!("{endpoint} did not answer in time"),
                "try again later; for a slow line, AWS_READ_TIMEOUT is the time for a part and its \
                 answer (120s)",
            ),
            Self::Nonsense => (
                Code::Network,
                format!("the answer of {endpoint} is not that of an object store"),
                "check AWS_ENDPOINT_URL: it names the service that speaks S3, not its console",
            ),
            Self::Answer { status, code } => answered(*status, code, store),
        };
        Failure::new(exit, format_args!("cannot {doing}: {cause}"), hint)
    }
}

/// What an error of the store means.
fn answered(status: u16, code: &str, store: &StoreName) -> (Code, String, &'static str) {
    let StoreName {
        bucket,
        endpoint,
        region,
    } = store;
    let shown = match code {
        "" => format!("{status}"),
        code => format!("{status} {code}"),
    };
    match (status, code) {
        (_, "NoSuchBucket") => (
            Code::NotFound,
            format!("there is no bucket {bucket} at {endpoint} ({shown})"),
            "make the bucket, or check its name, AWS_ENDPOINT_URL and AWS_REGION",
        ),
        (_, "RequestTimeTooSkewed" | "RequestExpired") => (
            Code::Refused,
            format!("the clock of this machine and that of {endpoint} differ too much ({shown})"),
            "set the clock of this machine; `timedatectl` shows whether it is synchronized",
        ),
        (
            _,
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "InvalidToken"
            | "ExpiredToken"
            | "TokenRefreshRequired"
            | "InvalidSecurity"
            | "InvalidClientTokenId"
            | "ExpiredTokenException",
        )
        | (401, _) => (
            Code::Refused,
            format!("{endpoint} does not accept the credentials ({shown})"),
            "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and that they \
             are of this provider",
        ),
        (
            _,
            "PermanentRedirect"
            | "TemporaryRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException"
            | "InvalidRegion",
        )
        | (300..=399, _) => (
            Code::Refused,
            format!("the bucket {bucket} is not in the region {region} ({shown})"),
            "set AWS_REGION to the region of the bucket",
        ),
        (
            _,
            "BadDigest"
            | "InvalidDigest"
            | "XAmzContentSHA256Mismatch"
            | "XAmzContentChecksumMismatch",
        ) => (
            Code::Damaged,
            format!("what arrived at {endpoint} is not what was sent ({shown})"),
            "try again; if this goes on, look for a proxy that changes requests, and test the \
             memory of this machine",
        ),
        (412, _) => (
            Code::Refused,
            format!("another program has replaced it meanwhile ({shown})"),
            "let only one server use a name, or give --keep",
        ),
        (403, _) => (
            Code::Refused,
            format!("{endpoint} denies access ({shown})"),
            "the credentials need s3:ListBucket for the bucket, and s3:GetObject, s3:PutObject and \
             s3:AbortMultipartUpload for the objects; --keep also needs s3:DeleteObject",
        ),
        (404, _) => (
            Code::NotFound,
            format!("it is not there ({shown})"),
            "check the name of the bucket and of the object",
        ),
        (429 | 500..=599, _) => (
            Code::Network,
            format!("{endpoint} fails ({shown})"),
            "try again later; the store's operator may know more",
        ),
        _ => (
            Code::Refused,
            format!("{endpoint} refuses ({shown})"),
            "look this error up in the manual of the store",
        ),
    }
}

/// What errors call a store.
#[derive(Debug, Clone)]
pub(super) struct StoreName {
    pub(super) bucket: String,
    pub(super) endpoint: String,
    pub(super) region: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(body: &str) -> String {
        match Fault::of_answer(403, body.as_bytes()) {
            Fault::Answer { code, .. } => code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_the_code_of_an_answer_is_shown() {
        let body = "<Error><Code>AccessDenied</Code><Message>AKIA secret</Message></Error>";
        assert_eq!(code_of(body), "AccessDenied");
        let long = format!("<Code>{}</Code>", "x".repeat(65));
        for nothing in [
            "",
            "<Code>",
            "<Code>a b</Code>",
            "<Code>\u{1b}[2J</Code>",
            &long,
        ] {
            assert_eq!(code_of(nothing), "");
        }
    }

    #[test]
    fn each_error_of_a_store_has_a_cause_and_a_next_step() {
        let store = StoreName {
            bucket: "vaults".into(),
            endpoint: "https://s3.example.org".into(),
            region: "eu-north-1".into(),
        };
        let say = |status, code: &str| {
            let code = code.to_owned();
            let failure = Fault::Answer { status, code }.failure("read s3://vaults/x", &store);
            (failure.code, failure.message, failure.hint)
        };
        for (status, name, exit, cause, hint) in [
            (
                404,
                "NoSuchBucket",
                Code::NotFound,
                "no bucket vaults",
                "make the bucket",
            ),
            (
                403,
                "AccessDenied",
                Code::Refused,
                "denies access",
                "s3:ListBucket",
            ),
            (
                403,
                "",
                Code::Refused,
                "denies access (403)",
                "s3:GetObject",
            ),
            (
                403,
                "InvalidAccessKeyId",
                Code::Refused,
                "credentials",
                "AWS_ACCESS_KEY_ID",
            ),
            (
                403,
                "SignatureDoesNotMatch",
                Code::Refused,
                "credentials",
                "AWS_SECRET",
            ),
            (
                400,
                "ExpiredToken",
                Code::Refused,
                "credentials",
                "AWS_SESSION_TOKEN",
            ),
            (
                403,
                "RequestTimeTooSkewed",
                Code::Refused,
                "the clock",
                "timedatectl",
            ),
            (
                301,
                "PermanentRedirect",
                Code::Refused,
                "region eu-north-1",
                "AWS_REGION",
            ),
            (
                400,
                "AuthorizationHeaderMalformed",
                Code::Refused,
                "eu-north-1",
                "AWS_REGION",
            ),
            (
                400,
                "BadDigest",
                Code::Damaged,
                "not what was sent",
                "proxy",
            ),
            (
                412,
                "PreconditionFailed",
                Code::Refused,
                "replaced it",
                "--keep",
            ),
            (
                503,
                "SlowDown",
                Code::Network,
                "fails (503 SlowDown)",
                "later",
            ),
            (
                400,
                "EntityTooLarge",
                Code::Refused,
                "refuses (400 EntityTooLarge)",
                "manual",
            ),
        ] {
            let (code, message, said) = say(status, name);
            assert!(
                code == exit && message.contains(cause) && said.contains(hint),
                "{message}"
            );
            assert!(
                message.starts_with("cannot read s3://vaults/x: "),
                "{message}"
            );
        }
    }
}
