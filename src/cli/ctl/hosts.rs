//! The file of hosts of `up`, `down` and `autoscale ssh`: `[USER@]HOST[:PORT]`, one a line, and the name of the worker of each.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::cli::exit::CliError;
use crate::cli::output::detail;
use crate::model::WorkerName;
use crate::view::text::counted;

/// The port where none is given.
const SSH_PORT: u16 = 22;

/// Where one worker runs, and how `ssh` gets there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// Who logs in; `None`: whom `ssh` takes.
    pub(crate) user: Option<String>,
    /// The name or the address, without brackets.
    pub(crate) host: String,
    /// The port of the server there; `None`: the one that `ssh` takes.
    pub(crate) port: Option<u16>,
    /// The name of its worker.
    pub(crate) worker: WorkerName,
    /// The line in the file, from 1.
    pub(crate) line: usize,
}

impl Host {
    /// What `ssh` calls it, which has the port apart.
    pub(crate) fn destination(&self) -> String {
        self.user.as_ref().map_or_else(|| self.host.clone(), |user| format!("{user}@{}", self.host))
    }
}

/// As it stands in the file.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hosts {
    /// Each host once, in the order of the file.
    pub(crate) hosts: Vec<Host>,
    /// Lines that repeat an earlier one, as files of MPI and PBS do for each core.
    pub(crate) repeated: Vec<usize>,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostFault {
    /// The line, from 1.
    pub(crate) line: usize,
    /// What, and what is valid.
    pub(crate) text: String,
}

/// Reads a file of hosts.
///
/// # Errors
/// It cannot be read, or has faults, which are all printed before.
pub(crate) fn read_hosts(path: &Path) -> Result<Hosts, CliError> {
    let shown = path.display();
    let text = fs::read(path).map_err(|error| CliError::io(format!("read the hosts file {shown}"), error))?;
    let found = parse_hosts(&text).map_err(|faults| {
        for HostFault { line, text } in &faults {
            detail(&format!("{shown}:{line}: {text}"));
        }
        let number = counted(faults.len() as u64, "fault");
        CliError::Usage(format!("{shown} has {number}; valid: [USER@]HOST[:PORT], one a line, # begins a comment"))
    })?;
    if found.hosts.is_empty() {
        return Err(CliError::Usage(format!("{shown} names no host; valid: [USER@]HOST[:PORT], one a line")));
    }
    Ok(found)
}

/// The hosts of a text, or all of its faults.
pub(crate) fn parse_hosts(text: &[u8]) -> Result<Hosts, Vec<HostFault>> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let (mut places, mut faults, mut repeated) = (Vec::<Place>::new(), Vec::new(), Vec::new());
    let mut seen = HashMap::new();
    for (index, bytes) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = index + 1;
        let place = match std::str::from_utf8(bytes) {
            Ok(text) => place(text, line),
            Err(_) => Err("it is not UTF-8".to_owned()),
        };
        match place {
            Ok(None) => {}
            Ok(Some(place)) => match seen.get(&place.key()).map(|at: &usize| &places[*at]) {
                None => {
                    seen.insert(place.key(), places.len());
                    places.push(place);
                }
                Some(first) if first.user == place.user => repeated.push(line),
                Some(first) => {
                    let text = format!("{} is in line {} already, with another user", place.host, first.line);
                    faults.push(HostFault { line, text });
                }
            },
            Err(text) => faults.push(HostFault { line, text }),
        }
    }
    let (hosts, unnamed) = named(places);
    faults.extend(unnamed);
    faults.sort_by_key(|fault| fault.line);
    if faults.is_empty() { Ok(Hosts { hosts, repeated }) } else { Err(faults) }
}

/// A host that has no name for its worker yet.
#[derive(Clone, Debug)]
struct Place {
    user: Option<String>,
    host: String,
    port: Option<u16>,
    line: usize,
}

impl Place {
    /// What two lines of one server have in common.
    fn key(&self) -> (String, u16) {
        (self.host.to_lowercase(), self.port.unwrap_or(SSH_PORT))
    }

    /// Names for its worker, the shortest first.
    fn names(&self) -> [String; 3] {
        let is_address = self.host.contains(':') || self.host.parse::<Ipv4Addr>().is_ok();
        let short = if is_address { &self.host } else { self.host.split('.').next().unwrap_or_default() };
        let plain = |name: &str| name.replace([':', '%'], "-").trim_start_matches('-').to_owned();
        let whole = plain(&self.host);
        let with_port = format!("{whole}-{}", self.port.unwrap_or(SSH_PORT));
        [plain(short), whole, with_port]
    }
}

/// The host of a line; `None` where it has none.
fn place(text: &str, line: usize) -> Result<Option<Place>, String> {
    let comment = text.char_indices().find(|(at, c)| *c == '#' && text[..*at].trim_end().len() < (*at).max(1));
    let text = comment.map_or(text, |(at, _)| &text[..at]).trim();
    if text.is_empty() {
        return Ok(None);
    }
    if text.contains(char::is_whitespace) {
        return Err(format!("{text:?} has a blank in it; valid: one host a line, and # before a comment"));
    }
    // Of USER@DOMAIN@HOST, the last part is the host.
    let (user, place) = text.rsplit_once('@').map_or((None, text), |(user, place)| (Some(user), place));
    if let Some(user) = user {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-@\\+".contains(c);
        if user.is_empty() || user.starts_with('-') || !user.chars().all(is_plain) {
            return Err(format!("the user is {user:?}; valid: A-Z a-z 0-9 . _ - + @ \\, with no - before"));
        }
    }
    let (host, port) = host_and_port(place)?;
    let port = port.map(|port| {
        let is_digits = port.chars().all(|c| c.is_ascii_digit());
        port.parse::<u16>().ok().filter(|port| is_digits && *port > 0).ok_or(port)
    });
    let port = port.transpose().map_err(|port| format!("the port is {port:?}; valid: 1 to 65535"))?;
    Ok(Some(Place { user: user.map(str::to_owned), host: host.to_owned(), port, line }))
}

/// The parts of `HOST:PORT` and `[ADDRESS]:PORT`.
fn host_and_port(place: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = place.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or_else(|| format!("{place:?} has no ] after its ["))?;
        let (plain, zone) = address.split_once('%').map_or((address, None), |(plain, zone)| (plain, Some(zone)));
        let is_zone = |zone: &str| !zone.is_empty() && zone.chars().all(is_of_name);
        if plain.parse::<Ipv6Addr>().is_err() || !zone.is_none_or(is_zone) {
            return Err(format!("{address:?} is no IPv6 address; valid in brackets: [fe80::1]:22"));
        }
        return match rest.strip_prefix(':') {
            Some(port) => Ok((address, Some(port))),
            None if rest.is_empty() => Ok((address, None)),
            None => Err(format!("{rest:?} follows the address; valid: [{address}]:PORT")),
        };
    }
    if place.matches(':').count() > 1 {
        return Err(format!("{place:?} has several colons; an IPv6 address is in brackets: [fe80::1]:22"));
    }
    let (host, port) = place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port)));
    if host.is_empty() || host.starts_with(['-', '.']) || !host.chars().all(is_of_name) {
        return Err(format!("the host is {host:?}; valid: a name of A-Z a-z 0-9 . _ -, or an address"));
    }
    Ok((host, port))
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// Gives each the shortest name that no other one has: the host up to its first dot, as a worker names itself; else the whole of it; else with its port.
fn named(places: Vec<Place>) -> (Vec<Host>, Vec<HostFault>) {
    let mut names: Vec<String> = places.iter().map(|place| place.names()[0].clone()).collect();
    for level in 1..3 {
        let mut times: HashMap<String, usize> = HashMap::new();
        names.iter().for_each(|name| *times.entry(name.clone()).or_default() += 1);
        for (name, place) in names.iter_mut().zip(&places) {
            if times[name.as_str()] > 1 {
                *name = place.names()[level].clone();
            }
        }
    }
    let (mut hosts, mut faults, mut taken) = (Vec::new(), Vec::new(), HashMap::new());
    for (name, Place { user, host, port, line }) in names.into_iter().zip(places) {
        let fault = |text: String| HostFault { line, text };
        match name.parse::<WorkerName>() {
            Err(error) => faults.push(fault(format!("{host} gives no name for a worker: {error}"))),
            Ok(worker) => match taken.insert(name, line) {
                Some(first) => faults.push(fault(format!("its worker would have the name of line {first}, {worker}"))),
                None => hosts.push(Host { user, host, port, worker, line }),
            },
        }
    }
    (hosts, faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hosts(text: &str) -> Vec<Host> {
        parse_hosts(text.as_bytes()).unwrap_or_else(|faults| panic!("{text:?}: {faults:?}")).hosts
    }

    fn workers(text: &str) -> Vec<String> {
        hosts(text).into_iter().map(|host| host.worker.to_string()).collect()
    }

    fn fault(text: &str) -> String {
        let faults = parse_hosts(text.as_bytes()).expect_err(text);
        faults.iter().map(|HostFault { line, text }| format!("{line}: {text}")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn file_of_hosts_has_comments_users_ports_and_addresses() {
        let text = "\u{feff}# nodes\r\n\n node1 \r\nann@node2.site.org:2222 # with a port\n[fe80::1%eth0]:22\n10.0.0.7";
        let found = hosts(text);
        let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["node1", "ann@node2.site.org:2222", "[fe80::1%eth0]:22", "10.0.0.7"]);
        let lines: Vec<usize> = found.iter().map(|host| host.line).collect();
        assert_eq!(lines, [3, 4, 5, 6]);
        assert_eq!(found[1].destination(), "ann@node2.site.org");
        assert_eq!(found[2].destination(), "fe80::1%eth0");
        assert_eq!(workers(text), ["node1", "node2", "fe80--1-eth0", "10.0.0.7"]);
        assert_eq!(hosts("ann@corp.org@node1")[0].destination(), "ann@corp.org@node1");
    }

    #[test]
    fn worker_has_the_shortest_name_that_is_its_own() {
        assert_eq!(workers("a.x.org\nb.x.org"), ["a", "b"]);
        assert_eq!(workers("a.x.org\na.y.org\nb"), ["a.x.org", "a.y.org", "b"]);
        assert_eq!(workers("127.0.0.1:2201\n127.0.0.1:2202"), ["127.0.0.1-2201", "127.0.0.1-2202"]);
        assert_eq!(workers("a\na:2222"), ["a-22", "a-2222"]);
        assert_eq!(workers("[::1]"), ["1"]);
    }

    #[test]
    fn repeated_host_counts_once() {
        let found = parse_hosts(b"a\nb\na\nA:22\n").expect("hosts");
        assert_eq!((found.hosts.len(), found.repeated), (2, vec![3, 4]));
        assert_eq!(fault("ann@a\nbob@a"), "2: a is in line 1 already, with another user");
    }

    #[test]
    fn every_fault_is_told_with_its_line() {
        let told = fault("-oProxyCommand=x\na b\n@a\na:0\na:x\n[fe80::1\nfe80::1\n[a]:22\n[::1]22\nü\n-l@a\na:+5");
        let expected = [
            "1: the host is \"-oProxyCommand=x\"",
            "2: \"a b\" has a blank in it; valid: one host a line",
            "3: the user is \"\"",
            "4: the port is \"0\"; valid: 1 to 65535",
            "5: the port is \"x\"",
            "6: \"[fe80::1\" has no ]",
            "7: \"fe80::1\" has several colons; an IPv6 address is in brackets",
            "8: \"a\" is no IPv6 address",
            "9: \"22\" follows the address",
            "10: the host is \"ü\"",
            "11: the user is \"-l\"",
            "12: the port is \"+5\"",
        ];
        assert_eq!(told.lines().count(), expected.len(), "{told}");
        for (told, expected) in told.lines().zip(expected) {
            assert!(told.starts_with(expected), "{told} is not {expected}");
        }
        let invalid = parse_hosts(b"a\n\xff\n").expect_err("not UTF-8");
        assert_eq!(invalid, [HostFault { line: 2, text: "it is not UTF-8".to_owned() }]);
        assert!(fault(&"x".repeat(65)).starts_with("1: xxx"));
        assert_eq!(fault("fe80--1\n[fe80::1]"), "2: its worker would have the name of line 1, fe80--1-22");
    }

    proptest! {
        #[test]
        fn any_text_gives_distinct_workers_or_faults_of_its_lines(text in "(?s).{0,80}|([a-c@:.\\[\\]#\\- 12]{0,9}\n){0,8}") {
            let lines = text.split('\n').count();
            match parse_hosts(text.as_bytes()) {
                Ok(Hosts { hosts, repeated }) => {
                    let mut names: Vec<&str> = hosts.iter().map(|host| host.worker.as_str()).collect();
                    names.sort_unstable();
                    names.dedup();
                    prop_assert_eq!(names.len(), hosts.len());
                    prop_assert!(hosts.len() + repeated.len() <= lines);
                    for host in &hosts {
                        prop_assert!(!host.destination().starts_with('-'), "{} would be an option", host.destination());
                        prop_assert!(!host.destination().contains(char::is_whitespace));
                        let again = parse_hosts(host.to_string().as_bytes()).expect("it reads back").hosts.remove(0);
                        prop_assert_eq!((&again.user, &again.host, again.port), (&host.user, &host.host, host.port));
                    }
                }
                Err(faults) => {
                    prop_assert!(!faults.is_empty());
                    prop_assert!(faults.iter().all(|fault| (1..=lines).contains(&fault.line)));
                }
            }
        }
    }
}
