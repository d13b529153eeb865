//! A picture of a program on a terminal: tmux is the terminal, the browser draws what tmux has on its screen, colours and all.
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Bed, Browser, SOON, wait_until};

const COLUMNS: u32 = 110;
const ROWS: u32 = 30;

/// A terminal in which `distcomp-status watch` runs; dropped means ended.
pub(super) struct Terminal {
    socket: String,
    page: String,
}

impl Terminal {
    pub(super) fn start(bed: &Bed) -> Self {
        let command = bed.cli("distcomp-status").args(["watch"]).into_command();
        let terminal = Self { socket: bed.out("tmux"), page: bed.out("screen.html") };
        let mut tmux = terminal.tmux(&["new-session", "-d", "-x", &COLUMNS.to_string(), "-y", &ROWS.to_string(), "--"]);
        tmux.arg(command.get_program()).args(command.get_args()).env_remove("TMUX").env_remove("NO_COLOR");
        assert!(tmux.status().expect("tmux is installed").success());
        terminal
    }

    fn tmux(&self, args: &[&str]) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.args(["-S", &self.socket, "-f", "/dev/null"]).args(args);
        tmux
    }

    pub(super) fn press(&self, key: &str) {
        assert!(self.tmux(&["send-keys", key]).status().expect("tmux").success());
    }

    fn screen(&self) -> String {
        let shown = self.tmux(&["capture-pane", "-e", "-p"]).output().expect("tmux");
        String::from_utf8_lossy(&shown.stdout).into_owned()
    }

    /// Waits until a text is on the screen, and draws it.
    pub(super) fn shoot(&self, browser: &Browser, text: &str, path: &Path) {
        let screen = wait_until(text, SOON, || {
            let screen = self.screen();
            if plain(&screen).contains(text) { Ok(screen) } else { Err(screen) }
        });
        fs::write(&self.page, html(&screen)).expect("a page");
        browser.open(&format!("file://{}", self.page));
        let size = |what: &str| {
            browser.run(&format!("return Math.ceil(document.querySelector('pre').getBoundingClientRect().{what})"))
        };
        let points = |what: &str| u32::try_from(size(what).as_u64().expect("a number")).expect("a size");
        browser.resize(points("width"), points("height"), 1.0);
        browser.screenshot(path);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]).status();
    }
}

/// Without its escapes.
fn plain(screen: &str) -> String {
    let mut pieces = screen.split('\u{1b}');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.split_once('m').map_or(piece, |(_, rest)| rest))
}

/// A page with the screen as it is coloured.
fn html(screen: &str) -> String {
    const STYLE: &str = "body{margin:0;background:#14181b}pre{margin:0;padding:12px 14px;display:inline-block;color:#d5dbdf;font:13px/1.35 'DejaVu Sans Mono',monospace}\
        .b{font-weight:700}.d{color:#87939b}.c1{color:#f0857d}.c2{color:#5cc48d}.c3{color:#e0b25a}.c4{color:#6ea8f0}.r{background:#d5dbdf;color:#14181b}";
    let mut body = String::new();
    let mut classes: Vec<&str> = Vec::new();
    for (at, piece) in screen.trim_end().split('\u{1b}').enumerate() {
        let (codes, text) = if at == 0 { ("", piece) } else { piece[1..].split_once('m').unwrap_or(("", "")) };
        // A colour of the sixteen is told as one of 256.
        let codes = codes.replace("38;5;", "3");
        for code in codes.split(';') {
            match code {
                "1" => classes.push("b"),
                "2" => classes.push("d"),
                "7" => classes.push("r"),
                "31" => classes.push("c1"),
                "32" => classes.push("c2"),
                "33" => classes.push("c3"),
                "34" => classes.push("c4"),
                "0" | "" if at > 0 => classes.clear(),
                "22" => classes.retain(|class| !matches!(*class, "b" | "d")),
                "27" => classes.retain(|class| *class != "r"),
                "39" => classes.retain(|class| !class.starts_with('c')),
                _ => {}
            }
        }
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        // Writing to a string cannot fail.
        let _ = write!(body, "<span class=\"{}\">{text}</span>", classes.join(" "));
    }
    format!("<!doctype html><meta charset=utf-8><style>{STYLE}</style><pre>{body}</pre>")
}

#[test]
fn colours_become_classes_and_text_stays_text() {
    let page = html("a\u{1b}[1;31m<b>\u{1b}[0m&c");
    assert!(
        page.ends_with(
            "<span class=\"\">a</span><span class=\"b c1\">&lt;b></span><span class=\"\">&amp;c</span></pre>"
        ),
        "{page}"
    );
    assert_eq!(plain("a\u{1b}[1;31mb\u{1b}[0mc"), "abc");
}
