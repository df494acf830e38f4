//! `shakedown quirks`

use serde::Serialize;
use shakedown_cri::quirks::{Profile, Quirk, Version};

use super::output::{BOLD, DIM, Failure, Output};
use super::run::Format;
use crate::suite::ExitCode;
use crate::under_test;

const EXPLANATION: &str = "\
A quirk is one behaviour of some versions of containerd that another version, or a better one, does
not have. A profile is a set of quirks: `shakedown run --profile NAME` runs as that version.

  1.7.0-beta.3, 1.7.24, 2.1.9   the versions: quirks of the service and of the world as released
  hardened                      no quirk at all
  hardened@1.7.24               no quirk of the service, in the world of that version

The service is the code under test: the CRI plugin and the client library that it links. The world is
containerd's daemon with its shims and the runtime. An expected violation of a scenario file names the
quirk that causes it. The scenario of a quirk shows it: without the quirk its report is another.

Examples:
  shakedown quirks --format json | jq '.quirks[] | select(.breaks | index(\"I6\")) | .id'
  shakedown run scenarios/nri --profile 1.7.24,2.1.9";

/// Lists the named differences between versions, and who has them.
#[derive(clap::Args)]
#[command(after_help = EXPLANATION)]
pub struct Args {
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// A profile as it is listed.
#[derive(Serialize)]
struct ProfileRow {
    profile: &'static str,
    what: &'static str,
    quirks: Vec<&'static str>,
}

/// A quirk as it is listed.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    id: &'static str,
    part: &'static str,
    what: &'static str,
    /// The profiles of versions that have it.
    versions: Vec<&'static str>,
    /// The first release that has it; null: from the beginning.
    since: Option<String>,
    /// The releases that lost it.
    fixed: Vec<String>,
    known_by: &'static str,
    breaks: &'static [&'static str],
    scenario: &'static str,
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    let profiles = under_test::profiles().map(|profile| ProfileRow {
        profile: profile.name,
        what: profile.what,
        quirks: profile.quirks.iter().map(Quirk::id).collect(),
    });
    let profiles: Vec<ProfileRow> = profiles.collect();
    let rows: Vec<Row> = Quirk::ALL.iter().map(|quirk| row(*quirk)).collect();
    match args.format {
        Format::Json => {
            output.line(format_args!("{{\"shakedown-quirks\":1,\"profiles\":["))?;
            list(&profiles, output)?;
            output.line(format_args!("],\"quirks\":["))?;
            list(&rows, output)?;
            output.line(format_args!("]}}"))?;
        }
        Format::Text => text(&profiles, &rows, output)?,
    }
    Ok(ExitCode::Passed)
}

fn list<T: Serialize>(rows: &[T], output: &mut Output) -> Result<(), Failure> {
    for (i, row) in rows.iter().enumerate() {
        let row = serde_json::to_string(row).expect("a row holds only texts and lists");
        let comma = if i + 1 < rows.len() { "," } else { "" };
        output.line(format_args!("{row}{comma}"))?;
    }
    Ok(())
}

fn row(quirk: Quirk) -> Row {
    let versions = Profile::ALL.iter().filter(|profile| profile.quirks.has(quirk));
    Row {
        id: quirk.id(),
        part: quirk.part().name(),
        what: quirk.what(),
        versions: versions.map(|profile| profile.name).collect(),
        since: quirk.since().map(|version| version.to_string()),
        fixed: quirk.fixed().iter().map(Version::to_string).collect(),
        known_by: quirk.known_by(),
        breaks: quirk.breaks(),
        scenario: quirk.scenario(),
    }
}

fn text(profiles: &[ProfileRow], rows: &[Row], output: &mut Output) -> Result<(), Failure> {
    output.line(format_args!("{BOLD}profiles{BOLD:#}"))?;
    for ProfileRow { profile, what, quirks } in profiles {
        let count = quirks.len();
        output.line(format_args!("  {profile:22}{count:3} quirks  {what}"))?;
    }
    for part in ["service", "world"] {
        output.line(format_args!("\n{BOLD}quirks of the {part}{BOLD:#}"))?;
        for row in rows.iter().filter(|row| row.part == part) {
            let breaks = if row.breaks.is_empty() {
                "breaks nothing by itself".to_owned()
            } else {
                format!("breaks {}", row.breaks.join(" "))
            };
            output.line(format_args!("  {BOLD}{}{BOLD:#}  {breaks}", row.id))?;
            output.line(format_args!("    {}", row.what))?;
            let mut versions = row.versions.join(", ");
            if let Some(since) = &row.since {
                versions = format!("{versions}; since {since}");
            }
            if !row.fixed.is_empty() {
                versions = format!("{versions}; fixed in {}", row.fixed.join(" and "));
            }
            output.line(format_args!("    {DIM}versions{DIM:#}  {versions}"))?;
            output.line(format_args!("    {DIM}known by{DIM:#}  {}", row.known_by))?;
            output.line(format_args!("    {DIM}scenario{DIM:#}  {}", row.scenario))?;
        }
    }
    Ok(())
}
