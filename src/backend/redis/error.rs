//! What went wrong, in the contract's words.

use std::{error::Error, fmt, time::Duration};

use fred::error::ErrorKind;

use crate::backend::{BackendError, BackendErrorKind};

/// The error for a command that Redis answered with an error.
pub(super) fn server_error(attempted: &'static str, answer: &str) -> BackendError {
    let (kind, why) =
        classify(answer).unwrap_or((BackendErrorKind::Rejected, "Redis answered with an error"));
    BackendError::new(kind, format!("{attempted}: {why}")).with_source(Cause::new(answer))
}

/// The error for a command that got no answer of its own within `timeout`.
pub(super) fn no_reply_error(
    attempted: &'static str,
    timeout: Duration,
    error: &fred::error::Error,
) -> BackendError {
    // The text may be that of another command's answer, which closed the connection: it proves
    // nothing about this command, and is only told as the source.
    match no_reply(error) {
        NoReply::TimedOut => BackendError::timed_out(attempted, timeout),
        NoReply::NeverSent => BackendError::new(
            BackendErrorKind::Unavailable,
            format!("{attempted}: not connected to Redis"),
        ),
        NoReply::Redirected => {
            BackendError::new(BackendErrorKind::Rejected, format!("{attempted}: {MOVING}"))
        }
        NoReply::Lost => BackendError::new(
            BackendErrorKind::Disconnected,
            format!("{attempted}: the connection to Redis was lost before the answer"),
        ),
    }
    .with_source(Cause::new(error.details()))
}

/// The error for a subscription that was not made.
pub(super) fn subscribe_error(
    attempted: &'static str,
    timeout: Duration,
    error: &fred::error::Error,
) -> BackendError {
    match classify(error.details()) {
        Some((kind, why)) => BackendError::new(kind, format!("{attempted}: {why}"))
            .with_source(Cause::new(error.details())),
        None => no_reply_error(attempted, timeout, error),
    }
}

/// How a command stayed without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoReply {
    /// No answer came in time.
    TimedOut,
    /// It was not sent.
    NeverSent,
    /// A node of a Cluster said that another one has the slot, and did not run it.
    Redirected,
    /// It was, or may have been, on a connection that is gone.
    Lost,
}

/// How this command stayed without an answer; in doubt it may have been applied.
pub(super) fn no_reply(error: &fred::error::Error) -> NoReply {
    match (error.kind(), error.details()) {
        (ErrorKind::Timeout, _) => NoReply::TimedOut,
        // The three ways in which fred refuses a command before anything is written, in its words.
        (ErrorKind::Canceled, "Connection closed unexpectedly.")
        | (
            ErrorKind::Unknown,
            "Client is not initialized."
            | "Failed to send command to router."
            | "Failed to route command.",
        ) => NoReply::NeverSent,
        (ErrorKind::Routing, "Too many redirections.") => NoReply::Redirected,
        _ => NoReply::Lost,
    }
}

/// The error for a connection that could not be made.
pub(super) fn connect_error(error: &fred::error::Error) -> BackendError {
    let (kind, why) = classify(error.details()).unwrap_or(match error.kind() {
        ErrorKind::Auth => (BackendErrorKind::Misconfigured, WRONG_CREDENTIALS),
        ErrorKind::Tls => (BackendErrorKind::Misconfigured, WRONG_TLS),
        ErrorKind::IO if is_about_tls(error.details()) => {
            (BackendErrorKind::Misconfigured, WRONG_TLS)
        }
        ErrorKind::Config => (
            BackendErrorKind::Misconfigured,
            "the settings do not fit the server",
        ),
        ErrorKind::Sentinel => (
            BackendErrorKind::Unavailable,
            "no Sentinel named a primary that answers",
        ),
        ErrorKind::Timeout => (
            BackendErrorKind::Unavailable,
            "no answer within the connect time-out",
        ),
        _ => (BackendErrorKind::Unavailable, "it does not answer there"),
    });
    BackendError::new(kind, format!("connect to Redis: {why}"))
        .with_source(Cause::new(error.details()))
}

/// Whether fred reports as input and output what is a matter of TLS.
fn is_about_tls(details: &str) -> bool {
    ["InvalidCertificate", "AlertReceived"]
        .iter()
        .any(|word| details.contains(word))
}

/// Whether a server says that it is not, or no longer, the primary.
pub(super) fn is_displaced(answer: &str) -> bool {
    matches!(code(answer), "READONLY" | "MASTERDOWN")
}

/// Whether a server does not know the script.
pub(super) fn is_unknown_script(answer: &str) -> bool {
    code(answer) == "NOSCRIPT"
}

/// What an answer means, by its code.
fn classify(answer: &str) -> Option<(BackendErrorKind, &'static str)> {
    use BackendErrorKind::{Corrupt, Misconfigured, Rejected};

    Some(match code(answer) {
        "OOM" => (Rejected, "Redis is full"),
        "READONLY" => (Rejected, "this Redis is a replica"),
        "LOADING" => (Rejected, "Redis is still loading its data"),
        "CLUSTERDOWN" => (Rejected, "the Redis Cluster does not serve this slot now"),
        "MASTERDOWN" => (Rejected, "the replica has lost its primary"),
        "TRYAGAIN" => (Rejected, MOVING),
        "BUSY" => (Rejected, "Redis is busy with a script"),
        "NOREPLICAS" => (Rejected, "Redis has too few replicas to accept writes"),
        "MISCONF" => (
            Rejected,
            "Redis accepts no writes because it cannot persist them",
        ),
        "NOPERM" => (Misconfigured, LACKING_PERMISSION),
        "ERR" if answer.starts_with("ERR The user executing the script can't") => {
            (Misconfigured, LACKING_PERMISSION)
        }
        "NOAUTH" | "WRONGPASS" => (Misconfigured, WRONG_CREDENTIALS),
        "CROSSSLOT" => (Misconfigured, "the keys are in different slots"),
        "WRONGTYPE" => (Corrupt, "something of another type is stored there"),
        "ERR" if answer.starts_with("ERR DB index") => {
            (Misconfigured, "the server has no database of this number")
        }
        "ERR" if answer.contains("unknown command") => (
            Misconfigured,
            "this server does not know a command; Redis 7.0 is the oldest that works",
        ),
        "CORRUPT" => (Corrupt, "what is stored there cannot be read"),
        _ => return None,
    })
}

/// The code at the beginning of an error; where a server wraps the error of a command
/// in a script, that one's.
fn code(answer: &str) -> &str {
    let inner = answer
        .strip_prefix("ERR ")
        .and_then(|wrapped| wrapped.split_once(": -"));
    let text = inner.map_or(answer, |(_, inner)| inner);
    text.split_whitespace().next().unwrap_or_default()
}

const LACKING_PERMISSION: &str = "the Redis user lacks a permission";
const WRONG_TLS: &str = "TLS is set up wrongly; check the certificates and the host name";
const MOVING: &str = "the slot is moving to another node of the Redis Cluster";
const WRONG_CREDENTIALS: &str = "Redis wants another user name or password";

/// What the server or the client said, without what was sent.
struct Cause(Box<str>);

impl Cause {
    fn new(text: &str) -> Self {
        // Redis quotes the arguments of a command that it does not know.
        Self(text.split(", with args").next().unwrap_or_default().into())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Cause {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_refused(answer: &str, kind: BackendErrorKind) {
        assert_eq!(server_error("test", answer).kind(), kind, "{answer}");
    }

    #[test]
    fn a_server_that_cannot_serve_now_rejects() {
        for answer in [
            "OOM command not allowed when used memory > 'maxmemory'.",
            "READONLY You can't write against a read only replica.",
            "LOADING Redis is loading the dataset in memory",
            "CLUSTERDOWN Hash slot not served",
            "MASTERDOWN Link with MASTER is down",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "BUSY Redis is busy running a script.",
            "NOREPLICAS Not enough good replicas to write.",
            "MISCONF Redis is configured to save RDB snapshots",
            "ERR something that nobody has heard of",
        ] {
            assert_refused(answer, BackendErrorKind::Rejected);
        }
    }

    #[test]
    fn what_only_a_human_can_mend_is_misconfigured() {
        for answer in [
            "NOPERM this user has no permissions to run the 'evalsha' command",
            "ERR The user executing the script can't run this command or subcommand script: 03c0, on @user_script:14.",
            "NOAUTH Authentication required.",
            "WRONGPASS invalid username-password pair or user is disabled.",
            "CROSSSLOT Keys in request don't hash to the same slot",
            "ERR DB index is out of range",
            "ERR unknown command 'EVALSHA', with args beginning with: 'x' ",
        ] {
            assert_refused(answer, BackendErrorKind::Misconfigured);
        }
    }

    #[test]
    fn the_code_of_a_command_in_a_script_is_found() {
        assert_refused(
            "ERR Error running script (call to f_6b1b): @user_script:12: -OOM command not allowed when used memory",
            BackendErrorKind::Rejected,
        );
        assert_refused(
            "ERR Error running script (call to f_6b1b): @user_script:3: -NOPERM this user has no permissions",
            BackendErrorKind::Misconfigured,
        );
    }

    #[test]
    fn a_replica_is_recognized_in_a_script_too() {
        assert!(is_displaced(
            "READONLY You can't write against a read only replica."
        ));
        assert!(is_displaced(
            "ERR Error running script (call to f_6b1b): @user_script:12: -READONLY You can't write against a read only replica."
        ));
        assert!(!is_displaced("ERR something: else"));
    }

    #[test]
    fn something_of_another_type_is_corrupt() {
        assert_refused(
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            BackendErrorKind::Corrupt,
        );
    }

    #[test]
    fn an_error_without_an_answer_of_its_own_proves_nothing() {
        for details in [
            "CLUSTERDOWN Hash slot not served",
            "NOAUTH Authentication required.",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "NOPERM this user has no permissions",
        ] {
            let error = fred::error::Error::new(ErrorKind::Cluster, details);
            let error = no_reply_error("test", Duration::from_millis(250), &error);
            assert_eq!(error.kind(), BackendErrorKind::Disconnected, "{details}");
            assert!(error.may_have_applied());
            assert_eq!(error.source().unwrap().to_string(), details);
        }
    }

    #[test]
    fn the_source_does_not_quote_what_was_sent() {
        let error = server_error(
            "test",
            "ERR unknown command 'EVALSHA', with args beginning with: 'a secret' ",
        );
        let source = error.source().unwrap();
        assert_eq!(source.to_string(), "ERR unknown command 'EVALSHA'");
        assert!(!format!("{error:?}").contains("secret"));
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_misconfigured() {
        let error = fred::error::Error::new(
            ErrorKind::IO,
            "Custom { kind: InvalidData, error: InvalidCertificate(UnknownIssuer) }",
        );
        assert_eq!(
            connect_error(&error).kind(),
            BackendErrorKind::Misconfigured
        );
    }

    #[test]
    fn a_command_that_was_not_sent_is_told_from_one_that_was_lost() {
        let kind = |kind, details: &'static str| {
            no_reply_error(
                "test",
                Duration::from_millis(250),
                &fred::error::Error::new(kind, details),
            )
            .kind()
        };
        assert_eq!(
            kind(ErrorKind::Canceled, "Connection closed unexpectedly."),
            BackendErrorKind::Unavailable
        );
        assert_eq!(
            kind(ErrorKind::Routing, "Too many redirections."),
            BackendErrorKind::Rejected
        );
        assert_eq!(
            kind(ErrorKind::Canceled, "Canceled."),
            BackendErrorKind::Disconnected
        );
        assert_eq!(
            kind(ErrorKind::Unknown, "Too many failed write attempts."),
            BackendErrorKind::Disconnected
        );
        assert_eq!(
            kind(ErrorKind::IO, "Broken pipe"),
            BackendErrorKind::Disconnected
        );
        assert_eq!(
            kind(ErrorKind::Timeout, "Request timed out."),
            BackendErrorKind::TimedOut
        );
    }
}
