//! Pages of runs: what they hold, and what a browser makes of them.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the tests start the program and a browser, and give them real files"
)]

#[path = "page/browser.rs"]
mod browser;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use browser::Browser;
use serde_json::{Value, json};
use tempfile::TempDir;

const LOST: &str = r#"shakedown = 1
title = "The reply to the task's creation is lost"

[[world.container]]
name = "web"

[[call]]
do = "start"
container = "web"

[[fault]]
at = "start-1/task.create(web)#1"
kind = "error"
code = "unavailable"
effect = "done"
"#;

fn shakedown(directory: &Path, arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_shakedown");
    let mut command = Command::new(program);
    command.current_dir(directory).args(arguments);
    command.output().expect("the program starts")
}

/// A page of a scenario that is named `lost`, and what was printed.
fn page(text: &str) -> (TempDir, PathBuf, String) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("lost.toml"), text).unwrap();
    let output = shakedown(directory.path(), &["replay", "lost.toml", "--html", "out/lost.html"]);
    let file = directory.path().join("out/lost.html");
    assert!(file.is_file(), "{}", String::from_utf8_lossy(&output.stderr));
    (directory, file, String::from_utf8(output.stdout).unwrap())
}

/// The colours of all texts, the sizes of their letters, and whether the page is wider than the window.
const LOOKS: &str = r#"(() => {
    const rgba = (text) => {
        const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
        return { r, g, b, a };
    };
    const over = (top, below) => {
        const mix = (a, b) => a * top.a + b * (1 - top.a);
        return { r: mix(top.r, below.r), g: mix(top.g, below.g), b: mix(top.b, below.b), a: 1 };
    };
    const light = ({ r, g, b }) => {
        const part = (value) => {
            const of = value / 255;
            return of <= 0.04045 ? of / 12.92 : ((of + 0.055) / 1.055) ** 2.4;
        };
        return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    };
    const contrast = (one, other) => {
        const [a, b] = [light(one), light(other)].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05);
    };
    const behind = (element) => {
        const layers = [];
        for (let at = element; at; at = at.parentElement) {
            layers.push(rgba(getComputedStyle(at).backgroundColor));
        }
        return layers.reduceRight((below, layer) => over(layer, below), { r: 255, g: 255, b: 255, a: 1 });
    };
    const bad = new Set();
    const judge = (element, colour, ground, what) => {
        const size = parseFloat(getComputedStyle(element).fontSize);
        if (size < 12) bad.add(`${what} has letters of ${size} px`);
        const ratio = contrast(over(colour, ground), ground);
        if (ratio < 4.5) bad.add(`${what} has a contrast of ${ratio.toFixed(2)}`);
    };
    const name = (element) => `${element.tagName}.${element.getAttribute('class') ?? ''} in ${element.parentElement.tagName}.${element.parentElement.getAttribute('class') ?? ''}`;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    let texts = 0;
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        const inside = element.closest('script, style, title, [hidden]');
        if (!walker.currentNode.data.trim() || inside || !element.checkVisibility()) continue;
        texts += 1;
        const style = getComputedStyle(element);
        if (!element.closest('svg')) {
            judge(element, rgba(style.color), behind(element), name(element));
            continue;
        }
        // A label lies on its bar, on what is behind all bars, and between both.
        const grounds = [behind(element)];
        for (const rect of element.closest('a')?.querySelectorAll('rect') ?? []) {
            const fill = getComputedStyle(rect).fill;
            if (fill !== 'none') grounds.push(rgba(fill));
        }
        const ground = behind(element);
        for (const rect of document.querySelectorAll('rect.broke, rect.lane')) {
            grounds.push(over(rgba(getComputedStyle(rect).fill), ground));
        }
        for (const each of grounds) judge(element, rgba(style.fill), each, name(element));
    }
    const wide = document.documentElement.scrollWidth - innerWidth;
    return { texts, bad: [...bad], wide };
})()"#;

#[test]
fn a_browser_shows_the_moment_at_which_an_invariant_broke() {
    let (_directory, file, told) = page(LOST);
    assert_eq!(told, "FAILED: lost; its page is out/lost.html\n");
    let size = fs::metadata(&file).unwrap().len();
    assert!(size < 1_000_000, "{size} bytes");
    let Some(mut browser) = Browser::find() else { return };
    let looks = [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)];
    for (scheme, width) in looks {
        browser.look(scheme, width);
        // Once is enough: the first time the browser itself is not ready, and others use the machine.
        let took: Vec<f64> =
            (0..5).map(|_| browser.open(&file)).take_while(|t| *t >= 1000.0).collect();
        assert!(took.len() < 5, "{took:?} ms");
        at_first_sight(&mut browser);
        steps(&mut browser);
        let found = browser.evaluate(LOOKS);
        assert!(found["texts"].as_u64() > Some(500), "{found}");
        assert_eq!(found["bad"], json!([]), "{scheme}, {width} pixels");
        assert!(found["wide"].as_i64() <= Some(0), "wider than {width} by {}", found["wide"]);
        assert_eq!(browser.complaints(), [""; 0], "{scheme}, {width} pixels");
    }
}

fn at_first_sight(browser: &mut Browser) {
    assert_eq!(browser.text(".verdict"), "FAILED");
    assert_eq!(browser.text("h1"), "lost");
    let broken = browser.text(".card");
    let wanted = "I1 failed-start-leaves-nothing is violated: start-1 failed and left behind: bundle web, \
                  init web, mount web, task web created";
    assert!(broken.starts_with(wanted), "{broken}");
    assert!(broken.contains("Go to where all was quiet"), "{broken}");
    // All of it is in the window, without scrolling.
    let below = "document.querySelector('.card').getBoundingClientRect().bottom < innerHeight && scrollY === 0";
    assert_eq!(browser.evaluate(below), json!(true));
}

fn steps(browser: &mut Browser) {
    // The page begins at the first moment at which one broke: I2, with the answer.
    assert_eq!(browser.text("#state-what"), "start-1 done");
    let written = browser.evaluate("document.querySelector('#facts').innerText");
    assert!(
        browser
            .text("#notes")
            .contains("I2 broke: web is CONTAINER_EXITED, but its task is active")
    );
    let facts = browser.text("#facts");
    for wanted in [
        "web exited, exit code 128",
        "web created, pid 102",
        "web pid 102 an init that waits to run the program",
        "mount web",
        "bundle web",
    ] {
        assert!(facts.contains(wanted), "{wanted}:\n{facts}");
    }
    browser.press("Home");
    assert_eq!(browser.text("#where"), "setup, 0.000s");
    let facts = browser.text("#facts");
    assert!(facts.contains("web created") && !facts.contains("pid 102"), "{facts}");
    browser.press("ArrowRight");
    assert_eq!(browser.text("#state-what"), "start-1 begin");
    browser.press("ArrowLeft");
    browser.press("v");
    assert_eq!(browser.text("#state-what"), "start-1 done");
    // What the script shows is what the page says without it.
    assert_eq!(browser.evaluate("document.querySelector('#facts').innerText"), written);
    let current = "document.querySelectorAll('#moments > [aria-current]').length";
    assert_eq!(browser.evaluate(current), json!(1));
    // The cursor of the lanes is where their window is.
    let seen = "(() => { const [a, b] = ['#cursor', '#lanes'].map((it) => \
                document.querySelector(it).getBoundingClientRect()); return a.left >= b.left && a.right <= b.right; })()";
    assert_eq!(browser.evaluate(seen), json!(true));
    browser.press("v");
    assert_eq!(browser.text("#state-of"), "quiet");
    browser.click(".card .show");
    assert_eq!(browser.text("#state-of"), "quiet");
    browser.click(".keys .fault .go");
    let struck = browser.text("#notes");
    assert!(struck.contains("fault: start-1/task.create(web)#1: error unavailable"), "{struck}");
    browser.click("button[data-step='broken']");
    assert_eq!(browser.text("#state-what"), "start-1 done");
    browser.click("button[data-step='1']");
    assert_eq!(browser.text("#state-of"), "quiet");
    // A bar of the lanes leads to its moment.
    browser.press("Home");
    browser.click(".b.client.bad rect");
    assert_eq!(browser.text("#state-what"), "start-1 done");
    browser.evaluate("scrollTo({ top: 0, behavior: 'instant' })");
}

#[test]
fn a_page_can_be_read_without_scripts_and_on_paper() {
    let (_directory, file, _) = page(LOST);
    let Some(mut browser) = Browser::find() else { return };
    browser.look("light", 1280);
    browser.ask("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
    browser.open(&file);
    assert_eq!(browser.evaluate("document.querySelector('#bar').checkVisibility()"), json!(false));
    assert_eq!(browser.text("#state-of"), "79");
    assert!(browser.text("#facts").contains("web created, pid 102"));
    // Links lead to moments and lines.
    let dead = "[...document.querySelectorAll('a')].filter((a) => !document.querySelector(a.getAttribute('href'))).length";
    assert_eq!(browser.evaluate(dead), json!(0));
    browser.ask("Emulation.setEmulatedMedia", json!({ "media": "print" }));
    let size = json!({ "width": 718, "height": 1000, "deviceScaleFactor": 1, "mobile": false });
    browser.ask("Emulation.setDeviceMetricsOverride", size);
    // Nothing is cut off: what scrolls on a screen has its whole height, and nothing is wider than the sheet.
    let cut = "[...document.querySelectorAll('#lanes, #moments, #state')].filter((it) => \
               it.scrollHeight > it.clientHeight + 2 || it.scrollWidth > 718).map((it) => it.id)";
    assert_eq!(browser.evaluate(cut), json!([]));
    let pdf = browser.ask("Page.printToPDF", json!({ "printBackground": true }));
    assert!(pdf["data"].as_str().is_some_and(|data| data.len() > 50_000));
}

#[test]
fn what_a_scenario_says_is_text_and_nothing_else() {
    let evil = r#"</script><script>window.taken = 1</script><img src=http://localhost/x onerror='window.taken = 2'>"#;
    let text = LOST
        .replace("The reply to the task's creation is lost", &evil.replace('"', "'"))
        .replace("code = \"unavailable\"", &format!("code = \"unavailable\"\nmessage = \"{evil}\""))
        .replace("title =", "description = \"</pre></title></style>\"\ntitle =");
    let (_directory, file, _) = page(&text);
    let written = fs::read_to_string(&file).unwrap();
    assert_eq!(written.matches("<script>").count(), 1, "the page's own");
    assert!(!written.contains("<img"));
    let Some(mut browser) = Browser::find() else { return };
    browser.look("dark", 1280);
    browser.open(&file);
    assert_eq!(browser.evaluate("window.taken"), Value::Null);
    assert_eq!(browser.text(".what"), evil.replace('"', "'"));
    assert!(browser.text("#facts").contains(evil), "the status has the error's text");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_page_refers_to_nothing_outside() {
    let (_directory, file, _) = page(LOST);
    let written = fs::read_to_string(&file).unwrap();
    for attribute in ["src=", "<link", "@import", "url(", "http:", "https:"] {
        assert!(!written.contains(attribute), "{attribute}");
    }
}

/// A page without complaints that is legible in both schemes and on both widths.
fn is_legible(browser: &mut Browser, file: &Path) {
    for (scheme, width) in [("light", 1280), ("dark", 390), ("light", 390), ("dark", 1280)] {
        browser.look(scheme, width);
        browser.open(file);
        let found = browser.evaluate(LOOKS);
        assert_eq!(found["bad"], json!([]), "{scheme}, {width} pixels");
        assert!(found["wide"].as_i64() <= Some(0), "wider than {width} by {}", found["wide"]);
        assert_eq!(browser.complaints(), [""; 0], "{scheme}, {width} pixels");
    }
}

/// Files of a directory, and those of its directories.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    files.sort_unstable();
    files
}

#[test]
fn an_index_has_failures_first_and_a_page_a_scenario() {
    let directory = tempfile::tempdir().unwrap();
    let sweep = LOST
        .replace("code = \"unavailable\"", "code = \"{code}\"")
        .replace("title =", "tags = [\"sweep\"]\ntitle =")
        .replace("[[call]]", "[matrix]\ncode = [\"not-found\", \"unknown\"]\n\n[[call]]");
    let plain = LOST.split("[[fault]]").next().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("lost.toml"), LOST).unwrap();
    fs::write(path("a-plain-one.toml"), plain).unwrap();
    fs::write(path("sweep.toml"), sweep).unwrap();
    let arguments = ["run", ".", "--html", "out", "--profile", "1.7.24,hardened"];
    let told = shakedown(directory.path(), &arguments);
    assert_eq!(told.status.code(), Some(1), "{}", String::from_utf8_lossy(&told.stderr));
    let out = path("out");
    let found = files(&out);
    let found: Vec<_> =
        found.iter().map(|f| f.strip_prefix(&out).unwrap().to_str().unwrap()).collect();
    assert_eq!(
        found,
        [
            "1.7.24/a-plain-one.html",
            "1.7.24/lost.html",
            "1.7.24/sweep-code-not-found.html",
            "1.7.24/sweep-code-unknown.html",
            "hardened/a-plain-one.html",
            "hardened/lost.html",
            "hardened/sweep-code-not-found.html",
            "index.html",
        ]
    );
    let index = out.join("index.html");
    let written = fs::read_to_string(&index).unwrap();
    let at = |text: &str| written.find(text).unwrap_or_else(|| panic!("{text} in {written}"));
    assert!(at("1.7.24/lost.html") < at("1.7.24/a-plain-one.html"));
    assert!(at("I1 failed-start-leaves-nothing is violated") < at("hardened/lost.html"));
    // A file that is wrong is one of the failures.
    fs::write(path("wrong.toml"), "shakedown = 1\ntitel = \"x\"\n").unwrap();
    assert_eq!(shakedown(directory.path(), &["run", ".", "--html", "bad"]).status.code(), Some(65));
    let bad = fs::read_to_string(path("bad/index.html")).unwrap();
    assert!(bad.contains("FAILED") && bad.contains("a scenario has no key `titel`"), "{bad}");
    let Some(mut browser) = Browser::find() else { return };
    is_legible(&mut browser, &index);
    assert_eq!(browser.text("#find [role=status]"), "7 of 7");
    browser.evaluate(
        "(() => { const it = document.querySelector('#find input'); it.value = 'sweep'; \
         it.dispatchEvent(new Event('input')); })()",
    );
    assert_eq!(browser.text("#find [role=status]"), "3 of 7");
    // What a click leads to, and that it is there.
    let link = "document.querySelector('tr.entry:not([hidden]) a').href";
    let link = browser.evaluate(link).as_str().unwrap_or_default().to_owned();
    let link = link.strip_prefix("file://").expect("a file").to_owned();
    browser.open(Path::new(&link));
    assert_eq!(browser.text("h1"), "sweep[code=not-found]");
}

#[test]
fn two_runs_are_held_against_one_another() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("lost.toml"), LOST).unwrap();
    let plain = LOST.split("[[fault]]").next().unwrap();
    fs::write(directory.path().join("plain.toml"), plain).unwrap();
    let told =
        shakedown(directory.path(), &["diff", "plain.toml", "lost.toml", "--profile", "1.7.24"]);
    assert_eq!(told.status.code(), Some(1));
    let told = String::from_utf8(told.stdout).unwrap();
    // The fault is the first difference, and all before it is the same.
    let (_, rest) = told.split_once("the first difference:\n").unwrap();
    let first: Vec<&str> = rest.lines().take(2).map(str::trim).collect();
    assert!(first[0].starts_with('~'), "{first:?}");
    assert_eq!(first[1], "B fault start-1/task.create(web)#1: error unavailable, after the effect");
    for wanted in [
        "answer to start-1\n    A  ok\n    B  unavailable: failed to create containerd task: injected: unavailable\n",
        "I1 failed-start-leaves-nothing\n    A  not evaluated\n    B  start-1 failed and left behind: ",
        "I2 terminal-means-dead\n    A  holds\n    B  web is CONTAINER_EXITED, but its task is active\n",
    ] {
        assert!(told.contains(wanted), "{wanted}\n{told}");
    }
    assert!(told.lines().all(|line| !line.ends_with(' ')), "{told}");
    let same = ["diff", "lost.toml", "lost.toml"];
    let same = shakedown(directory.path(), &same);
    assert_eq!(same.status.code(), Some(0));
    assert!(String::from_utf8(same.stdout).unwrap().contains("every moment is the same, all "));
    let alone = shakedown(directory.path(), &["diff", "lost.toml"]);
    assert_eq!(alone.status.code(), Some(64));
    assert!(String::from_utf8(alone.stderr).unwrap().contains("nothing to compare with"));
    let arguments = ["diff", "plain.toml", "lost.toml", "--html", "diff.html"];
    assert_eq!(shakedown(directory.path(), &arguments).status.code(), Some(1));
    let Some(mut browser) = Browser::find() else { return };
    let page = directory.path().join("diff.html");
    is_legible(&mut browser, &page);
    assert!(browser.text("#first").contains("the first difference"));
    assert!(browser.text("#first").contains("fault start-1/task.create(web)#1"));
    // Both runs have a lane of clients, and what is the same stands at the same place in both.
    let starts = "[...document.querySelectorAll('.both a.client rect.whole')].map((r) => r.getAttribute('x'))";
    let starts = browser.evaluate(starts);
    let starts = starts.as_array().unwrap();
    assert!(starts.len() > 1, "{starts:?}");
    assert_eq!(starts[0], starts[starts.len() / 2]);
    let marks =
        "[...document.querySelectorAll('.both rect.first')].map((r) => r.getAttribute('x'))";
    let marks = browser.evaluate(marks);
    assert_eq!(marks.as_array().unwrap().len(), 2, "{marks}");
    assert_eq!(marks[0], marks[1]);
    let in_view = "(() => { const of = (e) => e.getBoundingClientRect(), both = document.querySelector('.both'); \
                   const mark = of(both.querySelector('rect.first')); \
                   return mark.left > of(both).left && mark.right < of(both).right; })()";
    assert_eq!(browser.evaluate(in_view), json!(true));
    // A bar leads to its moment among the rows.
    browser.evaluate("document.querySelector('.both a.client').dispatchEvent(new MouseEvent('click', { bubbles: true }))");
    assert!(browser.evaluate("location.hash").as_str().unwrap().starts_with("#m"));
    browser.press("n");
    let first = "document.querySelector('.pair.sel').id";
    assert_eq!(browser.evaluate(first), json!("first"));
}
