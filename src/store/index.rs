//! Ids that may be given by a unique prefix (spec section 3.3).

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::ports::{Code, Error};

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PrefixIndex(BTreeSet<String>);

impl PrefixIndex {
    /// # Errors
    /// An id with a blank in it, an empty one, one that is there already.
    pub fn add(&mut self, id: &str) -> Result<(), Error> {
        if id.contains(' ') {
            return Err(Error::unknown("illegal character: ' '"));
        }
        if id.is_empty() {
            return Err(empty_prefix());
        }
        if !self.0.insert(id.to_owned()) {
            return Err(Error::unknown(format!("id already exists: '{id}'")));
        }
        Ok(())
    }

    /// The id that begins with `prefix`.
    ///
    /// # Errors
    /// NotFound; of class unknown: an empty prefix, and one that several ids begin with, even when
    /// one of them equals it.
    pub fn get(&self, prefix: &str) -> Result<&str, Error> {
        if prefix.is_empty() {
            return Err(empty_prefix());
        }
        let mut found = self
            .0
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|id| id.starts_with(prefix));
        match (found.next(), found.next()) {
            (None, _) => Err(Error::bare(Code::NotFound)),
            (Some(id), None) => Ok(id),
            (Some(_), Some(_)) => {
                Err(Error::unknown(format!("Multiple IDs found with provided prefix: {prefix}")))
            }
        }
    }

    pub fn delete(&mut self, id: &str) {
        self.0.remove(id);
    }
}

fn empty_prefix() -> Error {
    Error::unknown("Prefix can't be empty")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_unique_prefixes_only() {
        let mut index = PrefixIndex::default();
        for id in ["abc", "abcd", "b", "\u{e9}t\u{e9}"] {
            index.add(id).unwrap();
        }
        for (prefix, id) in [("abcd", "abcd"), ("b", "b"), ("\u{e9}", "\u{e9}t\u{e9}")] {
            assert_eq!(index.get(prefix), Ok(id));
        }
        for (prefix, message) in [
            ("", "Prefix can't be empty"),
            ("c", "not found"),
            ("abcde", "not found"),
            ("ab", "Multiple IDs found with provided prefix: ab"),
            ("abc", "Multiple IDs found with provided prefix: abc"),
        ] {
            let error = index.get(prefix).unwrap_err();
            assert_eq!(error.message, message);
            assert_eq!(error.is_not_found(), message == "not found");
        }
        index.delete("abcd");
        index.delete("abcd");
        assert_eq!(index.get("ab"), Ok("abc"));
    }

    #[test]
    fn refuses_ids() {
        let mut index = PrefixIndex::default();
        index.add("a").unwrap();
        for (id, message) in [
            ("a", "id already exists: 'a'"),
            ("a b", "illegal character: ' '"),
            ("", "Prefix can't be empty"),
        ] {
            assert_eq!(index.add(id), Err(Error::unknown(message)));
        }
    }
}
