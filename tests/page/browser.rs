//! Debian's Chromium without a window, driven over the DevTools protocol through a pipe.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::{env, io};

use serde_json::{Value, json};
use tempfile::TempDir;

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A browser with one page. It ends with this value.
pub struct Browser {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    session: Option<String>,
    last: u64,
    /// What the page did: messages on its console, requests, loads.
    events: Vec<Value>,
    _profile: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Browser {
    /// `None`, with a word on stderr, where no browser is installed; in CI that is a failure.
    pub fn find() -> Option<Browser> {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut all = env::split_paths(&path).flat_map(|dir| NAMES.map(|name| dir.join(name)));
        let Some(found) = all.find(|path| path.is_file()) else {
            let what =
                "no Chromium: the pages were NOT tried in a browser (apt-get install chromium)";
            assert!(env::var_os("CI").is_none(), "{what}");
            // Not captured, as the output of a test that passes would be.
            let _ = writeln!(io::stderr(), "\n{what}");
            return None;
        };
        Some(Browser::start(&found))
    }

    fn start(program: &Path) -> Browser {
        let profile = tempfile::tempdir().expect("a directory for the browser");
        // The protocol is spoken over the descriptors 3 and 4. A browser that hangs is ended, so that a test
        // fails instead of waiting for it; one whose pipe is closed ends by itself.
        let mut process = Command::new("sh")
            .args(["-c", r#"exec timeout 300 "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#])
            .arg(program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage"])
            .arg("--remote-debugging-pipe")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the browser starts");
        let requests = process.stdin.take().expect("it is piped");
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut browser = Browser {
            process,
            requests,
            answers,
            session: None,
            last: 0,
            events: Vec::new(),
            _profile: profile,
        };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.ask("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Sends a command and waits for its result.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.requests.write_all(&bytes).expect("the browser listens");
        loop {
            let mut answer = self.read();
            if answer["id"] == json!(self.last) {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].take();
            }
            self.events.push(answer);
        }
    }

    fn read(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.answers.read_until(0, &mut bytes).expect("the browser answers");
        assert_eq!(bytes.pop(), Some(0), "the browser went away");
        serde_json::from_slice(&bytes).expect("the browser speaks JSON")
    }

    /// `scheme`: `light` or `dark`.
    pub fn look(&mut self, scheme: &str, width: u32) {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.ask("Emulation.setEmulatedMedia", media);
        let size = json!({
            "width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600
        });
        self.ask("Emulation.setDeviceMetricsOverride", size);
    }

    /// Loads a file. Returns the milliseconds that it took.
    pub fn open(&mut self, file: &Path) -> f64 {
        self.events.clear();
        let url = format!("file://{}", file.display());
        self.ask("Page.navigate", json!({ "url": url }));
        self.arrive();
        let took = "performance.getEntriesByType('navigation')[0].loadEventStart";
        self.evaluate(took).as_f64().expect("a number")
    }

    fn arrive(&mut self) {
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.read();
            self.events.push(event);
        }
    }

    /// The value of an expression in the page.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true });
        let mut answer = self.ask("Runtime.evaluate", params);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    pub fn text(&mut self, selector: &str) -> String {
        let expression = format!("document.querySelector({selector:?})?.innerText ?? ''");
        self.evaluate(&expression).as_str().unwrap_or_default().to_owned()
    }

    /// Presses and lets go of a key: `ArrowRight`, `v`.
    pub fn press(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.ask("Input.dispatchKeyEvent", json!({ "type": kind, "key": key }));
        }
    }

    /// Clicks at the middle of the first element that fits.
    pub fn click(&mut self, selector: &str) {
        let middle = format!(
            "(() => {{ const it = document.querySelector({selector:?}); it.scrollIntoView({{ block: \
             'center', inline: 'center', behavior: 'instant' }}); const box = it.getBoundingClientRect(); \
             return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        );
        let at = self.evaluate(&middle);
        for kind in ["mousePressed", "mouseReleased"] {
            let params = json!({
                "type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1
            });
            self.ask("Input.dispatchMouseEvent", params);
        }
    }

    /// What the page complained of, and what it asked of others, since it was opened.
    pub fn complaints(&mut self) -> Vec<String> {
        // Whatever is on its way comes before this answer.
        self.evaluate("0");
        let bad = |event: &&Value| match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" | "Log.entryAdded" => true,
            "Runtime.consoleAPICalled" => event["params"]["type"] != "log",
            "Network.requestWillBeSent" => event["params"]["type"] != "Document",
            _ => false,
        };
        self.events.iter().filter(bad).map(Value::to_string).collect()
    }
}
