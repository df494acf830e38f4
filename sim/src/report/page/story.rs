//! What a page tells of a run: its moments as columns, and what lasted from one to another.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::invariants::Id;
use crate::report::facts::split;
use crate::run::{After, Facts, Film, Frame, Key, Part};
use crate::suite::{Names, Ran, Source, root_of};
use crate::turnstile::{Layer, Moment, Op, RecordingEntry, Site, Stage, Symbol};

/// A page has at most this many columns; of a longer run it shows the beginning, the end, and what
/// surrounds the moments at which invariants broke.
pub const COLUMNS_MAX: usize = 3000;
/// Columns kept around each of those moments, on either side.
const AROUND: usize = 150;

/// What a bar, and a moment, is drawn among.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    Clients,
    Node,
    Store,
    Service,
    Nri,
    Containerd,
    Shim,
    Files,
    Events,
    Clock,
}

impl Lane {
    pub const ALL: [Lane; 10] = [
        Lane::Clients,
        Lane::Node,
        Lane::Store,
        Lane::Service,
        Lane::Nri,
        Lane::Containerd,
        Lane::Shim,
        Lane::Files,
        Lane::Events,
        Lane::Clock,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Lane::Clients => "client calls",
            Lane::Service => "service's tasks",
            Lane::Store => "store: locks, flags, status",
            Lane::Nri => "NRI",
            Lane::Containerd => "containerd",
            Lane::Shim => "shim and processes",
            Lane::Files => "file system",
            Lane::Events => "events",
            Lane::Clock => "clock, timers",
            Lane::Node => "on the node: made, undone, left",
        }
    }

    const fn of(op: Op) -> Lane {
        match (op, op.layer()) {
            (Op::Lock, _) => Lane::Store,
            (Op::Sleep | Op::Adjust, _) => Lane::Clock,
            (Op::Rotate, _) | (_, Layer::File | Layer::Pipe) => Lane::Files,
            (_, Layer::Client) | (Op::Crash | Op::Restart | Op::Up, _) => Lane::Clients,
            (_, Layer::Metadata | Layer::Task | Layer::Daemon) => Lane::Containerd,
            (_, Layer::Shim | Layer::World) => Lane::Shim,
            (_, Layer::Nri) => Lane::Nri,
            (_, Layer::Event) => Lane::Events,
            (_, Layer::Runtime) => Lane::Service,
        }
    }
}

/// What happened beside a column's moment.
#[derive(Clone, Debug)]
pub enum Note {
    /// A fault was decided on at a site; with its line in the scenario, if it is of it.
    Fault {
        what: String,
        line: Option<usize>,
    },
    Held {
        what: String,
    },
    LetGo {
        what: String,
    },
    Log {
        what: String,
    },
}

/// A fact of the node that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub key: Key,
    pub before: Option<Rc<str>>,
    pub now: Option<Rc<str>>,
}

/// A moment, or a point between two at which the judge looked.
#[derive(Clone, Debug)]
pub struct Column {
    /// The moment's number, from 1; 0 for what is none.
    pub number: usize,
    /// So many columns before it are left out.
    pub skipped: usize,
    pub at: u64,
    pub phase: &'static str,
    pub after: After,
    pub actor: String,
    pub what: String,
    pub error: Option<String>,
    pub changes: Vec<Changed>,
    pub notes: Vec<Note>,
    pub evaluated: Vec<(Id, u64)>,
    /// Invariants that broke, and what was expected and what was there.
    pub broke: Vec<(Id, String)>,
}

impl Column {
    /// `42`, or `quiet`; nothing for a gap.
    pub fn label(&self) -> String {
        match self.after {
            After::Moment(_) if self.number == 0 => String::new(),
            After::Moment(_) => self.number.to_string(),
            other => other.to_string(),
        }
    }

    pub fn is_crash(&self) -> bool {
        self.is(Op::Crash)
    }

    fn is(&self, op: Op) -> bool {
        matches!(self.after, After::Moment(moment) if moment.site.op == op)
    }
}

/// How a bar ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Reply,
    /// The caller went on without the reply.
    Abandon,
    /// It never ended.
    Open,
}

/// What a bar stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A port call, from request over effect to reply.
    Call,
    /// One moment without a length.
    Dot,
    /// A client's call.
    Client,
    /// What a start does after what failed it.
    Rollback,
    /// A lock that somebody waits for and has.
    Lock,
    /// A flag of the service.
    Claim,
    /// A container's status in memory, and on disk.
    Memory,
    Disk,
    /// A background task of the service.
    Task,
    /// Something on the node that was not there all the time.
    Thing,
    /// A file, or a descriptor of one.
    File,
    /// A moment that was set aside.
    Held,
    /// There is no daemon.
    Down,
}

/// Something that lasted, in columns.
#[derive(Clone, Debug)]
pub struct Bar {
    pub lane: Lane,
    pub kind: Kind,
    /// What is written on it.
    pub label: String,
    /// All that is known of it.
    pub title: String,
    pub from: usize,
    /// Of a call, when it took effect; of a lock, when it was taken.
    pub effect: Option<usize>,
    pub to: usize,
    pub end: End,
    pub failed: bool,
    /// A fault struck it.
    pub struck: bool,
    /// How many calls it is inside of.
    pub depth: usize,
    /// The column that it leads to.
    pub main: usize,
}

/// A start that failed, and what it undid.
#[derive(Clone, Debug)]
pub struct Rollback {
    pub call: String,
    /// The column of the error that failed it.
    pub cause: usize,
    pub done: usize,
    /// What it had made, in order.
    pub made: Vec<Made>,
}

/// Something that came to be during a start that failed.
#[derive(Clone, Debug)]
pub struct Made {
    pub what: String,
    pub from: usize,
    /// When it went, and at whose hands; `None`: it is there at the run's end.
    pub until: Option<(usize, String)>,
}

/// What was settled and when, for the summary.
#[derive(Clone, Debug)]
pub struct KeyMoment {
    pub column: usize,
    pub kind: &'static str,
    pub what: String,
    pub line: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct Story {
    pub columns: Vec<Column>,
    pub bars: Vec<Bar>,
    pub rollbacks: Vec<Rollback>,
    pub key_moments: Vec<KeyMoment>,
    /// The column that a reader wants to see first.
    pub focus: usize,
    /// How many moments the run had.
    pub moments: usize,
}

/// A call as it is pieced together.
struct Piece {
    made: usize,
    effect: Option<usize>,
    end: Option<(usize, Stage)>,
    released: Option<usize>,
    error: Option<String>,
    fault: Option<String>,
    held: Vec<(usize, Option<usize>)>,
}

/// Calls by their sites, in the order of their making.
#[derive(Default)]
struct Pieces {
    all: Vec<(Site, Piece)>,
    places: FxHashMap<Site, usize>,
}

impl Pieces {
    /// That of a site; one that was not known is made at the column.
    fn at(&mut self, site: Site, column: usize) -> &mut Piece {
        let place = *self.places.entry(site).or_insert_with(|| {
            let piece = Piece {
                made: column,
                effect: None,
                end: None,
                released: None,
                error: None,
                fault: None,
                held: Vec::new(),
            };
            self.all.push((site, piece));
            self.all.len() - 1
        });
        &mut self.all[place].1
    }
}

impl Story {
    /// # Panics
    /// If the run was not filmed.
    pub fn of(source: &Source, ran: &Ran) -> Story {
        let film = ran.outcome.film.as_ref().expect("the run was filmed");
        let names = Names::new(&ran.plan);
        let mut gathered = Gathered::new(source, ran, film, &names);
        let moments = gathered.columns.len();
        let keep = kept(&gathered.columns);
        gathered.thin(&keep);
        gathered.tell(moments)
    }

    /// The run with its columns at these `places`, one for each, of `slots`: between them are gaps, in which
    /// nothing happens. So two runs can be drawn of which what is the same stands at the same place.
    pub fn spread(&self, places: &[usize], slots: usize) -> Story {
        let moment = self.columns.iter().find(|column| matches!(column.after, After::Moment(_)));
        let gap_after = |before: &Column| Column {
            number: 0,
            skipped: 0,
            after: moment.map_or(before.after, |column| column.after),
            actor: String::new(),
            what: String::new(),
            error: None,
            changes: Vec::new(),
            notes: Vec::new(),
            evaluated: Vec::new(),
            broke: Vec::new(),
            ..*before
        };
        let mut columns: Vec<Column> = Vec::with_capacity(slots);
        for (column, place) in self.columns.iter().zip(places) {
            let gap = gap_after(columns.last().unwrap_or(column));
            columns.resize(*place, gap);
            columns.push(column.clone());
        }
        if let Some(gap) = columns.last().map(gap_after) {
            columns.resize(slots, gap);
        }
        let bars = self.bars.iter().map(|bar| Bar {
            from: places[bar.from],
            effect: bar.effect.map(|effect| places[effect]),
            to: places[bar.to],
            main: places[bar.main],
            ..bar.clone()
        });
        Story { columns, bars: bars.collect(), ..self.clone() }
    }

    /// The columns of a range alone, with what of the bars is in it. Bars still lead to where they led.
    #[must_use]
    pub fn cropped(mut self, range: &std::ops::Range<usize>) -> Story {
        let inside = |at: usize| at.clamp(range.start, range.end - 1) - range.start;
        self.columns = self.columns.drain(range.clone()).collect();
        self.bars.retain(|bar| bar.from < range.end && bar.to >= range.start);
        for bar in &mut self.bars {
            bar.effect = bar.effect.map(inside);
            (bar.from, bar.to) = (inside(bar.from), inside(bar.to));
        }
        self
    }

    /// All facts after a column.
    pub fn facts_after(&self, column: usize) -> Facts {
        let mut facts = Facts::new();
        for changed in self.columns[..=column].iter().flat_map(|c| &c.changes) {
            match &changed.now {
                Some(now) => facts.insert(changed.key.clone(), now.clone()),
                None => facts.remove(&changed.key),
            };
        }
        facts
    }
}

struct Gathered<'a> {
    ran: &'a Ran,
    names: &'a Names,
    columns: Vec<Column>,
    pieces: Vec<(Site, Piece)>,
    /// The line of the scenario's crash, if it has one.
    crash_line: Option<usize>,
}

/// The columns that fit on a page.
fn kept(columns: &[Column]) -> Vec<bool> {
    let count = columns.len();
    if count <= COLUMNS_MAX {
        return vec![true; count];
    }
    let mut keep = vec![false; count];
    let end = COLUMNS_MAX / 3;
    keep[..end].fill(true);
    keep[count - end..].fill(true);
    let mut room = COLUMNS_MAX - 2 * end;
    for (at, _) in columns.iter().enumerate().filter(|(_, c)| !c.broke.is_empty()) {
        for near in &mut keep[at.saturating_sub(AROUND)..(at + AROUND).min(count)] {
            if !*near && room > 0 {
                *near = true;
                room -= 1;
            }
        }
    }
    keep
}

impl<'a> Gathered<'a> {
    fn new(source: &Source, ran: &'a Ran, film: &Film, names: &'a Names) -> Self {
        let scripted = ran.plan.script.faults.iter().zip(&ran.case.scenario.faults);
        let lines: Vec<(Site, String, usize)> = scripted
            .map(|((site, fault), entry)| {
                let line = source.diagnostic(&entry.at_span.0, "").line;
                (*site, fault.to_string(), line)
            })
            .collect();
        let told = |id: Id, violation: usize| {
            let findings = &ran.outcome.judgement.findings;
            let finding = findings.iter().find(|finding| finding.id == id);
            let violation = finding.and_then(|finding| finding.violations.get(violation));
            violation.map_or_else(String::new, |violation| names.text(&violation.what))
        };
        let mut frames = film.frames.iter();
        let mut known = Facts::new();
        let mut columns: Vec<Column> = Vec::new();
        let mut number = 0;
        let mut take = |frame: &Frame, columns: &mut Vec<Column>, phase, error| {
            let is_moment = matches!(frame.after, After::Moment(_));
            number += usize::from(is_moment);
            let (actor, what) = match frame.after {
                After::Moment(moment) => split(&moment.to_string()),
                After::Setup => (String::new(), "the node as the scenario has it".to_owned()),
                After::Quiet => (String::new(), "quiet: what is left is judged".to_owned()),
                After::Reaped => (String::new(), "reaped: what is left is judged".to_owned()),
                After::Stopped => (String::new(), "the run was stopped".to_owned()),
            };
            let changes = frame.changes.iter().map(|change| {
                let before = match &change.now {
                    Some(now) => known.insert(change.key.clone(), now.clone()),
                    None => known.remove(&change.key),
                };
                Changed { key: change.key.clone(), before, now: change.now.clone() }
            });
            columns.push(Column {
                number: if is_moment { number } else { 0 },
                skipped: 0,
                at: frame.at,
                phase,
                after: frame.after,
                actor,
                what,
                error,
                changes: changes.collect(),
                notes: Vec::new(),
                evaluated: frame.evaluated.clone(),
                broke: (frame.broke.iter())
                    .map(|(id, violation)| (*id, told(*id, *violation)))
                    .collect(),
            });
        };
        let mut pieces = Pieces::default();
        let mut phase = "disturb";
        if let Some(frame) = frames.next() {
            take(frame, &mut columns, phase, None);
        }
        let is_start = |entry: &&RecordingEntry| !matches!(entry, RecordingEntry::Phase { name, .. } if *name == "disturb");
        for entry in ran.outcome.recording.entries.iter().skip_while(is_start) {
            let last = columns.len().saturating_sub(1);
            match entry {
                RecordingEntry::Moment(happened) => {
                    let error = happened.error.as_ref().map(|error| names.text(error));
                    let column = columns.len();
                    let Some(frame) = frames.next() else { break };
                    take(frame, &mut columns, phase, error.clone());
                    let Moment { site, stage } = happened.moment;
                    let piece = pieces.at(site, last);
                    match stage {
                        Stage::Effect => piece.effect = Some(column),
                        Stage::Reply | Stage::Abandon | Stage::Only => {
                            piece.end = Some((column, stage));
                        }
                    }
                    if stage != Stage::Effect || piece.error.is_none() {
                        piece.error = error;
                    }
                }
                RecordingEntry::Fault { site, fault, .. } => {
                    let text = fault.to_string();
                    let line = lines.iter().find(|(of, what, _)| of == site && *what == text);
                    let line = line.map(|(.., line)| *line);
                    let what = format!("{site}: {text}");
                    pieces.at(*site, last).fault = Some(text);
                    columns[last].notes.push(Note::Fault { what, line });
                }
                RecordingEntry::Held { moment, .. } => {
                    pieces.at(moment.site, last).held.push((last, None));
                    columns[last].notes.push(Note::Held { what: moment.to_string() });
                }
                RecordingEntry::LetGo { moment, why, .. } => {
                    if let Some((_, until)) = pieces.at(moment.site, last).held.last_mut() {
                        *until = Some(last);
                    }
                    let what = format!("{moment}: {why}");
                    columns[last].notes.push(Note::LetGo { what });
                }
                RecordingEntry::Made { site, .. } => {
                    pieces.at(*site, last);
                }
                RecordingEntry::Released { site, .. } => {
                    pieces.at(*site, last).released = Some(last);
                }
                RecordingEntry::Log { text, .. } => {
                    columns[last].notes.push(Note::Log { what: names.text(text) });
                }
                RecordingEntry::Phase { name, .. } => {
                    if *name == "reap"
                        && let Some(frame) = frames.next()
                    {
                        take(frame, &mut columns, phase, None);
                    }
                    phase = name;
                }
            }
        }
        for frame in frames {
            take(frame, &mut columns, phase, None);
        }
        let crash_line = match &ran.plan.crash_spans[..] {
            [span] => Some(source.diagnostic(span, "").line),
            _ => None,
        };
        Gathered { ran, names, columns, pieces: pieces.all, crash_line }
    }

    /// Leaves out columns. What they changed is told by the next one that stays.
    fn thin(&mut self, keep: &[bool]) {
        if keep.iter().all(|kept| *kept) {
            return;
        }
        let mut places = Vec::with_capacity(keep.len());
        let mut columns: Vec<Column> = Vec::new();
        let mut merged: BTreeMap<Key, Changed> = BTreeMap::new();
        let mut skipped = 0;
        for (mut column, kept) in std::mem::take(&mut self.columns).into_iter().zip(keep) {
            // Both ends are kept.
            places.push(columns.len());
            if *kept && skipped == 0 {
                columns.push(column);
                continue;
            }
            for changed in std::mem::take(&mut column.changes) {
                let of = merged.entry(changed.key.clone()).or_insert(changed.clone());
                of.now = changed.now;
            }
            if *kept {
                let changes = std::mem::take(&mut merged).into_values();
                column.changes = changes.filter(|c| c.before != c.now).collect();
                column.skipped = std::mem::take(&mut skipped);
                columns.push(column);
            } else {
                skipped += 1;
            }
        }
        self.columns = columns;
        for (_, piece) in &mut self.pieces {
            piece.made = places[piece.made];
            for place in [&mut piece.effect, &mut piece.released] {
                *place = place.map(|at| places[at]);
            }
            piece.end = piece.end.map(|(at, stage)| (places[at], stage));
            for (from, to) in &mut piece.held {
                *from = places[*from];
                *to = to.map(|at| places[at]);
            }
        }
    }

    fn tell(self, moments: usize) -> Story {
        let mut bars = self.calls();
        bars.extend(self.clients());
        bars.extend(self.of_facts());
        bars.extend(self.down());
        let rollbacks = self.rollbacks();
        for rollback in &rollbacks {
            bars.push(Bar {
                label: "rollback".to_owned(),
                title: format!("rollback of {}", rollback.call),
                main: rollback.cause,
                ..bar(Lane::Clients, Kind::Rollback, rollback.cause, rollback.done)
            });
        }
        let key_moments = self.key_moments();
        let last = self.columns.len() - 1;
        let first = |found: &dyn Fn(&Column) -> bool| self.columns.iter().position(found);
        let unexpected = |column: &Column| {
            let expected = &self.ran.verdict.expected_violations;
            column.broke.iter().any(|(id, _)| !expected.contains(id))
        };
        let focus = first(&unexpected)
            .or_else(|| first(&|column| !column.broke.is_empty()))
            .or_else(|| first(&|column| column.after == After::Stopped))
            .or_else(|| first(&|column| column.after == After::Quiet))
            .unwrap_or(last);
        Story { columns: self.columns, bars, rollbacks, key_moments, focus, moments }
    }

    fn calls(&self) -> Vec<Bar> {
        let last = self.columns.len() - 1;
        let mut bars = Vec::new();
        for (site, piece) in &self.pieces {
            let lane = Lane::of(site.op);
            for (from, to) in &piece.held {
                let to = to.unwrap_or(last);
                let name = site.to_string();
                bars.push(Bar {
                    label: "held".to_owned(),
                    title: format!("held: a moment of {name}"),
                    ..bar(lane, Kind::Held, *from, to)
                });
            }
            let is_client = site.op.layer() == Layer::Client && site.op != Op::Cancel;
            if is_client || matches!(site.op, Op::Crash | Op::Restart | Op::Up) {
                continue;
            }
            let end = match piece.end {
                Some((_, Stage::Abandon)) => End::Abandon,
                Some(_) => End::Reply,
                None => End::Open,
            };
            let ended = piece.end.map(|(at, _)| at);
            let (kind, from, effect, to) = match site.op {
                Op::Lock => {
                    let to = piece.released.unwrap_or(last);
                    match ended {
                        // Nobody had to wait for it.
                        Some(at) if at == to && at <= piece.made + 1 => (Kind::Dot, at, None, at),
                        _ => (Kind::Lock, piece.made, ended, to.max(ended.unwrap_or(last))),
                    }
                }
                Op::Sleep => (Kind::Call, piece.made, None, ended.unwrap_or(last)),
                op if op.is_single() => match ended {
                    Some(at) => (Kind::Dot, at, None, at),
                    None => continue,
                },
                // Who waits for what may never happen is not at work.
                _ => (Kind::Call, piece.made, piece.effect, ended.unwrap_or(last)),
            };
            let mut title = site.to_string();
            if let Some(fault) = &piece.fault {
                title.push_str(&format!("\nfault: {fault}"));
            }
            if let Some(error) = &piece.error {
                title.push_str(&format!("\n! {error}"));
            }
            let depth = site.actor.text().matches('/').count();
            let actor = site.actor.text();
            let subject = match site.subject {
                Symbol::EMPTY => String::new(),
                subject => format!("({subject})"),
            };
            let by =
                if kind == Kind::Lock { format!(" {}", root_of(&actor)) } else { String::new() };
            let main = match (piece.error.is_some(), ended, piece.effect) {
                (true, Some(at), _) | (_, Some(at), None) => at,
                (_, _, Some(at)) => at,
                (_, None, None) => from,
            };
            bars.push(Bar {
                label: format!("{}{subject}{by}", site.op.name()),
                title,
                effect,
                end: if piece.end.is_some() { end } else { End::Open },
                failed: piece.error.is_some(),
                struck: piece.fault.is_some(),
                depth,
                main,
                ..bar(lane, kind, from, to)
            });
        }
        bars
    }

    /// Begin and end of each client's call, by its name.
    fn client_calls(&self) -> Vec<(Symbol, usize, Option<usize>)> {
        let mut calls: Vec<(Symbol, usize, Option<usize>)> = Vec::new();
        for (site, piece) in &self.pieces {
            let Some((at, _)) = piece.end else { continue };
            match site.op {
                Op::Begin => calls.push((site.actor, at, None)),
                Op::Done => {
                    if let Some(call) = calls.iter_mut().find(|(name, ..)| *name == site.actor) {
                        call.2 = Some(at);
                    }
                }
                _ => {}
            }
        }
        calls
    }

    fn clients(&self) -> Vec<Bar> {
        let last = self.columns.len() - 1;
        let answers = &self.ran.outcome.answers;
        let each = self.client_calls().into_iter().map(|(name, from, done)| {
            let answer = answers.iter().find(|answer| answer.call == name);
            let word = answer.map_or("", crate::suite::answer_word);
            let failed = answer.is_some_and(|answer| matches!(answer.result, Some(Err(_))));
            let word = if word.is_empty() { String::new() } else { format!(": {word}") };
            let title = match answer.and_then(|answer| answer.result.as_ref()) {
                Some(Err(error)) => format!("{name}{word}\n{}", self.names.text(&error.message)),
                _ => format!("{name}{word}"),
            };
            // What the harness does itself is over at its last moment.
            let of_harness = || {
                let own = |c: &Column| c.actor == *name.text();
                self.columns.iter().rposition(own).filter(|_| answer.is_none())
            };
            let to = done.or_else(of_harness);
            Bar {
                label: format!("{name}{word}"),
                title,
                end: if to.is_some() { End::Reply } else { End::Open },
                failed,
                main: done.unwrap_or(from),
                ..bar(Lane::Clients, Kind::Client, from, to.unwrap_or(last))
            }
        });
        each.collect()
    }

    /// When facts came, what they said, and when they went.
    fn lives(&self) -> BTreeMap<Key, Vec<Life>> {
        let mut lives: BTreeMap<Key, Vec<Life>> = BTreeMap::new();
        for (at, column) in self.columns.iter().enumerate() {
            for changed in &column.changes {
                let of = lives.entry(changed.key.clone()).or_default();
                if let Some(life) = of.last_mut().filter(|life| life.until.is_none()) {
                    life.until = Some(at);
                }
                if let Some(now) = &changed.now {
                    of.push(Life { from: at, until: None, what: now.clone() });
                }
            }
        }
        lives
    }

    fn of_facts(&self) -> Vec<Bar> {
        let last = self.columns.len() - 1;
        let mut bars = Vec::new();
        for ((part, name), lives) in self.lives() {
            let (lane, kind) = match part {
                Part::Memory => (Lane::Store, Kind::Memory),
                Part::Disk => (Lane::Store, Kind::Disk),
                Part::Claim => (Lane::Store, Kind::Claim),
                Part::Background => (Lane::Service, Kind::Task),
                Part::File if lives.iter().all(|life| *life.what == *"directory") => continue,
                Part::File if !lives.iter().any(|life| life.what.starts_with("pipe")) => {
                    (Lane::Files, Kind::File)
                }
                Part::Descriptor => (Lane::Files, Kind::File),
                _ if is_thing(part) => (Lane::Node, Kind::Thing),
                _ => continue,
            };
            let lives = match kind {
                Kind::Memory | Kind::Disk => lives,
                _ => whole_lives(part, &lives),
            };
            for life in lives {
                // What was there before and goes when all is removed tells nothing.
                let is_constant = life.from == 0
                    && life.until.is_none_or(|until| self.columns[until].phase == "reap");
                if is_constant && !matches!(kind, Kind::Memory | Kind::Disk) {
                    continue;
                }
                let what = &life.what;
                let word = what.split([',', ':']).next().unwrap_or_default();
                let label = match kind {
                    Kind::Memory => format!("{name}: {word}"),
                    Kind::Disk => format!("{name} on disk"),
                    Kind::Thing | Kind::File => thing_name(part, &name),
                    _ => name.to_string(),
                };
                let title =
                    if what.is_empty() { label.clone() } else { format!("{label}\n{what}") };
                bars.push(Bar {
                    label,
                    title,
                    end: if life.until.is_some() { End::Reply } else { End::Open },
                    ..bar(lane, kind, life.from, life.until.unwrap_or(last))
                });
            }
        }
        bars
    }

    /// Where there is no daemon that serves.
    fn down(&self) -> Vec<Bar> {
        let last = self.columns.len() - 1;
        let crashes = self.columns.iter().enumerate().filter(|(_, column)| column.is_crash());
        let bars = crashes.map(|(at, _)| {
            let up = self.columns[at..].iter().position(|column| column.is(Op::Up));
            let to = up.map_or(last, |after| at + after);
            Bar {
                label: "no daemon".to_owned(),
                title: "from the crash until the daemon serves again".to_owned(),
                ..bar(Lane::Clients, Kind::Down, at, to)
            }
        });
        bars.collect()
    }

    fn rollbacks(&self) -> Vec<Rollback> {
        let lives = self.lives();
        let mut rollbacks = Vec::new();
        for (name, from, done) in self.client_calls() {
            let Some(done) = done else { continue };
            let answer = self.ran.outcome.answers.iter().find(|answer| answer.call == name);
            let Some(Err(error)) = answer.and_then(|answer| answer.result.as_ref()) else {
                continue;
            };
            let message = self.names.text(&error.message);
            let is_own = |column: &Column| column.actor == *name.text();
            // The answer repeats the error that failed the call.
            let is_cause = |column: &&usize| {
                let column = &self.columns[**column];
                let told = column.error.as_ref().is_some_and(|error| message.contains(&**error));
                let direct = !column.what.contains('/') && !column.what.ends_with(".effect");
                is_own(column) && told && direct
            };
            let range: Vec<usize> = (from..=done).collect();
            let Some(cause) = range.iter().find(is_cause).copied() else { continue };
            let mut made: Vec<Made> = Vec::new();
            for ((part, what), of) in &lives {
                let is_pipe = |life: &Life| life.what.starts_with("pipe");
                let is_unfinished = *part == Part::File && what.contains(".tmp-");
                let is_kept = matches!(part, Part::File if !of.iter().any(is_pipe));
                if !is_thing(*part) || *part == Part::Descriptor || is_kept && !is_unfinished {
                    continue;
                }
                let born = |life: &&Life| {
                    life.from > from && life.from <= done && is_own(&self.columns[life.from])
                };
                for life in whole_lives(*part, of).iter().filter(born) {
                    let until = life.until.map(|at| (at, self.columns[at].actor.clone()));
                    // What came and went before anything failed is no matter of the rollback.
                    if until.as_ref().is_none_or(|(at, _)| *at >= cause) {
                        made.push(Made { what: thing_name(*part, what), from: life.from, until });
                    }
                }
            }
            made.sort_by(|a, b| (a.from, &a.what).cmp(&(b.from, &b.what)));
            let own =
                range.iter().any(|at| *at > cause && *at < done && is_own(&self.columns[*at]));
            if own || !made.is_empty() {
                rollbacks.push(Rollback { call: name.to_string(), cause, done, made });
            }
        }
        rollbacks
    }

    fn key_moments(&self) -> Vec<KeyMoment> {
        let mut found = Vec::new();
        let mut broken: BTreeSet<Id> = BTreeSet::new();
        let answers = &self.ran.outcome.answers;
        for (at, column) in self.columns.iter().enumerate() {
            let mut add = |kind, what: String, line| {
                found.push(KeyMoment { column: at, kind, what, line });
            };
            if let After::Moment(moment) = column.after {
                let name = column.actor.clone();
                match moment.site.op {
                    Op::Crash => {
                        let power = |c: &Changed| c.now.as_deref() == Some("down, without power");
                        let what = match column.changes.iter().any(power) {
                            true => "the node loses power",
                            false => "the daemon ends",
                        };
                        add("crash", what.to_owned(), self.crash_line);
                    }
                    Op::Up => add("up", "the daemon serves again".to_owned(), None),
                    Op::Cancel => add("cancel", format!("the client of {name} gives up"), None),
                    Op::Oom => add("happens", format!("{name} runs out of memory"), None),
                    Op::Adjust => add("happens", "the wall clock is set".to_owned(), None),
                    Op::Done => {
                        if let Some(answer) = answers.iter().find(|a| a.call == moment.site.actor) {
                            let what = match &answer.result {
                                Some(Err(error)) => {
                                    let text = self.names.text(&error.message);
                                    format!("{name} is answered {}: {text}", error.code.name())
                                }
                                Some(Ok(_)) => format!("{name} is answered"),
                                None => format!("{name} is over, without an answer"),
                            };
                            add("answer", what, None);
                        }
                    }
                    _ => {}
                }
                let is_call = moment.site.op.layer() != Layer::Runtime;
                if moment.stage == Stage::Abandon && is_call && column.phase == "disturb" {
                    let what = column.what.trim_end_matches(".abandon");
                    add("gives up", format!("{name} goes on without the reply of {what}"), None);
                }
            }
            for note in &column.notes {
                match note {
                    Note::Fault { what, line } => add("fault", what.clone(), *line),
                    Note::Held { what } => add("held", what.clone(), None),
                    Note::LetGo { what } => add("let go", what.clone(), None),
                    Note::Log { .. } => {}
                }
            }
            for (id, what) in column.broke.iter().filter(|(id, _)| broken.insert(*id)) {
                add("broken", format!("{id}: {what}"), None);
            }
        }
        found
    }
}

/// One time that a fact was there, saying the same.
#[derive(Clone, Debug)]
struct Life {
    from: usize,
    until: Option<usize>,
    what: Rc<str>,
}

/// Whether something was there, whatever was said of it.
fn whole_lives(part: Part, lives: &[Life]) -> Vec<Life> {
    let mut whole: Vec<Life> = Vec::new();
    for life in lives {
        // A process that ended is there no more, although it is spoken of.
        if part == Part::Process && life.what.starts_with("ended") {
            continue;
        }
        match whole.last_mut().filter(|last| last.until == Some(life.from)) {
            Some(last) => last.until = life.until,
            None => whole.push(life.clone()),
        }
    }
    whole
}

const fn is_thing(part: Part) -> bool {
    matches!(
        part,
        Part::Task | Part::Process | Part::Runtime | Part::Record | Part::File | Part::Descriptor
    )
}

/// `task web`, `pipe …`
fn thing_name(part: Part, name: &str) -> String {
    match part {
        Part::Task => format!("task {name}"),
        Part::Process => format!("process {name}"),
        Part::Descriptor => format!("fd {name}"),
        _ => name.to_owned(),
    }
}

fn bar(lane: Lane, kind: Kind, from: usize, to: usize) -> Bar {
    Bar {
        lane,
        kind,
        label: String::new(),
        title: String::new(),
        from,
        effect: None,
        to,
        end: End::Reply,
        failed: false,
        struck: false,
        depth: 0,
        main: from,
    }
}
