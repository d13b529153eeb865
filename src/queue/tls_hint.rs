//! What a failed handshake means, in words that name the key of `conf.json` to look at.

use std::path::Path;

use crate::config::TlsSettings;

/// What to add to an error of connecting, where it is known to tell more than it says.
pub(super) fn hint(message: &str, tls: Option<&TlsSettings>, is_timeout: bool) -> Option<String> {
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
