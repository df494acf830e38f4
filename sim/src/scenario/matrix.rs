//! Expansion of a scenario with a matrix into its cases, and which entries apply to which case.

use std::fmt;
use std::ops::Range;

use super::limits;
use super::model::*;
use super::site_name::MomentName;

/// An axis with its values in order, those of a sweep included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedAxis {
    pub name: String,
    pub values: Vec<String>,
}

/// One case: a scenario without a matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// `stem[code=not-found,moment=…]`; the stem alone for a scenario without a matrix.
    pub name: String,
    pub values: Values,
    /// With every placeholder filled in and no matrix, and of the expectations and expected violations
    /// those that are about the case. Filters are kept.
    pub scenario: Scenario,
}

/// More cases than [`limits::CASES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyCases {
    pub cases: usize,
}

impl fmt::Display for TooManyCases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = limits::CASES_MAX;
        match self.cases {
            usize::MAX => {
                write!(
                    f,
                    "the matrix has more cases than can be counted; at most {most} are allowed"
                )
            }
            cases => write!(f, "the matrix has {cases} cases; at most {most} are allowed"),
        }
    }
}

impl std::error::Error for TooManyCases {}

/// The value of each axis, in the order of the axes.
type Values = Vec<(String, String)>;

/// The cases of one scenario, each built when it is asked for.
#[derive(Clone, Debug)]
pub struct Expansion<'s> {
    scenario: &'s Scenario,
    /// The scenario without its matrix, expectations and expected violations.
    bare: Scenario,
    axes: Vec<ResolvedAxis>,
    /// The values of each case, the last axis running fastest.
    cases: Vec<Values>,
}

/// Expands a scenario. `sweep` is asked for the values of the axes that are sweeps. An axis without
/// values leaves no case.
///
/// A fault whose site comes from a sweep, or whose kind or effect from an axis, need not fit in
/// every combination: those in which `fits` says no are no cases, and a swept site that is left with
/// none is no value.
///
/// # Errors
/// If there are too many cases.
pub fn expand<'s>(
    scenario: &'s Scenario,
    sweep: &dyn Fn(&Axis) -> Vec<String>,
    fits: &dyn Fn(&Fault) -> bool,
) -> Result<Expansion<'s>, TooManyCases> {
    let mut axes: Vec<ResolvedAxis> = scenario
        .matrix
        .iter()
        .map(|axis| ResolvedAxis {
            name: axis.name.clone(),
            values: match &axis.values {
                AxisValues::List(values) => values.clone(),
                AxisValues::EveryMomentOf { .. }
                | AxisValues::EverySiteOf(_)
                | AxisValues::EveryOperationOf(_) => sweep(axis),
            },
        })
        .collect();
    let cases = axes.iter().fold(1usize, |cases, axis| cases.saturating_mul(axis.values.len()));
    if cases > limits::CASES_MAX {
        return Err(TooManyCases { cases });
    }
    let may_misfit = |fault: &&Fault| {
        let swept = |(_, name): &(_, &str)| {
            let axis = scenario.matrix.iter().find(|axis| axis.name == *name);
            axis.is_some_and(|axis| !matches!(axis.values, AxisValues::List(_)))
        };
        matches!(fault.kind, FaultKind::Swept(_)) || placeholders(&fault.at).iter().any(swept)
    };
    let faults: Vec<&Fault> = scenario.faults.iter().filter(may_misfit).collect();
    let mut cases: Vec<Values> = (0..cases).map(|number| combination(&axes, number)).collect();
    if !faults.is_empty() {
        cases.retain(|values| {
            let values = texts_of(values);
            faults.iter().all(|fault| {
                let mut fault = (*fault).clone();
                fill_in_fault(&mut fault, &values);
                fits(&fault)
            })
        });
        for (at, axis) in scenario.matrix.iter().enumerate() {
            let of_sites =
                matches!(axis.values, AxisValues::EverySiteOf(_) | AxisValues::EveryOperationOf(_));
            if of_sites {
                axes[at].values.retain(|value| cases.iter().any(|case| case[at].1 == *value));
            }
        }
    }
    let bare = Scenario {
        matrix: Vec::new(),
        expects: Vec::new(),
        violations: Vec::new(),
        ..scenario.clone()
    };
    Ok(Expansion { scenario, bare, axes, cases })
}

/// One combination, by its number among all.
fn combination(axes: &[ResolvedAxis], number: usize) -> Values {
    let mut rest = number;
    let mut values: Values = axes
        .iter()
        .rev()
        .map(|axis| {
            let value = axis.values[rest % axis.values.len()].clone();
            rest /= axis.values.len();
            (axis.name.clone(), value)
        })
        .collect();
    values.reverse();
    values
}

fn texts_of(values: &[(String, String)]) -> Vec<(&str, &str)> {
    values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

impl<'s> Expansion<'s> {
    pub fn axes(&self) -> &[ResolvedAxis] {
        &self.axes
    }

    /// Number of cases.
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// The values of the case at `index` (0 to [`Expansion::len`]), the last axis running fastest.
    pub fn values(&self, index: usize) -> &[(String, String)] {
        &self.cases[index]
    }

    pub fn name(&self, index: usize) -> String {
        case_name(&self.scenario.name, self.values(index))
    }

    pub fn case(&self, index: usize) -> Case {
        let values = self.cases[index].clone();
        let mut scenario = self.bare.clone();
        let fits = |filter: &Filter| filter.fits(&values, &self.axes);
        let expects = self.scenario.expects.iter().filter(|entry| fits(&entry.filter));
        scenario.expects = expects.cloned().collect();
        let violations = self.scenario.violations.iter().filter(|entry| fits(&entry.filter));
        scenario.violations = violations.cloned().collect();
        fill_in(&mut scenario, &values);
        Case { name: case_name(&scenario.name, &values), values, scenario }
    }

    /// All cases in order.
    pub fn iter(&self) -> impl Iterator<Item = Case> + '_ {
        (0..self.len()).map(|index| self.case(index))
    }
}

fn case_name(stem: &str, values: &[(String, String)]) -> String {
    if values.is_empty() {
        return stem.to_owned();
    }
    let values: Vec<String> =
        values.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{stem}[{}]", values.join(","))
}

/// The scenario whose run tells the values of a sweep: without the calls, occurrences and decisions that
/// use a sweep, and without those that name a call that is thereby gone. The other axes have their
/// first value; nothing is expected.
pub fn baseline(scenario: &Scenario) -> Scenario {
    let sweeps: Vec<&str> = scenario
        .matrix
        .iter()
        .filter(|axis| !matches!(axis.values, AxisValues::List(_)))
        .map(|axis| axis.name.as_str())
        .collect();
    let swept = |text: &str| placeholders(text).iter().any(|(_, name)| sweeps.contains(name));

    let mut base = scenario.clone();
    base.expects.clear();
    base.violations.clear();
    base.matrix.clear();
    let mut gone: Vec<String> = Vec::new();
    loop {
        let stays = |texts: &[&str]| {
            !texts.iter().any(|text| {
                let of_gone_call = text
                    .parse::<MomentName>()
                    .is_ok_and(|moment| gone.contains(&moment.actor().to_string()));
                of_gone_call || swept(text)
            })
        };
        base.faults.retain(|fault| stays(&fault_texts(fault)));
        base.clocks.retain(|clock| stays(&clock_texts(clock)));
        base.holds.retain(|hold| stays(&[&hold.what, &hold.until]));
        base.occurrences.retain(|occurrence| stays(&when_texts([&occurrence.when])));
        base.crashes.retain(|crash| stays(&when_texts([&crash.when])));
        let calls = std::mem::take(&mut base.calls);
        let (calls, removed): (Vec<Call>, Vec<Call>) =
            calls.into_iter().partition(|call| stays(&call_texts(call)));
        base.calls = calls;
        if removed.is_empty() {
            break;
        }
        gone.extend(removed.into_iter().map(|call| call.name));
    }
    let first: Vec<(String, String)> = scenario
        .matrix
        .iter()
        .filter_map(|axis| match &axis.values {
            AxisValues::List(values) => Some((axis.name.clone(), values.first()?.clone())),
            _ => None,
        })
        .collect();
    fill_in(&mut base, &first);
    base
}

fn fault_texts(fault: &Fault) -> Vec<&str> {
    match &fault.kind {
        FaultKind::Error { code, message, .. } => {
            let mut texts = vec![fault.at.as_str(), code.as_str()];
            texts.extend(message.as_deref());
            texts
        }
        FaultKind::Swept(keys) => vec![&fault.at, &keys.kind, &keys.effect, &keys.code],
        _ => vec![&fault.at],
    }
}

fn clock_texts(clock: &Clock) -> Vec<&str> {
    match (&clock.when, &clock.change) {
        (When::Moment(text), ClockChange::Jump(by)) => vec![text, by],
        (When::Moment(text), ClockChange::Drift(_)) => vec![text],
        (When::At(_), ClockChange::Jump(by)) => vec![by],
        (When::At(_), ClockChange::Drift(_)) => Vec::new(),
    }
}

fn call_texts(call: &Call) -> Vec<&str> {
    when_texts([&call.when].into_iter().chain(&call.cancel))
}

fn when_texts<'a>(whens: impl IntoIterator<Item = &'a When>) -> Vec<&'a str> {
    whens
        .into_iter()
        .filter_map(|when| match when {
            When::Moment(text) => Some(text.as_str()),
            When::At(_) => None,
        })
        .collect()
}

/// Fills in the placeholders of every text that may have some.
fn fill_in(scenario: &mut Scenario, values: &[(String, String)]) {
    if values.is_empty() {
        return;
    }
    let values = texts_of(values);
    let fill = |text: &mut Text| {
        if text.contains('{') {
            *text = substitute(text, &values);
        }
    };
    let fill_when = |when: &mut When| {
        if let When::Moment(text) = when {
            fill(text);
        }
    };
    for call in &mut scenario.calls {
        fill_when(&mut call.when);
        if let Action::Kubelet(kubelet) = &mut call.action {
            kubelet.delete.iter_mut().for_each(fill_when);
        }
        call.cancel.iter_mut().for_each(fill_when);
    }
    for occurrence in &mut scenario.occurrences {
        fill_when(&mut occurrence.when);
    }
    for fault in &mut scenario.faults {
        fill_in_fault(fault, &values);
    }
    for clock in &mut scenario.clocks {
        fill_when(&mut clock.when);
        if let ClockChange::Jump(by) = &mut clock.change {
            fill(by);
        }
    }
    for hold in &mut scenario.holds {
        fill(&mut hold.what);
        fill(&mut hold.until);
    }
    for crash in &mut scenario.crashes {
        fill_when(&mut crash.when);
        crash.lost.iter_mut().chain(&mut crash.torn).for_each(fill);
    }
    for expect in &mut scenario.expects {
        for answer in &mut expect.answers {
            fill(&mut answer.code);
            answer.message.iter_mut().for_each(fill);
            answer.client.iter_mut().for_each(fill);
        }
        for status in &mut expect.statuses {
            status.message.iter_mut().for_each(fill);
        }
        expect.not_applied.iter_mut().for_each(fill);
        expect.order.iter_mut().flatten().for_each(fill);
    }
}

fn fill_in_fault(fault: &mut Fault, values: &[(&str, &str)]) {
    let fill = |text: &mut Text| {
        if text.contains('{') {
            *text = substitute(text, values);
        }
    };
    fill(&mut fault.at);
    match &mut fault.kind {
        FaultKind::Error { code, message, .. } => {
            fill(code);
            message.iter_mut().for_each(fill);
        }
        FaultKind::Swept(keys) => {
            for text in [&mut keys.kind, &mut keys.effect, &mut keys.code] {
                fill(text);
            }
            keys.message.iter_mut().for_each(fill);
            if let Some(kind) = keys.resolve() {
                fault.kind = kind;
            }
        }
        _ => {}
    }
}

/// The placeholders of a text, `{name}`, with their bytes (braces included) and names.
pub fn placeholders(text: &str) -> Vec<(Range<usize>, &str)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = text[at..].find('{').map(|open| at + open) {
        let rest = &text[open + 1..];
        let end = rest
            .find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'))
            .unwrap_or(rest.len());
        at = open + 1 + end;
        if end > 0 && rest[end..].starts_with('}') {
            found.push((open..at + 1, &rest[..end]));
            at += 1;
        }
    }
    found
}

/// Replaces each placeholder that has a value. Values are not looked into again.
pub fn substitute(text: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut at = 0;
    for (range, name) in placeholders(text) {
        if let Some((_, value)) = values.iter().find(|(axis, _)| *axis == name) {
            filled.push_str(&text[at..range.start]);
            filled.push_str(value);
            at = range.end;
        }
    }
    filled.push_str(&text[at..]);
    filled
}

impl Filter {
    /// Whether an entry with this filter applies to a case in a profile. `values` are those of
    /// [`Case::values`], `axes` those of [`Expansion::axes`].
    pub fn matches(
        &self,
        profile: &str,
        values: &[(String, String)],
        axes: &[ResolvedAxis],
    ) -> bool {
        let profile_matches =
            self.profiles.is_empty() || self.profiles.iter().any(|name| name == profile);
        profile_matches && self.fits(values, axes)
    }

    /// The same in whatever profile.
    fn fits(&self, values: &[(String, String)], axes: &[ResolvedAxis]) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|pattern| pattern.matches(values, axes))
    }

    /// What of the patterns fits no case: values that the axis does not have, and ranges that run
    /// backwards. Sweeps can only be checked so, once their values are known.
    pub fn misfits(&self, axes: &[ResolvedAxis]) -> Vec<String> {
        let mut misfits = Vec::new();
        for (name, range) in self.cases.iter().flat_map(|pattern| &pattern.0) {
            let Some(axis) = axes.iter().find(|axis| axis.name == *name) else {
                misfits.push(format!("the scenario has no axis `{name}`"));
                continue;
            };
            let ends = match range {
                ValueRange::One(value) => vec![value],
                ValueRange::Range(from, to) => vec![from, to],
            };
            let positions: Vec<usize> = ends
                .iter()
                .filter_map(|value| {
                    let position = axis.position(value);
                    if position.is_none() {
                        misfits.push(format!("the axis `{name}` has no value `{value}`"));
                    }
                    position
                })
                .collect();
            if let [from, to] = positions[..]
                && from > to
            {
                misfits.push(format!("`{}` comes after `{}`", ends[0], ends[1]));
            }
        }
        misfits
    }
}

impl ResolvedAxis {
    fn position(&self, value: &str) -> Option<usize> {
        self.values.iter().position(|known| known == value)
    }
}

impl CasePattern {
    /// An empty pattern matches every case.
    fn matches(&self, values: &[(String, String)], axes: &[ResolvedAxis]) -> bool {
        self.0.iter().all(|(name, range)| {
            let Some((_, value)) = values.iter().find(|(axis, _)| axis == name) else {
                return false;
            };
            match range {
                ValueRange::One(wanted) => value == wanted,
                ValueRange::Range(from, to) => {
                    axes.iter().find(|axis| axis.name == *name).is_some_and(|axis| {
                        match (axis.position(from), axis.position(value), axis.position(to)) {
                            (Some(from), Some(at), Some(to)) => from <= at && at <= to,
                            _ => false,
                        }
                    })
                }
            }
        })
    }
}
