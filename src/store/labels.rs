//! How many containers use each SELinux level (spec section 3.3).

use std::collections::BTreeMap;

use crate::ports::Error;

/// Counts the users of each MCS level.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LabelStore(BTreeMap<String, u32>);

impl LabelStore {
    /// Counts a user of the label's level. True when it is the first: SELinux must then keep the
    /// level from being handed out again. A label without a level does not count.
    ///
    /// # Errors
    /// A label with fewer than three parts.
    pub fn reserve(&mut self, label: &str) -> Result<bool, Error> {
        let Some(level) = level_of(label)? else { return Ok(false) };
        let users = self.0.entry(level.to_owned()).or_default();
        *users = users.saturating_add(1);
        Ok(*users == 1)
    }

    /// How many use each level that is in use.
    pub fn users(&self) -> &BTreeMap<String, u32> {
        &self.0
    }

    /// Takes a user of the label's level away. True when it was the last: the level is free again.
    pub fn release(&mut self, label: &str) -> bool {
        let Ok(Some(level)) = level_of(label) else { return false };
        match self.0.get_mut(level) {
            None => false,
            Some(users) if *users > 1 => {
                *users -= 1;
                false
            }
            Some(_) => self.0.remove(level).is_some(),
        }
    }
}

/// The level of `user:role:type:level`; it may hold colons itself.
fn level_of(label: &str) -> Result<Option<&str>, Error> {
    if label.is_empty() {
        return Ok(None);
    }
    let mut parts = label.splitn(4, ':');
    if parts.by_ref().take(3).count() < 3 {
        return Err(Error::unknown("Invalid Label"));
    }
    Ok(parts.next().filter(|level| !level.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_users_of_a_level() {
        let mut labels = LabelStore::default();
        let label = "system_u:system_r:container_t:s0:c4,c5";
        assert_eq!(labels.reserve(label), Ok(true));
        assert_eq!(labels.reserve("u:r:t:s0:c4,c5"), Ok(false));
        assert!(!labels.release(label));
        assert!(labels.release(label));
        assert!(!labels.release(label));
        assert_eq!(labels.reserve(label), Ok(true));
    }

    #[test]
    fn passes_over_labels_without_a_level() {
        let mut labels = LabelStore::default();
        for label in ["", "u:r:t", "u:r:t:"] {
            assert_eq!(labels.reserve(label), Ok(false));
            assert!(!labels.release(label));
        }
        assert_eq!(labels.reserve("u:r"), Err(Error::unknown("Invalid Label")));
        assert!(!labels.release("u:r"));
        assert_eq!(labels, LabelStore::default());
    }
}
