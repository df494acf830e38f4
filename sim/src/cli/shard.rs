//! Which part of a search this process makes.

#![expect(
    clippy::disallowed_methods,
    reason = "a CI system says in the environment which part a job is"
)]

use std::env;

use super::output::Failure;
use crate::suite::ExitCode;

/// A part of a search.
#[derive(clap::Args)]
pub struct ShardArgs {
    /// Only the i-th of n parts. The parts are disjoint, and all of them are the whole. `auto/N`: the part that CI_NODE_INDEX
    /// or JOB_COMPLETION_INDEX says [default: as CI_NODE_INDEX and CI_NODE_TOTAL say, or all].
    #[arg(long, value_name = "I/N", value_parser = parse)]
    shard: Option<Shard>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shard {
    /// From 0; `None`: as the environment says.
    index: Option<usize>,
    of: usize,
}

/// `2/3`: the second of three.
fn parse(text: &str) -> Result<Shard, String> {
    let wrong = || "expected as 2/3, which part and of how many, or auto/3".to_owned();
    let (index, of) = text.split_once('/').ok_or_else(wrong)?;
    let of = of.parse().ok().filter(|of| *of > 0).ok_or_else(wrong)?;
    let index = match index {
        "auto" => None,
        index => {
            let index: usize = index.parse().map_err(|_| wrong())?;
            Some(index.checked_sub(1).filter(|index| *index < of).ok_or_else(wrong)?)
        }
    };
    Ok(Shard { index, of })
}

/// A part, from 0, of how many, and what said so if it was the environment.
pub type Part = ((usize, usize), Option<&'static str>);

impl ShardArgs {
    /// # Errors
    /// When the environment is asked and says nothing, or nonsense.
    pub fn part(&self) -> Result<Part, Failure> {
        self.part_in(|name| env::var(name).ok())
    }

    fn part_in(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Part, Failure> {
        let number = |name: &str| {
            let Some(text) = variable(name) else { return Ok(None) };
            text.parse::<usize>().map(Some).map_err(|_| {
                Failure::new(ExitCode::Usage, format!("{name} is `{text}`, which is no number"))
            })
        };
        let (gitlab, kubernetes) = ("CI_NODE_INDEX", "JOB_COMPLETION_INDEX");
        let (index, of, source) = match self.shard {
            Some(Shard { index: Some(index), of }) => return Ok(((index, of), None)),
            Some(Shard { index: None, of }) => {
                // GitLab counts from 1, Kubernetes from 0.
                if let Some(index) = number(gitlab)? {
                    (index.checked_sub(1), of, gitlab)
                } else if let Some(index) = number(kubernetes)? {
                    (Some(index), of, kubernetes)
                } else {
                    let why = format!("--shard auto/{of} needs {gitlab} or {kubernetes} to be set");
                    return Err(Failure::new(ExitCode::Usage, why));
                }
            }
            None => match (number(gitlab)?, number("CI_NODE_TOTAL")?) {
                (Some(index), Some(of)) => (index.checked_sub(1), of, gitlab),
                _ => return Ok(((0, 1), None)),
            },
        };
        match index.filter(|index| *index < of) {
            Some(index) => Ok(((index, of), Some(source))),
            None => {
                let why = format!("{source} says a part that {of} parts do not have");
                Err(Failure::new(ExitCode::Usage, why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(shard: Option<&str>, environment: &[(&str, &str)]) -> Result<Part, ()> {
        let shard = shard.map(|text| parse(text).expect("it parses"));
        let variable = |name: &str| {
            let of_name = environment.iter().find(|(known, _)| *known == name);
            of_name.map(|(_, value)| (*value).to_owned())
        };
        ShardArgs { shard }.part_in(variable).map_err(drop)
    }

    #[test]
    fn what_is_asked_for_goes_before_what_the_environment_says() {
        let gitlab = [("CI_NODE_INDEX", "4"), ("CI_NODE_TOTAL", "4")];
        assert_eq!(part(Some("2/3"), &gitlab), Ok(((1, 3), None)));
        assert_eq!(part(None, &gitlab), Ok(((3, 4), Some("CI_NODE_INDEX"))));
        assert_eq!(part(Some("auto/3"), &gitlab), Err(()));
        assert_eq!(part(None, &[]), Ok(((0, 1), None)));
    }

    #[test]
    fn kubernetes_counts_from_0_and_does_not_say_how_many() {
        let kubernetes = [("JOB_COMPLETION_INDEX", "0")];
        let first = Ok(((0, 8), Some("JOB_COMPLETION_INDEX")));
        assert_eq!(part(Some("auto/8"), &kubernetes), first);
        assert_eq!(part(None, &kubernetes), Ok(((0, 1), None)));
        assert_eq!(part(Some("auto/8"), &[]), Err(()));
    }

    #[test]
    fn a_part_is_one_of_those_that_there_are() {
        for wrong in ["0/3", "4/3", "3", "1/0", "one/3", "/", "1/x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
