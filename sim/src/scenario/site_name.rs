//! The grammar of names of sites and moments.
//!
//! ```text
//! moment    = site [ "." stage ] / actor "." ( "begin" / "cancel" / "done" )
//! stage     = "effect" / "reply" / "abandon"
//! site      = actor 1*( "/" step )
//! step      = operation [ "(" subject ")" ] "#" number
//! actor     = [ "boot" number ":" ] word [ "(" subject ")" ]
//! operation = word *( "." word )
//! word      = lower-case letter, then lower-case letters, digits, "-", "_"
//! subject   = any text whose parentheses balance
//! ```
//!
//! Whether a site exists is known only when a run reaches it.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// One of the moments of a port call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It happened in the world.
    Effect,
    /// The caller heard of it.
    Reply,
    /// The caller gave up on it.
    Abandon,
}

impl Stage {
    pub const ALL: [Stage; 3] = [Stage::Effect, Stage::Reply, Stage::Abandon];

    pub const fn name(self) -> &'static str {
        match self {
            Stage::Effect => "effect",
            Stage::Reply => "reply",
            Stage::Abandon => "abandon",
        }
    }
}

/// Who acts: a call (`start-1`), a background task (`exit-monitor(web)`), a part of the world
/// (`process(web)`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor {
    /// The daemon's boot, from 2 on; `None` for the first.
    pub boot: Option<u32>,
    pub role: String,
    pub subject: Option<String>,
}

/// One operation of a site, the n-th of its actor (or outer call) with that subject, from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Step {
    pub operation: String,
    pub subject: Option<String>,
    pub number: u32,
}

/// A place where something is decided: a call of an actor, and inner calls of it. `steps` is never
/// empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteName {
    pub actor: Actor,
    pub steps: Vec<Step>,
}

/// A moment of a site (its only one if there is no stage), or a moment of a call's client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MomentName {
    At { site: SiteName, stage: Option<Stage> },
    Client { actor: Actor, event: ClientEvent },
}

/// What a call's client does or sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientEvent {
    /// The call reaches the service.
    Begin,
    Cancel,
    /// The service answers.
    Done,
}

impl ClientEvent {
    pub const ALL: [ClientEvent; 3] = [ClientEvent::Begin, ClientEvent::Cancel, ClientEvent::Done];

    pub const fn name(self) -> &'static str {
        match self {
            ClientEvent::Begin => "begin",
            ClientEvent::Cancel => "cancel",
            ClientEvent::Done => "done",
        }
    }
}

impl MomentName {
    pub fn actor(&self) -> &Actor {
        match self {
            MomentName::At { site, .. } => &site.actor,
            MomentName::Client { actor, .. } => actor,
        }
    }
}

/// What is wrong with a name, and which bytes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteNameError {
    pub range: Range<usize>,
    pub kind: SiteNameErrorKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SiteNameErrorKind {
    /// An actor, operation or word must begin here.
    ExpectedWord,
    UnbalancedSubject,
    EmptySubject,
    /// `#1` or the like is missing.
    MissingNumber,
    BadNumber,
    /// No `/operation#n` and no `.done`.
    NoOperation,
    /// The text after the last dot is no stage.
    UnknownStage(String),
    /// A site was wanted, but the name has a stage or is the end of a call.
    NotASite,
    Trailing,
}

impl fmt::Display for SiteNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            SiteNameErrorKind::ExpectedWord => {
                f.write_str("expected a word of lower-case letters, digits and `-` here")
            }
            SiteNameErrorKind::UnbalancedSubject => f.write_str("the parentheses do not balance"),
            SiteNameErrorKind::EmptySubject => f.write_str("the subject in parentheses is empty"),
            SiteNameErrorKind::MissingNumber => {
                f.write_str("the operation has no number; the first one is `#1`")
            }
            SiteNameErrorKind::BadNumber => {
                f.write_str("the number must be between 1 and 4294967295, without leading zeros")
            }
            SiteNameErrorKind::NoOperation => f.write_str(
                "expected `/OPERATION(SUBJECT)#N` after the actor, or `.done` after a call's name",
            ),
            SiteNameErrorKind::UnknownStage(stage) => write!(f, "unknown moment `.{stage}`"),
            SiteNameErrorKind::NotASite => {
                f.write_str("a site is wanted here, not one of its moments")
            }
            SiteNameErrorKind::Trailing => f.write_str("nothing more may follow here"),
        }
    }
}

impl std::error::Error for SiteNameError {}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.rest().starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    /// An error on the character at the cursor.
    fn error(&self, kind: SiteNameErrorKind) -> SiteNameError {
        let length = self.rest().chars().next().map_or(0, char::len_utf8);
        SiteNameError { range: self.at..self.at + length, kind }
    }

    fn word(&mut self) -> Result<&'a str, SiteNameError> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c)))
            .unwrap_or(rest.len());
        if !rest.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Err(self.error(SiteNameErrorKind::ExpectedWord));
        }
        self.at += end;
        Ok(&rest[..end])
    }

    fn number(&mut self) -> Result<u32, SiteNameError> {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number = rest[..end].parse().ok().filter(|n| *n > 0 && !rest.starts_with('0'));
        match number {
            Some(number) => {
                self.at += end;
                Ok(number)
            }
            None => Err(SiteNameError {
                range: self.at..self.at + end,
                kind: SiteNameErrorKind::BadNumber,
            }),
        }
    }

    fn subject(&mut self) -> Result<Option<String>, SiteNameError> {
        let open = self.at;
        if !self.eat('(') {
            return Ok(None);
        }
        let mut depth = 1u32;
        for (offset, c) in self.rest().char_indices() {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let subject = &self.rest()[..offset];
                self.at += offset + 1;
                if subject.is_empty() {
                    let range = open..self.at;
                    return Err(SiteNameError { range, kind: SiteNameErrorKind::EmptySubject });
                }
                return Ok(Some(subject.to_owned()));
            }
        }
        let range = open..self.text.len();
        Err(SiteNameError { range, kind: SiteNameErrorKind::UnbalancedSubject })
    }

    fn actor(&mut self) -> Result<Actor, SiteNameError> {
        let mut boot = None;
        if let Some((head, _)) = self.rest().split_once(':')
            && let Some(digits) = head.strip_prefix("boot")
            && digits.bytes().all(|b| b.is_ascii_digit())
        {
            self.at += "boot".len();
            boot = Some(self.number()?);
            self.eat(':');
        }
        let role = self.word()?.to_owned();
        let subject = self.subject()?;
        Ok(Actor { boot, role, subject })
    }

    fn step(&mut self) -> Result<Step, SiteNameError> {
        let start = self.at;
        self.word()?;
        while self.eat('.') {
            self.word()?;
        }
        let operation = self.text[start..self.at].to_owned();
        let subject = self.subject()?;
        if !self.eat('#') {
            let range = start..self.at;
            return Err(SiteNameError { range, kind: SiteNameErrorKind::MissingNumber });
        }
        let number = self.number()?;
        Ok(Step { operation, subject, number })
    }

    fn moment(&mut self) -> Result<MomentName, SiteNameError> {
        let actor = self.actor()?;
        let after_actor = self.at;
        let mut steps = Vec::new();
        while self.eat('/') {
            steps.push(self.step()?);
        }
        let before_stage = self.at;
        let stage = if self.eat('.') {
            let start = self.at;
            let word = self.word()?;
            match Stage::ALL.into_iter().find(|stage| stage.name() == word) {
                Some(stage) if !steps.is_empty() => Some(stage),
                _ if steps.is_empty() => {
                    let known = ClientEvent::ALL.into_iter().find(|event| event.name() == word);
                    if let Some(event) = known {
                        self.end()?;
                        return Ok(MomentName::Client { actor, event });
                    }
                    let range = before_stage..self.at;
                    return Err(SiteNameError { range, kind: SiteNameErrorKind::NoOperation });
                }
                _ => {
                    let kind = SiteNameErrorKind::UnknownStage(word.to_owned());
                    return Err(SiteNameError { range: start..self.at, kind });
                }
            }
        } else {
            None
        };
        if steps.is_empty() {
            self.at = after_actor;
            return Err(SiteNameError {
                range: after_actor..self.text.len(),
                kind: SiteNameErrorKind::NoOperation,
            });
        }
        self.end()?;
        Ok(MomentName::At { site: SiteName { actor, steps }, stage })
    }

    fn end(&self) -> Result<(), SiteNameError> {
        if self.rest().is_empty() {
            return Ok(());
        }
        let range = self.at..self.text.len();
        Err(SiteNameError { range, kind: SiteNameErrorKind::Trailing })
    }
}

impl FromStr for MomentName {
    type Err = SiteNameError;

    fn from_str(text: &str) -> Result<Self, SiteNameError> {
        Cursor { text, at: 0 }.moment()
    }
}

impl FromStr for SiteName {
    type Err = SiteNameError;

    fn from_str(text: &str) -> Result<Self, SiteNameError> {
        let not_a_site = |start| {
            Err(SiteNameError { range: start..text.len(), kind: SiteNameErrorKind::NotASite })
        };
        match text.parse()? {
            MomentName::At { site, stage: None } => Ok(site),
            MomentName::At { stage: Some(stage), .. } => {
                not_a_site(text.len() - stage.name().len() - 1)
            }
            MomentName::Client { event, .. } => not_a_site(text.len() - event.name().len() - 1),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(boot) = self.boot {
            write!(f, "boot{boot}:")?;
        }
        f.write_str(&self.role)?;
        match &self.subject {
            Some(subject) => write!(f, "({subject})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.operation)?;
        if let Some(subject) = &self.subject {
            write!(f, "({subject})")?;
        }
        write!(f, "#{}", self.number)
    }
}

impl fmt::Display for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.actor.fmt(f)?;
        self.steps.iter().try_for_each(|step| write!(f, "/{step}"))
    }
}

impl fmt::Display for MomentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MomentName::At { site, stage: None } => site.fmt(f),
            MomentName::At { site, stage: Some(stage) } => write!(f, "{site}.{}", stage.name()),
            MomentName::Client { actor, event } => write!(f, "{actor}.{}", event.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_as_written() {
        for text in [
            "start-1/task.create(web)#1.reply",
            "start-1/task.create(web)#1/shim.connect#1.effect",
            "start-1/lock(status(web))#2",
            "boot2:exit-monitor(web)/task.delete(web)#1.abandon",
            "remove-1.done",
            "start-1.begin",
            "start-1/nri.post_start(web,audit)#1.reply",
            "log-stdout(web)/fs.write(/var/log/pods/a/web.log)#12",
        ] {
            assert_eq!(text.parse::<MomentName>().unwrap().to_string(), text);
        }
        let site: SiteName = "start-1/nri.start#1".parse().unwrap();
        assert_eq!(site.steps[0].operation, "nri.start");
    }

    #[test]
    fn wrong_names_are_pointed_at() {
        for (text, wrong, message) in [
            ("", "", "expected a word of lower-case letters, digits and `-` here"),
            (
                "start-1",
                "",
                "expected `/OPERATION(SUBJECT)#N` after the actor, or `.done` after a call's name",
            ),
            (
                "start-1/task.create(web)",
                "task.create(web)",
                "the operation has no number; the first one is `#1`",
            ),
            ("start-1/task.create(web#1", "(web#1", "the parentheses do not balance"),
            ("start-1/task.create()#1", "()", "the subject in parentheses is empty"),
            (
                "start-1/task.create(web)#0",
                "0",
                "the number must be between 1 and 4294967295, without leading zeros",
            ),
            (
                "start-1/task.create(web)#99999999999",
                "99999999999",
                "the number must be between 1 and 4294967295, without leading zeros",
            ),
            ("start-1/task.create(web)#1.answer", "answer", "unknown moment `.answer`"),
            ("start-1/task.create(web)#1.reply.x", ".x", "nothing more may follow here"),
            (
                "Start/task.create#1",
                "S",
                "expected a word of lower-case letters, digits and `-` here",
            ),
            ("start-1//x#1", "/", "expected a word of lower-case letters, digits and `-` here"),
        ] {
            let error = text.parse::<MomentName>().unwrap_err();
            assert_eq!(&text[error.range.clone()], wrong, "{text}");
            assert_eq!(error.to_string(), message, "{text}");
        }
        let error = "a/b#1.reply".parse::<SiteName>().unwrap_err();
        assert_eq!(error.kind, SiteNameErrorKind::NotASite);
        assert_eq!(error.range, 5..11);
    }
}
