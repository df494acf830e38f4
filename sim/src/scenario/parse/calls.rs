//! What clients call: `[[call]]`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::decode::{Names, Table, check_name, is_name, shown};
use super::super::model::*;
use super::super::site_name::{ClientEvent, MomentName};
use super::super::words::{ActionWord, Word};
use super::super::{defaults, limits};
use super::Parser;
use super::text::Wants;

/// A call whose name is known and whose other keys are not read yet.
pub(super) struct CallHead<'t, 'i> {
    table: Table<'t, 'i>,
    action: Option<ActionWord>,
    name: String,
    /// Without the time of the deletion.
    kubelet: Option<Kubelet>,
    /// Of which container of the world a creation makes one.
    made: String,
}

impl<'t> Parser<'t, '_> {
    /// Names of all calls first: sites may name a call that comes later in the file.
    pub(super) fn call_heads<'i>(&mut self, tables: Vec<Table<'t, 'i>>) -> Vec<CallHead<'t, 'i>> {
        let mut names = Names::new(self.sink, "call");
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        let mut made: BTreeMap<String, u32> =
            self.made_beforehand.iter().map(|name| (name.clone(), 1)).collect();
        tables
            .into_iter()
            .map(|table| {
                let action: Option<ActionWord> = table.required_word("do");
                let number = action.map(|action| {
                    let count = counts.entry(action.word()).or_default();
                    *count += 1;
                    *count
                });
                let name = match (table.string("name"), action, number) {
                    (Some(name), ..) => {
                        check_name(self.sink, &name);
                        if !name.text.starts_with(|c: char| c.is_ascii_lowercase()) {
                            let message = "the name of a call begins with a letter";
                            self.sink.error_with(name.span.clone(), message, |diagnostic| {
                                diagnostic.help(format!("write `call-{}`", shown(&name.text)))
                            });
                        }
                        if self.vocabulary.roles.contains(&name.text.as_str()) {
                            let message =
                                format!("`{}` is the name of another actor", shown(&name.text));
                            let help =
                                format!("write another name, as `client-{}`", shown(&name.text));
                            self.sink.error(name.span.clone(), message, help);
                        }
                        names.add(&name.text, name.span);
                        name.text
                    }
                    (None, Some(action), Some(number)) => {
                        let name = format!("{}-{number}", action.word());
                        names.add(&name, table.span.clone());
                        name
                    }
                    _ => {
                        self.has_unnamed_call = true;
                        String::new()
                    }
                };
                if is_name(&name) {
                    self.calls.insert(name.clone(), action);
                }
                let kubelet = (action == Some(ActionWord::Kubelet)).then(|| self.kubelet(&table));
                if let Some(kubelet) = &kubelet {
                    for actor in kubelet.actors(&name) {
                        names.add(&actor, table.span.clone());
                        self.calls.insert(actor, None);
                    }
                    let count = made.insert(kubelet.container.clone(), kubelet.containers);
                    if count.is_some() {
                        let message = "a kubelet makes its containers itself";
                        self.sink.error_with(table.span.clone(), message, |diagnostic| {
                            let container = shown(&kubelet.container);
                            if self.made_beforehand.contains(&kubelet.container) {
                                diagnostic.help(format!("give `{container}` the state \"absent\""))
                            } else {
                                diagnostic.help(format!("another call makes `{container}`"))
                            }
                        });
                    }
                    for n in 2..=kubelet.containers {
                        let container = kubelet.container(n);
                        self.more_containers(&table, container, "the kubelet's containers");
                    }
                }
                let mut of = String::new();
                if action == Some(ActionWord::Create) {
                    of = self.required_reference(&table, "container", &self.containers);
                    let count = made.entry(of.clone()).or_default();
                    *count += 1;
                    if *count > 1 && !of.is_empty() {
                        let container = nth_container(&of, *count);
                        self.more_containers(&table, container, "the container");
                    }
                }
                CallHead { table, action, name, kubelet, made: of }
            })
            .collect()
    }

    /// Makes the name of a container known that a call makes beside those of the world.
    fn more_containers(&mut self, table: &Table<'t, '_>, name: String, what: &str) {
        if self.containers.contains(&name) {
            let message = format!("{what} would be named like `{}`, which is there", shown(&name));
            self.sink.error(
                table.span.clone(),
                message,
                "give the container of the world another name",
            );
        }
        self.containers.push(name);
    }

    fn kubelet(&self, table: &Table<'t, '_>) -> Kubelet {
        let container = self.required_reference(table, "container", &self.containers);
        let containers = self.bounded(table, "containers", 1, limits::KUBELET_CONTAINERS_MAX);
        Kubelet {
            container,
            containers: containers.unwrap_or(defaults::KUBELET_CONTAINERS) as u32,
            restart: table.word("restart").unwrap_or(Restart::Always),
            timeout: self.bounded(table, "timeout", 0, 86_400).unwrap_or(defaults::KUBELET_TIMEOUT),
            delete: None,
        }
    }

    pub(super) fn call(&self, head: CallHead<'t, '_>) -> Option<Call> {
        let CallHead { mut table, action, name, kubelet, made } = head;
        let action = action?;
        table.what = match action {
            ActionWord::Create => "a call `create`",
            ActionWord::Start => "a call `start`",
            ActionWord::Stop => "a call `stop`",
            ActionWord::Remove => "a call `remove`",
            ActionWord::Update => "a call `update`",
            ActionWord::ReopenLog => "a call `reopen-log`",
            ActionWord::Status => "a call `status`",
            ActionWord::List => "a call `list`",
            ActionWord::StopPod => "a call `stop-pod`",
            ActionWord::RemovePod => "a call `remove-pod`",
            ActionWord::ConnectPlugin => "a call `connect-plugin`",
            ActionWord::PluginUpdate => "a call `plugin-update`",
            ActionWord::Events => "a call `events`",
            ActionWord::Kubelet => "a kubelet",
        };
        let container = |key| self.required_reference(&table, key, &self.containers);
        let sandbox = |key| self.required_reference(&table, key, &self.sandboxes);
        let action = match action {
            ActionWord::Create => Action::Create {
                container: made,
                attempt: self.bounded(&table, "attempt", 0, limits::ATTEMPT_MAX).unwrap_or(0)
                    as u32,
            },
            ActionWord::Start => Action::Start { target: self.target(&table) },
            ActionWord::Stop => Action::Stop {
                target: self.target(&table),
                timeout: self.bounded(&table, "timeout", -86_400, 86_400).unwrap_or(0),
            },
            ActionWord::Remove => Action::Remove { target: self.target(&table) },
            ActionWord::Update => {
                Action::Update { limits: self.limits(&table), target: self.target(&table) }
            }
            ActionWord::ReopenLog => Action::ReopenLog { target: self.target(&table) },
            ActionWord::Status => Action::Status {
                target: self.target(&table),
                verbose: table.boolean("verbose").unwrap_or(false),
            },
            ActionWord::List => Action::List,
            ActionWord::StopPod => Action::StopPod { sandbox: sandbox("sandbox") },
            ActionWord::RemovePod => Action::RemovePod { sandbox: sandbox("sandbox") },
            ActionWord::PluginUpdate => Action::PluginUpdate {
                plugin: self.required_reference(&table, "plugin", &self.plugins),
                container: container("container"),
                limits: self.limits(&table),
            },
            ActionWord::Events => Action::Events,
            ActionWord::ConnectPlugin => Action::ConnectPlugin {
                plugin: self.required_reference(&table, "plugin", &self.plugins),
            },
            ActionWord::Kubelet => Action::Kubelet(Kubelet {
                delete: self.when(&table, "delete-at", "delete-when"),
                ..kubelet?
            }),
        };
        let when = self.when(&table, "at", "when").unwrap_or(When::At(Duration::ZERO));
        let cancel = match &action {
            Action::Kubelet(_) => None,
            _ => self.when(&table, "cancel-at", "cancel-when"),
        };
        self.own_moments(&table, &name, &when, cancel.as_ref());
        let deadline = table.duration("deadline");
        let span = Span(table.span.clone());
        table.finish();
        Some(Call { span, name, action, when, deadline, cancel })
    }

    /// Reports a call that begins after a moment of its own, or is cancelled when it is over.
    fn own_moments(&self, table: &Table<'t, '_>, name: &str, when: &When, cancel: Option<&When>) {
        let own = |when: Option<&When>| match when {
            Some(When::Moment(text)) => {
                let moment: Option<MomentName> = text.parse().ok();
                moment.filter(|moment| moment.actor().to_string() == name)
            }
            _ => None,
        };
        let span = |key| table.get(key).map_or(table.span.clone(), |value| value.span());
        if own(Some(when)).is_some() {
            let message = format!("`{name}` cannot begin after a moment of its own");
            self.sink.error_with(span("when"), message, |diagnostic| {
                let mut others = self.calls.keys().filter(|call| *call != name);
                diagnostic.help(match others.next_back() {
                    Some(other) => format!(
                        "name a moment of another call, as `{other}.done`, or a time: `at = \"1s\"`"
                    ),
                    None => "write a time instead: `at = \"1s\"`".to_owned(),
                })
            });
        }
        if let Some(MomentName::Client { event: ClientEvent::Done, .. }) = own(cancel) {
            let message = format!("`{name}` is over when it is to be cancelled");
            self.sink.error_with(span("cancel-when"), message, |diagnostic| {
                diagnostic.help("name a moment before it: `shakedown replay` shows them all")
            });
        }
    }

    /// Reports calls of which each begins after a moment of the next, and the last after one of the first.
    pub(super) fn circles(&self, calls: &[Call]) {
        let after = |call: &Call| match &call.when {
            When::Moment(text) => {
                let moment: Option<MomentName> = text.parse().ok();
                let actor = moment.map(|moment| moment.actor().to_string());
                calls.iter().position(|other| Some(&other.name) == actor.as_ref())
            }
            When::At(_) => None,
        };
        let after: Vec<Option<usize>> = calls.iter().map(after).collect();
        for (first, call) in calls.iter().enumerate() {
            let mut circle = vec![first];
            let mut at = first;
            while let Some(next) =
                after[at].filter(|next| circle.len() <= calls.len() && *next != first)
            {
                circle.push(next);
                at = next;
            }
            // Each circle once, and a call that waits for itself is told already.
            let is_circle = after[at] == Some(first) && circle.len() > 1;
            if is_circle && circle.iter().all(|index| *index >= first) {
                let names: Vec<&str> = circle.iter().map(|index| &*calls[*index].name).collect();
                let message =
                    format!("`{}` begin after one another in a circle", names.join("`, `"));
                self.sink.error_with(call.span.0.clone(), message, |diagnostic| {
                    diagnostic.help("give one of them a time: `at = \"0s\"`")
                });
            }
        }
    }

    /// At least one of them.
    pub(super) fn limits(&self, table: &Table<'t, '_>) -> Limits {
        let limits = Limits {
            cpu_shares: self.bounded(table, "cpu-shares", 2, 262_144).unwrap_or(0),
            memory: self.bounded(table, "memory-limit", 1, 1 << 40).unwrap_or(0),
        };
        let is_given = ["cpu-shares", "memory-limit"].iter().any(|key| table.get(key).is_some());
        if limits == Limits::default() && !is_given {
            let message = format!("{} needs `cpu-shares` or `memory-limit`", table.what);
            self.sink.error_with(table.span.clone(), message, |diagnostic| {
                diagnostic.help("add a line such as `cpu-shares = 512`")
            });
        }
        limits
    }

    fn target(&self, table: &Table<'t, '_>) -> Target {
        let container = table.string("container");
        let id = table.string("id");
        match (container, id) {
            (Some(container), None) => {
                self.known(&container, "container", &self.containers);
                Target::Container(container.text)
            }
            (None, Some(id)) => Target::Literal(id.text),
            (Some(_), Some(id)) => {
                self.exclude(id.span, ["container", "id"]);
                Target::Literal(id.text)
            }
            (None, None) => {
                let given = table.get("container").is_some() || table.get("id").is_some();
                if !given {
                    let message = format!("{} needs `container` or `id`", table.what);
                    let container = self.containers.first().map_or("web", String::as_str);
                    self.sink.error_with(table.span.clone(), message, |diagnostic| {
                        diagnostic.help(format!("add a line such as `container = \"{container}\"`"))
                    });
                }
                Target::Literal(String::new())
            }
        }
    }

    pub(super) fn when(
        &self,
        table: &Table<'t, '_>,
        at: &'static str,
        moment: &'static str,
    ) -> Option<When> {
        let time = table.duration(at);
        let named = table.string(moment);
        if let (Some(_), Some(named)) = (table.get(at), &named) {
            self.exclude(named.span.clone(), [at, moment]);
        }
        match named {
            Some(named) => Some(When::Moment(self.text(named, Wants::Moment))),
            None => time.map(When::At),
        }
    }
}
