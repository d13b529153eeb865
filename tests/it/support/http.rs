//! A plain HTTP/1.1 client: whatever headers a test wants, one connection a request.
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Sends a request and reads the whole answer.
#[track_caller]
pub(crate) fn request(
    at: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    limit: Duration,
) -> Answer {
    try_request(at, method, path, headers, body, limit).unwrap_or_else(|error| panic!("{method} {at}{path}: {error}"))
}

/// As [`request`]; what goes wrong below HTTP is an error.
pub(crate) fn try_request(
    at: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    limit: Duration,
) -> io::Result<Answer> {
    let mut stream = send(at, method, path, headers, body, limit)?;
    let (status, head) = read_head(&mut stream)?;
    let length = head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut bytes = Vec::new();
    match length {
        Some(length) => {
            bytes.resize(length, 0);
            if method != "HEAD" {
                stream.read_exact(&mut bytes)?;
            }
        }
        None => drop(stream.read_to_end(&mut bytes)?),
    }
    Ok(Answer { status, head, body: String::from_utf8_lossy(&bytes).into_owned() })
}

/// Sends a request; the answer is yet to be read.
pub(crate) fn send(
    at: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    limit: Duration,
) -> io::Result<BufReader<TcpStream>> {
    let address = at.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("no address"))?;
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    // One that refuses by the head alone may close before it has all: then its answer is there to be read, or the lack of it is the error.
    let _ = stream.write_all(&[text.as_bytes(), body].concat());
    Ok(BufReader::new(stream))
}

/// The status and the headers of an answer; the body is what is left to read.
pub(crate) fn read_head(stream: &mut impl BufRead) -> io::Result<(u16, String)> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if stream.read_line(&mut head)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("the head ends early: {head:?}")));
        }
        if head[before..].trim().is_empty() {
            break;
        }
    }
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.ok_or_else(|| io::Error::other(format!("no status: {head:?}")))?, head))
}
