//! A real browser: headless Chromium behind chromedriver, spoken to over plain HTTP (the WebDriver protocol).
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{Answer, request};
use super::wait::{SOON, wait_until};

/// A browser with an empty profile; dropped means ended.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// In a window of this size.
    pub(crate) fn start(width: u32, height: u32) -> Self {
        let driver = program("DISTCOMP_CHROMEDRIVER", &["chromedriver"]);
        let chromium = program("DISTCOMP_CHROMIUM", &["chromium", "chromium-browser", "google-chrome"]);
        let profile = tempfile::Builder::new().prefix("dc-chromium-").tempdir_in("/tmp").expect("a directory in /tmp");
        let mut driver = Command::new(driver)
            .args(["--port=0", "--log-level=WARNING"])
            // What the browser leaves about stays in the profile's directory.
            .env("TMPDIR", profile.path())
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver runs");
        let port = port_of(&mut driver);
        let mut browser = Self { driver, port, session: String::new(), _profile: profile };
        let args = [
            "--headless".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--hide-scrollbars".to_owned(),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", browser._profile.path().join("profile").display()),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            // A dialog that a page opens is left open, and then every command fails: it cannot go unseen.
            "unhandledPromptBehavior": "ignore",
            "goog:chromeOptions": { "binary": chromium, "args": args },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let answer = browser.call("POST", "/session", Some(wanted));
        browser.session = answer["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {answer}")).to_owned();
        browser
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        self.try_call(method, path, body).unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// The answer, or what the driver refused and why.
    #[track_caller]
    fn try_call(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, String> {
        let body = body.map_or_else(String::new, |body| body.to_string());
        let at = format!("127.0.0.1:{}", self.port);
        let answer: Answer = request(
            &at,
            method,
            path,
            &[("Host", &at), ("Content-Type", "application/json")],
            body.as_bytes(),
            Duration::from_secs(60),
        );
        let value: Value = serde_json::from_str(&answer.body).unwrap_or(Value::Null);
        if answer.status == 200 {
            Ok(value["value"].clone())
        } else {
            Err(format!("{method} {path}: {} {}", answer.status, answer.body))
        }
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        self.call(method, &format!("/session/{}{path}", self.session), body)
    }

    /// Loads a page and waits until it is there.
    #[track_caller]
    pub(crate) fn open(&self, url: &str) {
        self.ask("POST", "/url", Some(json!({ "url": url })));
    }

    /// What a function body returns; `arguments` is an empty list.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", Some(json!({ "script": script, "args": [] })))
    }

    /// The text of the first element that matches, as it is shown.
    #[track_caller]
    pub(crate) fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({})?.innerText ?? '(no such element)'", json!(selector));
        self.run(&script).as_str().unwrap_or_default().to_owned()
    }

    /// How many elements match.
    #[track_caller]
    pub(crate) fn count(&self, selector: &str) -> u64 {
        self.run(&format!("return document.querySelectorAll({}).length", json!(selector))).as_u64().unwrap_or_default()
    }

    /// Does something to an element: once it is there, and again where the page has just put another in its place.
    #[track_caller]
    fn act(&self, selector: &str, action: &str, body: &Value) {
        let session = format!("/session/{}/element", self.session);
        wait_until(&format!("{action} on {selector}"), SOON, || {
            let wanted = json!({ "using": "css selector", "value": selector });
            let found = self.try_call("POST", &session, Some(wanted))?;
            let id = found.as_object().and_then(|object| object.values().next()).and_then(Value::as_str);
            let id = id.ok_or_else(|| format!("no element: {found}"))?;
            self.try_call("POST", &format!("{session}/{id}/{action}"), Some(body.clone()))
        });
    }

    /// Clicks as a person does: on what is visible.
    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        self.act(selector, "click", &json!({}));
    }

    /// Types into a field; `\u{e007}` is Enter, `\u{e004}` Tab.
    #[track_caller]
    pub(crate) fn type_into(&self, selector: &str, text: &str) {
        self.act(selector, "value", &json!({ "text": text }));
    }

    /// Presses keys wherever the focus is.
    #[track_caller]
    pub(crate) fn press(&self, key: &str) {
        let actions = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        self.ask("POST", "/actions", Some(json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] })));
    }

    /// Waits until the text of an element satisfies a condition, and returns it.
    #[track_caller]
    pub(crate) fn wait_text(&self, selector: &str, what: &str, holds: impl Fn(&str) -> bool) -> String {
        wait_until(&format!("{selector} {what}"), SOON, || {
            let text = self.text(selector);
            if holds(&text) { Ok(text) } else { Err(text) }
        })
    }

    /// Errors and warnings in the console since the last look, violations of the page's policy among them.
    #[track_caller]
    pub(crate) fn complaints(&self) -> Vec<String> {
        let entries = self.ask("POST", "/se/log", Some(json!({ "type": "browser" })));
        let of_note = |entry: &&Value| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING"));
        entries.as_array().into_iter().flatten().filter(of_note).map(|entry| entry["message"].to_string()).collect()
    }

    /// A command of the DevTools protocol.
    #[track_caller]
    pub(crate) fn devtools(&self, command: &str, params: Value) -> Value {
        self.ask("POST", "/goog/cdp/execute", Some(json!({ "cmd": command, "params": params })))
    }

    /// Light or dark.
    pub(crate) fn prefer(&self, scheme: &str) {
        let feature = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", feature);
    }

    /// As on a screen of this size, at this many pixels a point.
    pub(crate) fn resize(&self, width: u32, height: u32, scale: f64) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 500 });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// Writes what is seen to a PNG.
    pub(crate) fn screenshot(&self, path: &Path) {
        let image = self.devtools("Page.captureScreenshot", json!({ "format": "png", "optimizeForSpeed": false }));
        let bytes = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            image["data"].as_str().expect("an image"),
        );
        fs::write(path, bytes.expect("base64")).expect("a file");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver takes the browser down with the session; killed, it would leave it behind.
        if !self.session.is_empty() && !thread::panicking() {
            self.ask("DELETE", "", None);
        } else if !self.session.is_empty() {
            let at = format!("127.0.0.1:{}", self.port);
            let path = format!("/session/{}", self.session);
            let _ = super::http::try_request(&at, "DELETE", &path, &[("Host", &at)], b"", Duration::from_secs(10));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The port that the driver says it listens on.
fn port_of(driver: &mut Child) -> u16 {
    let stdout = driver.stdout.take().expect("a pipe");
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        // Read to its end, or the driver would stop for a full pipe.
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(port) = line
                .rsplit("on port ")
                .next()
                .and_then(|text| text.trim_end_matches('.').parse::<u16>().ok())
                .filter(|port| *port > 0)
            {
                let _ = tell.send(port);
            }
        }
    });
    told.recv_timeout(SOON).expect("chromedriver says its port")
}

/// `$variable`, else the first of these on PATH; none is a loud failure, never a skipped test.
fn program(variable: &str, names: &[&str]) -> PathBuf {
    if let Some(program) = env::var_os(variable) {
        return program.into();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let found =
        names.iter().find_map(|name| env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file()));
    found.unwrap_or_else(|| panic!("the tests need {} on PATH: run tests/run.sh, which installs it", names[0]))
}
