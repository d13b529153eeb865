//! Turns what the server, the client and a failed handshake say into words that name the user, the key or the setting to look at.

use std::path::Path;

use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind};

use crate::config::TlsSettings;

/// Whether the server said that the user lacks a right. Inside a script the error has another code in each version of Redis.
pub(in crate::queue) fn is_denied(error: &RedisError) -> bool {
    if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) {
        return true;
    }
    let text = error.to_string();
    text.contains("The user executing the script") || text.contains("ACL failure in script") || text.contains("NOPERM")
}

/// Whether a key holds another type of value than the command is for. Inside a script the code is part of the text.
pub(in crate::queue) fn is_wrong_type(error: &RedisError) -> bool {
    error.to_string().contains("WRONGTYPE")
}

/// The command and its key, for a message: never a value.
pub(in crate::queue) fn command_and_key(cmd: &Cmd) -> String {
    let mut words = cmd.args_iter().filter_map(|arg| match arg {
        redis::Arg::Simple(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        redis::Arg::Cursor | _ => None,
    });
    let name = words.next().unwrap_or_default();
    match name.as_str() {
        "EVALSHA" | "SCRIPT" | "PING" | "TIME" | "INFO" => format!("run {name}"),
        _ => words.next().map_or_else(|| format!("run {name}"), |key| format!("run {name} on {key}")),
    }
}

/// What the server said, without the place in our script.
pub(in crate::queue) fn server_message(error: &RedisError) -> String {
    let first = error.clone().into_server_errors().and_then(|errors| errors.first().map(|(_, error)| error.clone()));
    let text = first.and_then(|error| error.details().map(str::to_owned)).unwrap_or_else(|| error.to_string());
    without_script(&text).to_owned()
}

/// A text of the server, without the script and the line in it where it was raised: `NOPERM … script: 3f9a…, on @user_script:12.`
pub(in crate::queue) fn without_script(text: &str) -> &str {
    text.split(" script: ").next().unwrap_or_default().trim()
}

/// Whether an entry of a stream was refused because the stream has one with the same or a later id.
pub(in crate::queue) fn is_passed_id(error: &RedisError) -> bool {
    error.to_string().contains("equal or smaller")
}

/// Which command of a pipeline was refused first.
pub(in crate::queue) fn failed_command_index(error: &RedisError) -> usize {
    error.clone().into_server_errors().and_then(|errors| errors.first().map(|(index, _)| *index)).unwrap_or(0)
}

/// What to add to an error of connecting, where it is known to tell more than it says.
pub(in crate::queue) fn tls_hint(message: &str, tls: Option<&TlsSettings>, is_timeout: bool) -> Option<String> {
    let Some(tls) = tls else {
        let is_cut = ["unexpected end of file", "end of file", "reset by peer", "roken pipe", "terminated", "dropped"]
            .iter()
            .any(|text| message.contains(text));
        let text = "the server closed the connection at once: perhaps it requires TLS (rediss:// or redis_tls)";
        return is_cut.then(|| text.to_owned());
    };
    if is_timeout || message.contains("InvalidContentType") || message.contains("corrupt message") {
        return Some("perhaps that port does not use TLS (redis:// and no redis_tls)".to_owned());
    }
    let has = |text: &str| message.contains(text);
    let alert = has("fatal alert");
    Some(if has("UnknownIssuer") {
        match &tls.ca {
            Some(ca) => {
                format!("redis_tls.ca, {}, does not contain the CA that signed the server's certificate", ca.display())
            }
            None => "the system does not trust the CA that signed the server's certificate: name it in redis_tls.ca"
                .to_owned(),
        }
    } else if alert && (has("CertificateRequired") || (tls.cert.is_none() && has("HandshakeFailure"))) {
        "the server requires a client certificate: set redis_tls.cert and redis_tls.key".to_owned()
    } else if alert && (has("UnknownCA") || has("BadCertificate") || has("DecryptError")) {
        format!("the server does not accept redis_tls.cert{}", named(tls.cert.as_deref()))
    } else if alert && has("CertificateExpired") {
        format!("redis_tls.cert{} has expired", named(tls.cert.as_deref()))
    } else if has("Expired") || has("expired") {
        "the server's certificate has expired (or this machine's clock is wrong)".to_owned()
    } else if has("NotValidYet") || has("not valid yet") {
        "the server's certificate is not valid yet: this machine's clock may be wrong".to_owned()
    } else {
        return None;
    })
}

fn named(path: Option<&Path>) -> String {
    path.map(|path| format!(", {}", path.display())).unwrap_or_default()
}
