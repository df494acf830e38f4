//! Which runtime serves a sandbox (spec section 6.2).

use crate::config::{Config, RuntimeConfig};
use crate::cri::{NamespaceMode, SandboxConfig};
use crate::ports::Error;
use crate::quote::quote;

const UNTRUSTED_ANNOTATION: &str = "io.kubernetes.cri.untrusted-workload";
const UNTRUSTED_HANDLER: &str = "untrusted";

/// The runtime configured for a sandbox.
///
/// # Errors
/// An untrusted workload that asks for a runtime or for the host's namespaces; a handler that is
/// not configured.
pub fn sandbox_runtime<'a>(
    config: &'a Config,
    sandbox: &SandboxConfig,
    handler: &str,
) -> Result<&'a RuntimeConfig, Error> {
    let mut handler = handler;
    if is_untrusted(sandbox) {
        if !handler.is_empty() && handler != UNTRUSTED_HANDLER {
            return Err(Error::unknown(
                "untrusted workload with explicit runtime handler is not allowed",
            ));
        }
        if has_host_access(sandbox) {
            return Err(Error::unknown("untrusted workload with host access is not allowed"));
        }
        handler = UNTRUSTED_HANDLER;
    }
    if handler.is_empty() {
        handler = &config.default_runtime;
    }
    config
        .runtimes
        .get(handler)
        .ok_or_else(|| Error::unknown(format!("no runtime for {} is configured", quote(handler))))
}

fn is_untrusted(sandbox: &SandboxConfig) -> bool {
    sandbox.annotations.iter().any(|(key, value)| key == UNTRUSTED_ANNOTATION && value == "true")
}

fn has_host_access(sandbox: &SandboxConfig) -> bool {
    let namespaces = sandbox.namespaces;
    [namespaces.network, namespaces.pid, namespaces.ipc].contains(&NamespaceMode::Node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cri::NamespaceOptions;

    fn config() -> Config {
        let mut config = Config::default();
        let kata = RuntimeConfig { kind: "io.containerd.kata.v2".into(), path: "/kata".into() };
        config.runtimes.insert("untrusted".into(), kata);
        config
    }

    fn untrusted(value: &str) -> SandboxConfig {
        SandboxConfig {
            annotations: vec![(UNTRUSTED_ANNOTATION.into(), value.into())],
            ..SandboxConfig::default()
        }
    }

    fn kind(sandbox: &SandboxConfig, handler: &str) -> Result<String, String> {
        sandbox_runtime(&config(), sandbox, handler)
            .map(|runtime| runtime.kind.clone())
            .map_err(|error| error.message)
    }

    #[test]
    fn trusted_sandboxes_get_the_named_or_the_default_runtime() {
        let sandbox = SandboxConfig::default();
        assert_eq!(kind(&sandbox, "").as_deref(), Ok("io.containerd.runc.v2"));
        assert_eq!(kind(&sandbox, "runc").as_deref(), Ok("io.containerd.runc.v2"));
        assert_eq!(kind(&sandbox, "untrusted").as_deref(), Ok("io.containerd.kata.v2"));
        assert_eq!(
            kind(&sandbox, "no\"pe"),
            Err(r#"no runtime for "no\"pe" is configured"#.to_owned())
        );
        assert_eq!(kind(&untrusted("True"), "").as_deref(), Ok("io.containerd.runc.v2"));
    }

    #[test]
    fn untrusted_sandboxes_get_neither_a_choice_nor_the_host() {
        assert_eq!(kind(&untrusted("true"), "").as_deref(), Ok("io.containerd.kata.v2"));
        assert_eq!(kind(&untrusted("true"), "untrusted").as_deref(), Ok("io.containerd.kata.v2"));
        assert_eq!(
            kind(&untrusted("true"), "runc"),
            Err("untrusted workload with explicit runtime handler is not allowed".to_owned())
        );
        let node = NamespaceMode::Node;
        for namespaces in [
            NamespaceOptions { network: node, ..NamespaceOptions::default() },
            NamespaceOptions { pid: node, ..NamespaceOptions::default() },
            NamespaceOptions { ipc: node, ..NamespaceOptions::default() },
        ] {
            let sandbox = SandboxConfig { namespaces, ..untrusted("true") };
            assert_eq!(
                kind(&sandbox, ""),
                Err("untrusted workload with host access is not allowed".to_owned())
            );
        }
        let privileged = SandboxConfig { privileged: true, ..untrusted("true") };
        assert_eq!(kind(&privileged, "").as_deref(), Ok("io.containerd.kata.v2"));
    }

    #[test]
    fn an_untrusted_runtime_has_to_be_configured() {
        assert_eq!(
            sandbox_runtime(&Config::default(), &untrusted("true"), "").unwrap_err().message,
            r#"no runtime for "untrusted" is configured"#
        );
    }
}
