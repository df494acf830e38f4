//! `shakedown merge`

#![expect(
    clippy::disallowed_methods,
    reason = "what several processes left in files is read, and no run is under way"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::{Value, json};

use super::ledger;
use super::output::{BAD, BOLD, Failure, GOOD, Output};
use crate::report::{Certified, summary::counted};
use crate::scenario::parse;
use crate::suite::{ExitCode, Ledger};

const EXAMPLES: &str = "\
Examples:
  shakedown merge part-1.json part-2.json part-3.json     what `check --format json --shard` wrote
  shakedown merge results/                                all that is there, failures among it

Takes certificates (`check --format json`), reports (`run --format json`), ledgers (`--ledger`) and
scenario files of failures, by what is in them, and looks for them in directories. Parts of a check
become one certificate; one that is missing leaves it incomplete. Failures are grouped by
signature.";

/// Puts together what several machines found.
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", super::EXIT_CODES))]
pub struct Args {
    /// Files, and directories of them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    ledger: ledger::LedgerArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// All that was read.
#[derive(Default)]
struct Pile {
    certificates: Vec<Certified>,
    ledger: Option<Ledger>,
    /// Files by signature.
    failures: BTreeMap<String, Vec<String>>,
    /// Cases that passed and failed.
    cases: Option<(u64, u64)>,
}

#[derive(Deserialize)]
struct Certificates {
    certificates: Vec<Certified>,
}

#[derive(Deserialize)]
struct Counts {
    passed: u64,
    failed: u64,
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    let mut pile = Pile::default();
    for path in &args.paths {
        pile.add(path, true)?;
    }
    let wrong = |error| Failure::new(ExitCode::Data, error);
    pile.certificates = Certified::merge(pile.certificates).map_err(wrong)?;
    if let Some(ledger) = &pile.ledger {
        args.ledger.add(ledger)?;
    }
    match args.format {
        Format::Text => pile.tell(output)?,
        Format::Json => output.line(format_args!("{:#}", pile.document()))?,
    }
    Ok(pile.exit_code())
}

impl Pile {
    /// `named`: by the user, so that it has to be something.
    fn add(&mut self, path: &Path, named: bool) -> Result<(), Failure> {
        let io = |error: std::io::Error| {
            Failure::new(ExitCode::Io, format!("cannot read {}: {error}", path.display()))
        };
        if fs::metadata(path).map_err(io)?.is_dir() {
            let mut entries = fs::read_dir(path)
                .and_then(|entries| {
                    entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>()
                })
                .map_err(io)?;
            entries.sort();
            return entries.iter().try_for_each(|entry| self.add(entry, false));
        }
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension {
            Some("json") => self.add_document(path, &fs::read_to_string(path).map_err(io)?),
            Some("toml") => self.add_failure(path, &fs::read_to_string(path).map_err(io)?),
            _ if named => Err(none_of_ours(path, "it ends in neither .json nor .toml")),
            _ => Ok(()),
        }
    }

    fn add_document(&mut self, path: &Path, text: &str) -> Result<(), Failure> {
        let wrong = |error: serde_json::Error| none_of_ours(path, &error.to_string());
        let document: Value = serde_json::from_str(text).map_err(wrong)?;
        if document.get("shakedown-check").is_some() {
            let read: Certificates = serde_json::from_value(document).map_err(wrong)?;
            self.certificates.extend(read.certificates);
        } else if document.get("shakedown-ledger").is_some() {
            let read = Ledger::parse(text).map_err(|error| none_of_ours(path, &error))?;
            self.ledger.get_or_insert_default().merge(&read);
        } else if document.get("shakedown-run").is_some() {
            let Counts { passed, failed } = serde_json::from_value(document).map_err(wrong)?;
            let (all_passed, all_failed) = self.cases.get_or_insert_default();
            *all_passed += passed;
            *all_failed += failed;
        } else {
            let what = "expected a certificate, a report or a ledger: an object with `shakedown-check`, \
                        `shakedown-run` or `shakedown-ledger`";
            return Err(none_of_ours(path, what));
        }
        Ok(())
    }

    fn add_failure(&mut self, path: &Path, text: &str) -> Result<(), Failure> {
        let shown = path.display().to_string();
        parse(&shown, text).map_err(|wrong| {
            let first = wrong.first().map_or_else(String::new, ToString::to_string);
            none_of_ours(path, &first)
        })?;
        let mut comments = text.lines().take_while(|line| line.starts_with('#'));
        let head = comments.find_map(|line| line.strip_prefix("# "));
        let signature = head.unwrap_or("a scenario without a signature");
        self.failures.entry(signature.to_owned()).or_default().push(shown);
        Ok(())
    }

    /// The greatest of all that is wrong.
    fn exit_code(&self) -> ExitCode {
        let of_certificates = self.certificates.iter().map(Certified::exit_code);
        let failed = !self.failures.is_empty() || self.cases.is_some_and(|(_, failed)| failed > 0);
        let others = if failed { ExitCode::Failed } else { ExitCode::Passed };
        of_certificates.chain([others]).max().unwrap_or(others)
    }

    fn tell(&self, output: &mut Output) -> Result<(), Failure> {
        for certificate in &self.certificates {
            output.line(format_args!("{certificate}"))?;
        }
        if let Some((passed, failed)) = self.cases {
            let style = if failed == 0 { GOOD } else { BAD };
            output.line(format_args!("{style}{passed} passed, {failed} failed{style:#}"))?;
        }
        for (signature, files) in &self.failures {
            output.line(format_args!("{BOLD}{signature}{BOLD:#}"))?;
            for file in files {
                output.line(format_args!("      {file}"))?;
            }
        }
        if let Some(ledger) = &self.ledger {
            output.line(format_args!(
                "{} in ledgers, {} of operation, kind and effect struck",
                counted(ledger.runs, "run"),
                counted(ledger.strikes.len(), "combination")
            ))?;
            ledger::show_goals(ledger, &[], output)?;
        }
        Ok(())
    }

    fn document(&self) -> Value {
        let failures: Vec<Value> = (self.failures.iter())
            .map(|(signature, files)| json!({ "signature": signature, "files": files }))
            .collect();
        let cases =
            self.cases.map(|(passed, failed)| json!({ "passed": passed, "failed": failed }));
        json!({
            "shakedown-merge": 1,
            "certificates": self.certificates,
            "cases": cases,
            "failures": failures,
            "ledger": self.ledger,
        })
    }
}

fn none_of_ours(path: &Path, why: &str) -> Failure {
    Failure::new(ExitCode::Data, format!("{} cannot be merged: {why}", path.display()))
}
