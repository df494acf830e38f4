//! A failing run as a file that somebody can read, replay and keep.

use shakedown_cri::quirks::Profile;
use toml_edit::{Decor, DocumentMut, Item, Table};
use xxhash_rust::xxh3::xxh3_64;

use super::shrink::{Shrunk, Without, shrink};
use crate::engine::Engine;
use crate::explore::attempt::{Attempts, plan};
use crate::explore::symptom::{Broken, Signature, Symptom};
use crate::report::summary::counted;
use crate::run::{Options, run};
use crate::scenario::{Scenario, print};
use crate::suite::{Names, guarded};

/// What a search found, made small.
#[derive(Clone, Debug)]
pub struct Failure {
    pub profile: &'static Profile,
    pub signature: Signature,
    /// What else breaks in the same run.
    pub also: Vec<Broken>,
    pub symptom: Symptom,
    pub shrunk: Shrunk,
    /// Of the run that the file replays.
    pub digest: u128,
}

impl Failure {
    /// Makes a failing scenario small: the first of several that shows the symptom.
    ///
    /// # Errors
    /// When none shows it, or not on both engines, which the harness promises.
    pub fn new(
        attempts: &Attempts,
        scenarios: &[Scenario],
        symptom: &Symptom,
    ) -> Result<Failure, String> {
        let shows = |scenario: &&Scenario| {
            let symptoms = plan(scenario).map(|plan| attempts.symptoms(&plan).0);
            symptoms.is_some_and(|symptoms| symptoms.iter().any(|s| s.is_like(symptom)))
        };
        let Some(scenario) = scenarios.iter().find(shows) else {
            let file = scenarios.last().map(print).unwrap_or_default();
            return Err(format!("`{}` is not replayed by its decisions:\n{file}", symptom.what));
        };
        let mut shrunk = shrink(attempts, scenario, symptom);
        let signature = Signature::new(symptom.broken, &shrunk.scenario);
        shrunk.scenario.name = name(&signature, attempts.profile());
        let (digest, symptoms) = replay(attempts, &shrunk.scenario)?;
        let like = symptoms.iter().find(|s| s.is_like(symptom));
        let symptom = like.unwrap_or(symptom).clone();
        shrunk.scenario.title = title(&symptom);
        let also = symptoms.iter().map(|s| s.broken).filter(|b| *b != symptom.broken).collect();
        Ok(Failure { profile: attempts.profile(), signature, also, symptom, shrunk, digest })
    }

    /// Everything that breaks in the run, each as a signature.
    pub fn signatures(&self) -> impl Iterator<Item = Signature> {
        let also =
            self.also.iter().map(|broken| Signature { broken: *broken, ..self.signature.clone() });
        std::iter::once(self.signature.clone()).chain(also)
    }

    /// The file, with what happens without each of its lines.
    pub fn text(&self, command: &str) -> String {
        let mut page: DocumentMut =
            print(&self.shrunk.scenario).parse().expect("the printer writes TOML");
        for without in &self.shrunk.without {
            note(&mut page, without);
        }
        let also: Vec<String> = self.also.iter().map(ToString::to_string).collect();
        let also =
            if also.is_empty() { String::new() } else { format!(", and {}", also.join(" ")) };
        let minimal = if self.shrunk.is_minimal {
            "no single step makes it simpler"
        } else {
            "it may be made simpler still"
        };
        format!(
            "# {}{also}\n# {command}\n# digest {:032x}; shrunk in {}, {minimal}\n{page}",
            self.signature,
            self.digest,
            counted(self.shrunk.runs, "run")
        )
    }
}

/// The digest of a scenario's run and what is wrong with it, the same on all engines.
fn replay(attempts: &Attempts, scenario: &Scenario) -> Result<(u128, Vec<Symptom>), String> {
    let plan = plan(scenario).ok_or("the file that was found cannot be run")?;
    let bare = attempts.replay(&plan).map_err(|broken| broken.what)?;
    let names = Names::new(&plan);
    let options = Options::of(attempts.profile());
    let other = guarded(&plan.case, || run(&plan, &options))?;
    let digest = bare.digest();
    if other.digest() != digest {
        let (engine, file) = (Engine::default(), print(scenario));
        return Err(format!("{engine:?} and {:?} differ in\n{file}", Engine::Bare));
    }
    let named = |symptom: Symptom| symptom.told(|what| names.text(what));
    Ok((digest, Symptom::all(&bare).into_iter().map(named).collect()))
}

/// How long a title or a file's name gets.
const LONG: usize = 100;

fn title(symptom: &Symptom) -> String {
    let line = symptom.what.replace('\n', " ");
    if line.chars().count() <= LONG * 2 {
        return line;
    }
    line.chars().take(LONG * 2).chain(['…']).collect()
}

/// The name of the file: `i1-start-task-create-hardened`.
fn name(signature: &Signature, profile: &Profile) -> String {
    let text = format!("{signature} {}", profile.name).to_lowercase();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("-");
    if name.len() <= LONG {
        return name;
    }
    // Many signatures begin alike.
    format!("{}-{:08x}", &name[..LONG], xxh3_64(text.as_bytes()) as u32)
}

/// Puts a comment at the line that it is about, or at the head of its entry.
fn note(page: &mut DocumentMut, without: &Without) {
    let Some(table) = table(page.as_item_mut(), without.table, without.index) else { return };
    let line = without.key.filter(|key| table.get(key).is_some_and(Item::is_value));
    if let Some(mut key) = line.and_then(|key| table.key_mut(key)) {
        add_line(key.leaf_decor_mut(), &without.text);
    } else {
        add_line(table.decor_mut(), &without.text);
    }
}

/// A line of comment above, once.
fn add_line(decor: &mut Decor, text: &str) {
    let above = decor.prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
    let line = format!("# {text}\n");
    if !above.contains(&line) {
        decor.set_prefix(format!("{above}{line}"));
    }
}

fn table<'a>(mut item: &'a mut Item, path: &str, index: usize) -> Option<&'a mut Table> {
    for word in path.split('.') {
        item = item.get_mut(word)?;
    }
    match item {
        Item::ArrayOfTables(tables) => tables.get_mut(index),
        Item::Table(table) => Some(table),
        _ => None,
    }
}
