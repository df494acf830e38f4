//! Names of containers: each belongs to one id, each id has one (spec section 3.5).

use std::collections::BTreeMap;

use crate::cri::{ContainerConfig, SandboxConfig};
use crate::ports::{Error, Lock, Name, Ports, Runtime, WriteGuard};
use crate::quote::quote;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Names {
    id_of: BTreeMap<String, String>,
    name_of: BTreeMap<String, String>,
}

impl Names {
    fn reserve(&mut self, name: &str, id: &str) -> Result<(), Error> {
        let error = if name.is_empty() || id.is_empty() {
            format!("invalid name {} or key {}", quote(name), quote(id))
        } else if let Some(holder) = self.id_of.get(name) {
            if holder == id {
                return Ok(());
            }
            format!("name {} is reserved for {}", quote(name), quote(holder))
        } else if let Some(held) = self.name_of.get(id) {
            format!("key {} is reserved for {}", quote(id), quote(held))
        } else {
            self.id_of.insert(name.to_owned(), id.to_owned());
            self.name_of.insert(id.to_owned(), name.to_owned());
            return Ok(());
        };
        Err(Error::unknown(error))
    }

    fn release_by_name(&mut self, name: &str) {
        if let Some(id) = self.id_of.remove(name) {
            self.name_of.remove(&id);
        }
    }

    fn release_by_id(&mut self, id: &str) {
        if let Some(name) = self.name_of.remove(id) {
            self.id_of.remove(&name);
        }
    }
}

/// The name that a container has on its node: `container_pod_namespace_uid_attempt`.
pub fn container_name(config: &ContainerConfig, sandbox: &SandboxConfig) -> String {
    format!(
        "{}_{}_{}_{}_{}",
        config.name, sandbox.name, sandbox.namespace, sandbox.uid, config.attempt
    )
}

/// The registrar of container names. Clones share.
pub struct NameIndex<P: Ports>(<P::Runtime as Runtime>::Lock<Names>);

impl<P: Ports> Clone for NameIndex<P> {
    fn clone(&self) -> Self {
        NameIndex(self.0.clone())
    }
}

impl<P: Ports> NameIndex<P> {
    pub fn new(ports: &P) -> Self {
        NameIndex(ports.runtime().lock(Name::new("names", ""), Names::default()))
    }

    /// Reserving the same pair again is fine.
    ///
    /// # Errors
    /// An empty name or id; a name that another id has; an id that has another name.
    pub async fn reserve(&self, name: &str, id: &str) -> Result<(), Error> {
        self.0.write().await.with_mut(|names| names.reserve(name, id))
    }

    pub async fn release_by_name(&self, name: &str) {
        self.0.write().await.with_mut(|names| names.release_by_name(name));
    }

    /// The id must be given in full.
    pub async fn release_by_id(&self, id: &str) {
        self.0.write().await.with_mut(|names| names.release_by_id(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_bijection() {
        let mut names = Names::default();
        assert_eq!(names.reserve("n1", "1"), Ok(()));
        assert_eq!(names.reserve("n1", "1"), Ok(()));
        for (name, id, message) in [
            ("n1", "2", r#"name "n1" is reserved for "1""#),
            ("n2", "1", r#"key "1" is reserved for "n1""#),
            ("", "1", r#"invalid name "" or key "1""#),
            ("n2", "", r#"invalid name "n2" or key """#),
        ] {
            assert_eq!(names.reserve(name, id), Err(Error::unknown(message)));
        }
        names.release_by_name("n");
        names.release_by_id("");
        assert!(names.reserve("n1", "2").is_err());
        names.release_by_id("1");
        assert_eq!(names.reserve("n1", "2"), Ok(()));
        names.release_by_name("n1");
        assert_eq!(names, Names::default());
    }
}
