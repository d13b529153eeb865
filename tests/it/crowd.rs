//! Whoever reaches a listening port, or may follow output, cannot take what a worker or a dashboard needs.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::support::{Bed, Cli, Redis, SOON, ServerOptions, bin, free_port, holds_for, try_request, wait_until};

const BOUND: Duration = Duration::from_secs(60);

/// Connections to `at`, as many as come about, some of which have begun a request.
fn crowd(at: &str, count: usize) -> Vec<TcpStream> {
    let address = at.parse().expect("an address");
    let mut held = Vec::new();
    for number in 0..count {
        let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) else { break };
        if number % 2 == 0 {
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: ");
        }
        held.push(stream);
    }
    held
}

fn durable() -> Bed {
    Bed::on(Redis::start(ServerOptions { durable: true, ..Default::default() }), json!({"max_task_per_worker": 4}))
}

#[test]
fn a_crowd_at_the_metrics_port_leaves_a_worker_its_redis() {
    let mut bed = durable();
    let at = format!("127.0.0.1:{}", free_port());
    let through = ["prlimit", "--nofile=100:100"];
    let worker = bed.worker_through(&through, "w", json!({}), &["--metrics-listen", &at]);
    bed.wait_alive("w");
    let held = crowd(&at, 300);
    assert!(held.len() >= 20, "{} connections", held.len());
    bed.redis.kill9();
    wait_until("the loss to be seen", SOON, || holds_for(worker.log().contains("lost Redis"), worker.log()));
    bed.redis.start_again();
    wait_until("it to be back", BOUND, || holds_for(worker.log().contains("Redis is back"), worker.log()));
    bed.add((0..20).map(|at| format!("shell:0:0:1:echo {at}")));
    bed.wait_counts(BOUND, [0, 0, 20, 0]);
    assert!(!worker.log().contains("Too many open files"), "{}", worker.log());
    drop(held);
    let answer = wait_until("a page when the crowd has gone", BOUND, || {
        try_request(&at, "GET", "/healthz", &[("Host", &at)], b"", SOON).map_err(|error| error.to_string())
    });
    assert_eq!(answer.status, 200);
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let bed = Bed::new();
    let at = format!("127.0.0.1:{}", free_port());
    let _worker = bed.worker_with("w", json!({}), &["--metrics-listen", &at]);
    bed.wait_alive("w");
    // As many as there are places.
    let held = crowd(&at, 16);
    assert_eq!(held.len(), 16);
    let answer = wait_until("a page although all places were taken", BOUND, || {
        try_request(&at, "GET", "/healthz", &[("Host", &at)], b"", SOON).map_err(|error| error.to_string())
    });
    assert_eq!(answer.status, 200);
    for mut stream in held {
        stream.set_read_timeout(Some(BOUND)).expect("a time-out");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
}

#[test]
fn a_flood_of_followers_stops_no_worker() {
    let bed = Bed::new();
    let worker = bed.worker("w");
    bed.wait_alive("w");
    let mut pipe = redis::pipe();
    for number in 0..5000 {
        let request =
            format!(r#"{{"id":"0123456789abcdef","channel":"{number:016x}","stdout_from":null,"stderr_from":null}}"#);
        pipe.cmd("PUBLISH").arg("distcomp:follow:w").arg(request).ignore();
    }
    pipe.exec(&mut bed.redis.con()).expect("PUBLISH");
    wait_until("the flood to be seen", SOON, || {
        holds_for(worker.log().contains("too many requests for the output"), worker.log())
    });
    let listeners = || -> u64 {
        let mut ask = redis::cmd("PUBSUB");
        let (_, count): (String, u64) =
            ask.arg("NUMSUB").arg("distcomp:follow:w").query(&mut bed.redis.con()).expect("PUBSUB");
        count
    };
    assert_eq!(listeners(), 0, "it does not listen for a while");
    bed.add(["shell:0:0:1:echo well"]);
    bed.wait_counts(SOON, [0, 0, 1, 0]);
    wait_until("it to listen again", BOUND, || holds_for(listeners() == 1, listeners()));
}

#[test]
fn a_crowd_at_the_dashboard_leaves_it_its_redis() {
    let mut bed = durable();
    let at = format!("127.0.0.1:{}", free_port());
    let conf = bed.conf_path().display().to_string();
    let serve = ["--nofile=64:64", bin("distcomp-status"), "--config", &conf, "serve", "--listen", &at];
    let served = Cli::new("prlimit").args(serve).dir(bed.path()).start();
    let page = || try_request(&at, "GET", "/metrics", &[("Host", &at)], b"", SOON).map_err(|error| error.to_string());
    wait_until("a page", SOON, page);
    let held = crowd(&at, 200);
    assert!(held.len() >= 20, "{} connections", held.len());
    bed.redis.kill9();
    bed.redis.start_again();
    wait_until("it to be connected again", BOUND, || {
        let clients: String = redis::cmd("CLIENT").arg("LIST").query(&mut bed.redis.con()).expect("CLIENT LIST");
        holds_for(clients.lines().count() >= 2, clients)
    });
    drop(held);
    let answer = wait_until("a page when the crowd has gone", BOUND, page);
    assert_eq!(answer.status, 200);
    served.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(served.finish().is(0));
}
