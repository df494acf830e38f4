//! How many different states a search came to.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The states in which runs came to rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct States {
    reached: BTreeSet<State>,
    /// Runs that did not come to rest, or of whose state it is not known what others come to the same.
    apart: u64,
}

/// A hash that is the same in every process. Written in hexadecimal, as not every reader of JSON has numbers that large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct State(u64);

impl States {
    /// A run came to this one.
    pub fn note(&mut self, state: Option<u64>) {
        match state {
            Some(state) => drop(self.reached.insert(State(state))),
            None => self.apart += 1,
        }
    }

    pub fn extend(&mut self, other: States) {
        self.reached.extend(other.reached);
        self.apart += other.apart;
    }

    /// A run whose state is not known counts as one of its own.
    pub fn count(&self) -> u64 {
        self.reached.len() as u64 + self.apart
    }
}

impl From<State> for String {
    fn from(State(hash): State) -> String {
        format!("{hash:016x}")
    }
}

impl TryFrom<String> for State {
    type Error = String;

    fn try_from(text: String) -> Result<State, String> {
        let hash = u64::from_str_radix(&text, 16);
        hash.map(State).map_err(|_| format!("expected 16 hexadecimal digits, found `{text}`"))
    }
}
