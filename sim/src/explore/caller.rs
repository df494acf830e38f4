//! Which faults a caller can meet.

use crate::oracle::{Effect, Fault};
use crate::turnstile::{Awaited, Op};

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub awaited: Awaited,
    /// Its context has no end.
    pub endless: bool,
}

impl Caller {
    /// Whether a call of its can meet a fault, on a real node.
    pub fn can_meet(self, fault: &Fault, op: Op) -> bool {
        let can_be = match (fault, self.awaited) {
            (Fault::Cancel { .. } | Fault::Deadline { .. }, Awaited::ByNoClient) => false,
            (Fault::Cancel { effect } | Fault::Deadline { effect }, Awaited::Blindly) => {
                !matches!(effect, Effect::Late(_))
            }
            _ => true,
        };
        can_be && !fault.clone().awaited(self.endless).is_forced(op)
    }
}
