//! Which files, cases and profiles a command is about.

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use shakedown_cri::quirks::Profile;

use super::output::{Failure, show_problems};
use crate::explore::Broken;
use crate::invariants::{Id, Ids};
use crate::report::{Entry, Problem, plain};
use crate::scenario::{INVARIANTS, nearest};
use crate::suite::{
    Cases, CollectError, ExitCode, Found, LoadError, RunFailure, Runner, Source, collect,
    take_same_names,
};
use crate::under_test;

/// Accepts the names of the profiles.
pub fn profile_parser() -> PossibleValuesParser {
    let shown = under_test::profiles().map(|profile| PossibleValue::new(profile.name));
    let hidden = Profile::planted().map(|profile| PossibleValue::new(profile.name).hide(true));
    PossibleValuesParser::new(shown.chain(hidden))
}

/// Accepts the names of the invariants.
pub fn invariant_parser() -> impl TypedValueParser<Value = Id> {
    let numbered = |name: &str| INVARIANTS.iter().zip(1..).find(|(known, _)| **known == name);
    PossibleValuesParser::new(INVARIANTS)
        .map(move |name| Id(numbered(&name).expect("the parser accepts no other").1))
}

/// Accepts what a search or a run can find broken: an invariant, or `panic` or `budget`.
pub fn broken_parser() -> impl TypedValueParser<Value = Broken> {
    let names = INVARIANTS.iter().copied().chain(["panic", "budget"]);
    PossibleValuesParser::new(names)
        .map(|name| Broken::parse(&name).expect("the parser accepts no other"))
}

/// All invariants but these.
pub fn all_but(without: &[Id]) -> Ids {
    without.iter().fold(Ids::ALL, |ids, id| ids.without(*id))
}

/// Scenario files that a search starts from, and what to search them as.
#[derive(clap::Args)]
pub struct Drivers {
    /// Scenario files, and directories of them.
    #[arg(default_value = "scenarios/drivers")]
    pub paths: Vec<PathBuf>,
    /// Which versions to search, one after the other, separated by commas.
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_value = under_test::default_searched().name,
          value_parser = profile_parser())]
    pub profile: Vec<String>,
}

/// Scenario files, and what of them to run as what.
#[derive(clap::Args)]
pub struct Corpus {
    /// Scenario files, and directories of them.
    #[arg(default_value = "scenarios", hide_default_value = true)]
    pub paths: Vec<PathBuf>,
    /// Which versions to run as, separated by commas.
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_value = under_test::default_profile().name,
          value_parser = profile_parser())]
    pub profile: Vec<String>,
    /// Only the case of this name, all cases of the scenario of this name, or those that fit a
    /// pattern: `*` stands for any text, `?` for one character.
    #[arg(long, value_name = "NAME")]
    pub case: Option<String>,
    /// Only scenarios with this tag; of several, any.
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
}

impl Corpus {
    /// The files that are meant, all of which are scenarios.
    ///
    /// # Errors
    /// As [`load`], and when no file has one of the tags.
    pub fn sources(&self) -> Result<Vec<Source>, Failure> {
        with_tags(load(&self.paths)?, &self.tag)
    }

    /// The files that are meant, of which some may be wrong: what they say of tags is not known.
    ///
    /// # Errors
    /// As [`read`], and when no scenario has one of the tags.
    pub fn read(&self) -> Result<Loaded, Failure> {
        let Loaded { sources, wrong } = read(&self.paths)?;
        let sources = if sources.is_empty() { sources } else { with_tags(sources, &self.tag)? };
        Ok(Loaded { sources, wrong })
    }

    pub fn profiles(&self) -> Vec<&'static Profile> {
        profiles(&self.profile)
    }

    /// The cases that are meant, as [`select`].
    ///
    /// # Errors
    /// As [`select`].
    pub fn select<'s>(
        &self,
        runner: &Runner,
        sources: &'s [Source],
    ) -> Result<Vec<Vec<Selection<'s>>>, Failure> {
        select(runner, sources, &self.profiles(), self.case.as_deref())
    }
}

/// The profiles behind names that the parser accepted, each once.
pub fn profiles(names: &[String]) -> Vec<&'static Profile> {
    let mut profiles: Vec<&'static Profile> = Vec::new();
    for profile in names.iter().filter_map(|name| under_test::find(name)) {
        if !profiles.contains(&profile) {
            profiles.push(profile);
        }
    }
    profiles
}

/// The scenario files behind paths: at least one.
///
/// # Errors
/// When a path cannot be read, or there is no file.
pub fn found(paths: &[PathBuf]) -> Result<Vec<Found>, Failure> {
    let found = collect(paths).map_err(|error| {
        let missing = matches!(&error, CollectError::Io { error, path }
            if error.kind() == std::io::ErrorKind::NotFound && path.as_os_str() == "scenarios");
        if missing {
            let hint = "name scenario files or directories, or run where `scenarios/` is";
            Failure::new(ExitCode::Io, format!("{error}\n{hint}"))
        } else {
            error.into()
        }
    })?;
    if found.is_empty() {
        let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        let message = format!("no scenario file (*.toml) in {}", paths.join(", "));
        return Err(Failure::new(ExitCode::Usage, message));
    }
    Ok(found)
}

/// Reads the scenario files behind paths.
///
/// # Errors
/// When a path cannot be read, or there is no file.
pub fn read(paths: &[PathBuf]) -> Result<Loaded, Failure> {
    let mut loaded = Loaded { sources: Vec::new(), wrong: Vec::new() };
    for file in &found(paths)? {
        let path = file.path.to_string_lossy();
        match Source::read(file) {
            Ok(source) => loaded.sources.push(source),
            Err(LoadError::Wrong { text, diagnostics }) => {
                loaded.wrong.push(Entry::malformed(&file.label, &path, &text, &diagnostics));
            }
            Err(error) => {
                let problem = Problem::new("io", ExitCode::Io, error.to_string());
                let problems = vec![problem.of_file(&path)];
                loaded.wrong.push(Entry::of_file(&file.label, &path, "", problems));
            }
        }
    }
    for (source, first) in take_same_names(&mut loaded.sources) {
        let Source { file, label, text, scenario } = &source;
        let name = &scenario.name;
        let message = format!("two files make the scenario `{name}`: {first} and {file}");
        let problem = Problem::new("malformed", ExitCode::Data, message);
        let problem = Problem { help: Some("rename one of them".to_owned()), ..problem };
        loaded.wrong.push(Entry::of_file(label, file, text, vec![problem.of_file(file)]));
    }
    Ok(loaded)
}

/// Reads the scenario files behind paths. What is wrong with any of them goes to stderr.
///
/// # Errors
/// As [`read`], and when a file is wrong.
pub fn load(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let Loaded { sources, wrong } = read(paths)?;
    refuse_wrong(wrong, "; nothing was run")?;
    Ok(sources)
}

#[expect(clippy::disallowed_methods, reason = "scenario files are real files")]
fn is_directory(path: &Path) -> bool {
    path.is_dir()
}

/// Reads the one scenario file that a command is about.
///
/// # Errors
/// As [`load`], and when it is a directory.
pub fn load_one(file: &PathBuf) -> Result<Vec<Source>, Failure> {
    if !is_directory(file) {
        return load(std::slice::from_ref(file));
    }
    let path = plain(&file.to_string_lossy());
    let mut message = format!("{path} is a directory, and this command takes one file");
    let files = found(std::slice::from_ref(file)).unwrap_or_default();
    if !files.is_empty() {
        message.push_str(", such as");
    }
    for file in files.iter().take(NAMED_MAX) {
        message.push_str(&format!("\n  {}", file.path.display()));
    }
    Err(Failure::new(ExitCode::Usage, message))
}

/// Tells on stderr what is wrong with files, if any are; then `and_so`.
///
/// # Errors
/// When there are any.
pub fn refuse_wrong(wrong: Vec<Entry>, and_so: &str) -> Result<(), Failure> {
    let message = match wrong.len() {
        0 => return Ok(()),
        1 => format!("a scenario file is wrong{and_so}"),
        n => format!("{n} scenario files are wrong{and_so}"),
    };
    wrong.iter().for_each(show_problems);
    let code = wrong.iter().map(Entry::exit_code).max().unwrap_or(ExitCode::Data);
    Err(Failure::new(code, message).because_of(wrong))
}

/// Only the sources that have one of the tags; all if no tag is given.
///
/// # Errors
/// When none is left.
fn with_tags(sources: Vec<Source>, tags: &[String]) -> Result<Vec<Source>, Failure> {
    if tags.is_empty() {
        return Ok(sources);
    }
    let known: Vec<String> = sources.iter().flat_map(|s| s.scenario.tags.clone()).collect();
    let has_one = |source: &Source| source.scenario.tags.iter().any(|tag| tags.contains(tag));
    let left: Vec<Source> = sources.into_iter().filter(has_one).collect();
    if left.is_empty() {
        let wanted = tags.join("`, `");
        let near = nearest(&tags[0], known.iter().map(String::as_str));
        let near = near.map_or_else(String::new, |tag| format!("; did you mean `{tag}`?"));
        let message = format!("no scenario has the tag `{wanted}`{near}");
        return Err(Failure::new(ExitCode::Usage, message));
    }
    Ok(left)
}

/// Scenario files that were read.
pub struct Loaded {
    pub sources: Vec<Source>,
    /// Those that make no cases, with what is wrong.
    pub wrong: Vec<Entry>,
}

/// The cases of one file under one profile that a command is about.
pub struct Selection<'s> {
    pub cases: Cases<'s>,
    /// In order.
    pub indices: Vec<usize>,
    /// The whole file was asked for, not some of its cases.
    pub whole: bool,
}

/// As [`pick`], where all files have to be right.
///
/// # Errors
/// When a file cannot be expanded or run, or no case is left.
pub fn select<'s>(
    runner: &Runner,
    sources: &'s [Source],
    profiles: &[&'static Profile],
    pattern: Option<&str>,
) -> Result<Vec<Vec<Selection<'s>>>, Failure> {
    let Picked { selected, wrong, unmatched } = pick(runner, sources, profiles, pattern);
    refuse_wrong(wrong, "; nothing was run")?;
    unmatched.map_or(Ok(selected), Err)
}

/// What is left of sources once cases were picked.
pub struct Picked<'s> {
    /// For each source one selection per profile, in their order; sources of which no case is picked
    /// are left out.
    pub selected: Vec<Vec<Selection<'s>>>,
    /// The files that cannot be expanded, with what is wrong.
    pub wrong: Vec<Entry>,
    /// There are cases, and none is picked.
    pub unmatched: Option<Failure>,
}

/// Expands the sources in each profile and picks cases: by their name, the scenario's name, or a
/// pattern with `*` and `?`.
pub fn pick<'s>(
    runner: &Runner,
    sources: &'s [Source],
    profiles: &[&'static Profile],
    pattern: Option<&str>,
) -> Picked<'s> {
    let mut selected = Vec::new();
    let mut names = Vec::new();
    let mut wrong = Vec::new();
    for source in sources {
        let mut of_source = Vec::new();
        let mut diagnostics = Vec::new();
        let mut problems = Vec::new();
        for profile in profiles {
            match runner.cases(source, profile) {
                Ok(cases) => {
                    let indices: Vec<usize> = (0..cases.len())
                        .filter(|i| {
                            pattern.is_none_or(|p| {
                                p == source.scenario.name || matches(p, &cases.name(*i))
                            })
                        })
                        .collect();
                    diagnostics.extend(cases.diagnose(&indices));
                    if pattern.is_some() && names.len() < NAMES_MAX {
                        names.extend((0..cases.len()).map(|i| cases.name(i)));
                    }
                    let whole = pattern.is_none_or(|p| p == source.scenario.name);
                    of_source.push(Selection { cases, indices, whole });
                }
                Err(RunFailure::Wrong(found)) => diagnostics.extend(found),
                Err(RunFailure::Broken(what)) => {
                    let message = format!("the harness broke: {what}");
                    let problem = Problem::new("harness", ExitCode::Software, message);
                    problems.push(problem.of_file(&source.file));
                }
            }
        }
        let mut seen: Vec<_> = Vec::new();
        diagnostics.retain(|d| {
            let is_new = !seen.contains(&(d.span.clone(), d.message.clone()));
            seen.push((d.span.clone(), d.message.clone()));
            is_new
        });
        problems.extend(diagnostics.iter().map(Problem::malformed));
        if !problems.is_empty() {
            let Source { label, file, text, .. } = source;
            wrong.push(Entry::of_file(label, file, text, problems));
            continue;
        }
        let is_about =
            |s: &Selection<'_>| !s.indices.is_empty() || s.whole && !s.cases.stale.is_empty();
        if of_source.iter().any(is_about) {
            selected.push(of_source);
        }
    }
    let is_unmatched = selected.is_empty() && wrong.len() < sources.len();
    let unmatched = pattern.filter(|_| is_unmatched).map(|pattern| {
        let mut message = format!("no case matches `{pattern}`");
        let near = nearest_names(pattern, &names);
        if !near.is_empty() {
            message.push_str("; near to it are");
        }
        near.iter().for_each(|name| message.push_str(&format!("\n  {name}")));
        Failure::new(ExitCode::Usage, message)
    });
    Picked { selected, wrong, unmatched }
}

/// The names that a pattern that fits none may have meant, the nearest first: of its scenario if there is
/// such a one, else those that are spelt much like it.
fn nearest_names<'n>(pattern: &str, names: &'n [String]) -> Vec<&'n str> {
    let scenario = |name: &'n str| name.split('[').next().unwrap_or_default();
    let wanted = pattern.split('[').next().unwrap_or_default();
    let known = || names.iter().map(|name| scenario(name));
    let near = nearest(wanted, known()).filter(|_| pattern.contains('['));
    let near = near.or_else(|| nearest(pattern, names.iter().map(String::as_str)).map(scenario));
    let of_scenario = names.iter().filter(|name| Some(scenario(name)) == near);
    let mut of_scenario: Vec<&str> = of_scenario.map(String::as_str).collect();
    of_scenario.sort_by_cached_key(|name| strsim::damerau_levenshtein(pattern, name));
    of_scenario.truncate(NAMED_MAX);
    of_scenario
}

/// The only case of a selection.
///
/// # Errors
/// When there are several, with the `option` that picks one.
pub fn one<'a, 's>(
    selected: &'a [Vec<Selection<'s>>],
    option: &str,
) -> Result<(&'a Cases<'s>, usize), Failure> {
    let mut all = selected.iter().flatten().flat_map(|selection| {
        selection.indices.iter().map(move |index| (&selection.cases, *index))
    });
    let (Some((cases, index)), None) = (all.next(), all.next()) else {
        let all = selected.iter().flatten();
        let stale = all.clone().flat_map(|selection| &selection.cases.stale);
        if let Some(reason) =
            stale.clone().next().filter(|_| all.clone().all(|s| s.indices.is_empty()))
        {
            return Err(Failure::new(ExitCode::Failed, reason.what.clone()));
        }
        let count: usize = all.clone().map(|selection| selection.indices.len()).sum();
        let named = all.flat_map(|s| s.indices.iter().map(|index| s.cases.name(*index)));
        let named: Vec<String> = named.take(NAMED_MAX).map(|name| format!("  {name}")).collect();
        let message = format!(
            "there are {count} cases; pick one with {option}, such as\n{}",
            named.join("\n")
        );
        return Err(Failure::new(ExitCode::Usage, message));
    };
    Ok((cases, index))
}

/// Cases that are named when there are too many.
const NAMED_MAX: usize = 5;

/// Names that a suggestion is picked from.
const NAMES_MAX: usize = 20_000;

/// Whether `name` is `pattern`, or fits it: `*` stands for any text, `?` for one character.
fn matches(pattern: &str, name: &str) -> bool {
    if pattern == name {
        return true;
    }
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on when what followed the last `*` did not fit.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((after, at)) = retry else { return false };
                retry = Some((after, at + 1));
                (p, n) = (after, at + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_stand_for_names() {
        assert!(matches("a[code=x]", "a[code=x]"));
        assert!(matches("a*", "a[code=x]"));
        assert!(matches("*=x?", "a[code=x]"));
        assert!(matches("*", ""));
        assert!(matches("a*b*c", "a-b-b-c"));
        assert!(!matches("a", "ab"));
        assert!(!matches("*b", "abc"));
        assert!(!matches("?", ""));
    }
}
