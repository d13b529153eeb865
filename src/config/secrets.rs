//! Lists the environment variables of the worker that no task may see.
//!
//! A variable is withheld for what it holds in a place where a secret is expected: its whole value, the user-info part of a URL, the value of
//! `key=value`. A secret that is a part of a longer word says nothing: `cloudlab` is a password of real fleets, and a word in their `PATH`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use secrecy::ExposeSecret;

use super::redis_url::RedisUrl;
use super::settings::RedisSettings;

/// Variables that hold or lead to secrets of ours; no task may see them.
pub const SECRET_VARIABLES: &[&str] = &[
    "DISTCOMP_REDIS_URL",
    "DISTCOMP_REDIS_PASSWORD",
    "CREDENTIALS_DIRECTORY",
    "DISTCOMP_DASHBOARD_TOKEN",
    "DISTCOMP_DASHBOARD_OPERATOR_TOKEN",
];

/// Variables that programs cannot do without. Whatever they hold, they stay.
const NEEDED: &[&str] = &[
    "DISPLAY", "EDITOR", "HOME", "HOST", "HOSTNAME", "LANG", "LANGUAGE", "LOGNAME", "MAIL", "OLDPWD", "PATH", "PWD",
    "SHELL", "SHLVL", "TEMP", "TERM", "TMP", "TMPDIR", "TZ", "USER",
];

/// A shorter password may be an ordinary word or number: it counts only where a name says that this is a password.
const TELLING: usize = 6;

/// The names of the variables in `environment` that no task may see, sorted: [`SECRET_VARIABLES`], whatever else begins with `DISTCOMP_REDIS_`, and
/// whatever holds one of our passwords, as it is or percent-encoded.
#[must_use]
pub fn withheld_variables(
    redis: &RedisSettings,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<OsString> {
    let environment: Vec<(OsString, OsString)> = environment.into_iter().collect();
    let secrets = secrets_of(redis, &environment);
    let mut names: Vec<OsString> = environment
        .into_iter()
        .filter(|(name, value)| is_withheld(name.as_bytes(), value.as_bytes(), &secrets))
        .map(|(name, _)| name)
        .collect();
    names.sort();
    names
}

/// Every password and token that is known: those in use, and those in our own variables, which another setting may have set aside.
fn secrets_of(redis: &RedisSettings, environment: &[(OsString, OsString)]) -> Vec<Vec<u8>> {
    let in_use = redis.password.iter().chain(redis.sentinel_login.iter().map(|login| &login.password));
    let mut secrets: Vec<Vec<u8>> = in_use.map(|secret| secret.expose_secret().as_bytes().to_owned()).collect();
    for (name, value) in environment {
        match name.to_str() {
            Some("DISTCOMP_REDIS_PASSWORD" | "DISTCOMP_DASHBOARD_TOKEN" | "DISTCOMP_DASHBOARD_OPERATOR_TOKEN") => {
                secrets.push(value.as_bytes().to_owned());
            }
            Some("DISTCOMP_REDIS_URL") => {
                let url = value.to_str().and_then(|url| RedisUrl::parse(url).ok());
                let found = url.into_iter().flat_map(|url| [url.password, url.sentinel_password]);
                secrets.extend(found.flatten().map(String::into_bytes));
            }
            Some(_) | None => {}
        }
    }
    secrets.retain(|secret| !secret.is_empty());
    secrets.sort();
    secrets.dedup();
    secrets
}

fn is_withheld(name: &[u8], value: &[u8], secrets: &[Vec<u8>]) -> bool {
    if name.starts_with(b"DISTCOMP_REDIS_") || SECRET_VARIABLES.iter().any(|known| name == known.as_bytes()) {
        return true;
    }
    if is_needed(name) {
        return false;
    }
    let decoded = percent_decoded(value);
    secrets.iter().any(|secret| holds(name, value, secret) || (decoded != value && holds(name, &decoded, secret)))
}

fn is_needed(name: &[u8]) -> bool {
    name.starts_with(b"LC_") || name.starts_with(b"LD_") || NEEDED.iter().any(|known| name == known.as_bytes())
}

/// Whether a secret stands in `text`, the value of the variable `name`, in a place for secrets.
fn holds(name: &[u8], text: &[u8], secret: &[u8]) -> bool {
    let is_telling = secret.len() >= TELLING;
    let is_named = names_secret(name);
    if (text == secret || unquoted(text) == secret) && (is_telling || is_named) {
        return true;
    }
    let places = text.windows(secret.len()).enumerate().filter(|(_, part)| *part == secret).map(|(at, _)| at);
    places.into_iter().any(|at| {
        let (before, after) = (&text[..at], &text[at + secret.len()..]);
        if is_user_info(before, after, is_telling) {
            return true;
        }
        // Elsewhere a secret is a word of its own.
        let ends = after.first().is_none_or(|&byte| is_boundary(byte));
        ends && (is_value_of_key(before, is_telling) || is_of_flag(before, is_telling) || {
            let starts = before.last().is_none_or(|&byte| is_boundary(byte) || byte == b':' || byte == b'=');
            is_named && is_telling && starts
        })
    })
}

/// `SCHEME://USER:SECRET@`, `SCHEME://SECRET@`, and the former without a scheme.
fn is_user_info(before: &[u8], after: &[u8], is_telling: bool) -> bool {
    if after.first() != Some(&b'@') {
        return false;
    }
    let is_apart = |byte: &u8| is_boundary(*byte) || matches!(byte, b'/' | b'?' | b'#' | b'=');
    let info = before.rsplit(is_apart).next().unwrap_or_default();
    let has_scheme = before[..before.len() - info.len()].ends_with(b"://");
    match info {
        [] => has_scheme && is_telling,
        [.., b':'] => has_scheme || (is_telling && info.len() > 1),
        [..] => false,
    }
}

/// `key=SECRET` and `key = SECRET` with any key, `"key": "SECRET"` with one that says what it is; quoted or not.
fn is_value_of_key(before: &[u8], is_telling: bool) -> bool {
    let before = without_quote(before).trim_ascii_end();
    let Some((sign, key)) = before.split_last() else { return false };
    let key = without_quote(key.trim_ascii_end());
    let key = key.rsplit(|byte| !is_word(*byte)).next().unwrap_or_default();
    match sign {
        b'=' => !key.is_empty() && (is_telling || names_secret(key)),
        b':' => names_secret(key),
        _ => false,
    }
}

/// `--pass SECRET`, `-a SECRET` as redis-cli has it, `-pSECRET`.
fn is_of_flag(before: &[u8], is_telling: bool) -> bool {
    let before = without_quote(before);
    let word = before.trim_ascii_end().rsplit(u8::is_ascii_whitespace).next().unwrap_or_default();
    let is_attached = before.last().is_some_and(|byte| !byte.is_ascii_whitespace());
    match word {
        [b'-', b'-', name @ ..] => !is_attached && names_secret(name),
        [b'-', b'a' | b'p'] => is_telling,
        [b'-', name @ ..] => !is_attached && names_secret(name),
        [..] => false,
    }
}

/// Whether a name says that what it names is secret: `REDIS_PASSWORD`, `PGPASSWORD`, `api-token`, but not `COMPASS`.
fn names_secret(name: &[u8]) -> bool {
    const WORDS: [&[u8]; 12] = [
        b"auth",
        b"cred",
        b"creds",
        b"credential",
        b"credentials",
        b"pass",
        b"passphrase",
        b"pw",
        b"pwd",
        b"secret",
        b"token",
        b"redispass",
    ];
    const ENDS: [&[u8]; 3] = [b"password", b"passwd", b"requirepass"];
    let name = name.to_ascii_lowercase();
    let mut words = name.split(|byte| matches!(byte, b'_' | b'-' | b'.'));
    words.any(|word| WORDS.contains(&word) || ENDS.iter().any(|end| word.ends_with(end)))
}

/// What ends a word.
fn is_boundary(byte: u8) -> bool {
    byte.is_ascii_whitespace()
        || matches!(
            byte,
            b'"' | b'\'' | b'`' | b',' | b';' | b'&' | b'|' | b'(' | b')' | b'{' | b'}' | b'[' | b']' | b'<' | b'>'
        )
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

fn without_quote(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\"").or_else(|| text.strip_suffix(b"'")).unwrap_or(text)
}

/// Text without white space around it and then without the quotes around it.
fn unquoted(text: &[u8]) -> &[u8] {
    match text.trim_ascii() {
        [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] => inner,
        // A password may have white space at its ends.
        _ => text,
    }
}

/// The text as a URL of any kind, or a part of one, would be read; a `%` that is no escape stands for itself.
fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|&byte| u8::try_from(char::from(byte).to_digit(16)?).ok());
    let mut plain: Vec<u8> = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                plain.push(high << 4 | low);
                at += 3;
            }
            _ => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn withheld(name: &str, value: &str, secret: &str) -> bool {
        is_withheld(name.as_bytes(), value.as_bytes(), &[secret.as_bytes().to_owned()])
    }

    fn encoded(text: &str) -> String {
        text.bytes().map(|byte| format!("%{byte:02X}")).collect()
    }

    #[test]
    fn a_word_of_a_path_or_a_host_is_no_secret() {
        for (name, value) in [
            ("PATH", "/opt/cloudlab/bin:/usr/bin"),
            ("PATH", "cloudlab"),
            ("HOME", "/users/cloudlab"),
            ("USER", "cloudlab"),
            ("HOSTNAME", "cloudlab"),
            ("LD_LIBRARY_PATH", "/usr/local/cloudlab"),
            ("LC_ALL", "cloudlab"),
            ("PYTHONPATH", "/proj/cloudlab/lib:cloudlab/src"),
            ("SITE", "utah.cloudlab.us"),
            ("MIRROR", "https://cloudlab.us/packages"),
            ("NODE", "node0.cloudlab:6400"),
            ("OPTIONS", "--prefix=/usr/cloudlab --site=cloudlab.us"),
            ("MANPATH", "/x/cloudlab:/y"),
            ("IMAGE", "registry/x:cloudlab-7"),
            ("SSH_AUTH_SOCK", "/tmp/cloudlab/agent.1"),
            ("NOTE", "run on cloudlab today"),
        ] {
            assert!(!withheld(name, value, "cloudlab"), "{name}={value}");
        }
    }

    #[test]
    fn a_secret_in_its_place_is_withheld() {
        for value in [
            "cloudlab",
            "\"cloudlab\"",
            " 'cloudlab'\n",
            "cl%6fudlab",
            "redis://:cloudlab@node0:6400/0",
            "redis://cloudlab@node0",
            "amqp://ann:cloudlab@a/;amqp://b/",
            "http://x/y redis://u:%63loudlab@h",
            "ann:cloudlab@tcp(db:3306)/x",
            "--pass=cloudlab",
            "-h node0 --pass=\"cloudlab\" -n 0",
            "host=node0 password=cloudlab",
            "host=node0 password = 'cloudlab' port=1",
            "Server=x;Password=cloudlab;",
            "https://h/login?user=x&pwd=cloudlab&y=1",
            "{\"redis_host\": \"node0\", \"redis_pass\": \"cloudlab\"}",
            "redis_pass: cloudlab",
            "-h node0 -a cloudlab ping",
            "-uroot -pcloudlab",
            "--password cloudlab",
        ] {
            assert!(withheld("X", value, "cloudlab"), "{value}");
        }
        assert!(withheld("USER_AUTH", "ann:cloudlab", "cloudlab"));
        assert!(withheld("DISTCOMP_REDIS_ANYTHING", "x", "cloudlab"));
    }

    #[test]
    fn a_short_password_withholds_no_ordinary_word() {
        for (name, value) in [
            ("DEBUG", "1"),
            ("OMP_NUM_THREADS", "1"),
            ("OPTIONS", "--threads=1 -a 1"),
            ("COMPASS", "1"),
            ("TOKENIZERS_PARALLELISM", "1"),
            ("PORT", "1"),
            ("RATIO", "1:1"),
            ("WHO", "x:1@y"),
        ] {
            assert!(!withheld(name, value, "1"), "{name}={value}");
        }
        for (name, value) in [
            ("REDIS_PASSWORD", "1"),
            ("PGPASSWORD", "1"),
            ("X", "redis://:1@h"),
            ("X", "--pass=1"),
            ("X", "host=h password=1"),
            ("REDISCLI_AUTH", "1"),
        ] {
            assert!(withheld(name, value, "1"), "{name}={value}");
        }
    }

    #[test]
    fn secrets_of_our_own_variables_are_found_under_other_names() {
        let redis = RedisSettings {
            endpoint: super::super::settings::Endpoint::Unix { path: "/s".into() },
            db: 0,
            user: None,
            password: None,
            tls: None,
            sentinel_login: None,
            origin: super::super::settings::Origin::default(),
        };
        let environment = [
            ("DISTCOMP_REDIS_URL", "redis://:first-secret@h"),
            ("DISTCOMP_REDIS_PASSWORD", "second-secret"),
            ("DISTCOMP_DASHBOARD_TOKEN", "third-secret"),
            ("A", "first-secret"),
            ("B", "--token=third-secret"),
            ("C", "second-secret"),
            ("KEPT", "x"),
            ("PATH", "/bin"),
        ];
        let names = withheld_variables(&redis, environment.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(names, ["A", "B", "C", "DISTCOMP_DASHBOARD_TOKEN", "DISTCOMP_REDIS_PASSWORD", "DISTCOMP_REDIS_URL"]);
    }

    proptest! {
        #[test]
        fn every_url_and_key_with_the_password_is_withheld(secret in "[ -~]{6,20}", user in "[a-z]{0,6}") {
            let escaped = encoded(&secret);
            prop_assert!(withheld("X", &secret, &secret), "{}", secret);
            prop_assert!(withheld("X", &escaped, &secret), "{}", secret);
            prop_assert!(withheld("X", &format!("amqp://{user}:{escaped}@h:1/2"), &secret), "{}", secret);
            prop_assert!(withheld("X", &format!("amqp://{user}:{secret}@h:1/2"), &secret), "{}", secret);
            prop_assert!(withheld("X", &format!("a=b key={secret}"), &secret), "{}", secret);
            prop_assert!(withheld("X", &format!("a=b key='{secret}' c=d"), &secret), "{}", secret);
            prop_assert!(withheld("X", &format!("https://h/?a=b&key={escaped}&c=d"), &secret), "{}", secret);
        }

        #[test]
        fn a_part_of_a_longer_word_is_not(secret in "[a-z0-9]{1,12}", left in "[A-Z/._]{1,8}", right in "[A-Z/._]{1,8}") {
            for text in [format!("{left}{secret}{right}"), format!("/usr{left}{secret}:/bin"), format!("k={left}{secret}"), format!("--k={secret}{right}")] {
                prop_assert!(!withheld("ROUTE", &text, &secret), "{}", text);
            }
        }

        #[test]
        fn what_programs_need_stays_whatever_it_holds(at in 0..NEEDED.len(), tail in "[A-Z_]{1,8}", secret in "[ -~]{1,12}") {
            for name in [NEEDED[at].to_owned(), format!("LC_{tail}"), format!("LD_{tail}")] {
                prop_assert!(!withheld(&name, &secret, &secret), "{}", secret);
                prop_assert!(!withheld(&name, &format!("redis://:{secret}@h"), &secret), "{}", secret);
            }
        }

        #[test]
        fn no_environment_makes_it_panic(name in "\\PC{0,8}", value in "\\PC{0,40}", secret in "\\PC{1,6}") {
            let _ = withheld(&name, &value, &secret);
            let _ = withheld(&name, &format!("{value}{secret}{value}"), &secret);
        }
    }
}
