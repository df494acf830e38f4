//! A sandbox's immutable metadata, and its form in the record's extension (spec section 8.3).

use std::collections::BTreeMap;

use serde::Serialize;

use super::json::{self, Object, is_empty};
use super::metadata::{Namespaces, decode_mode, number_of, pairs, str_is_empty};
use crate::cri::{NamespaceOptions, SandboxConfig};
use crate::ports::Error;

const VERSION: &str = "v1";

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct SandboxMetadata {
    pub id: String,
    pub config: SandboxConfig,
    pub runtime_handler: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Versioned<'a> {
    version: &'a str,
    metadata: Encoded<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Encoded<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: String,
    config: Config<'a>,
    runtime_handler: &'a str,
}

/// The CRI's PodSandboxConfig.
#[derive(Serialize)]
struct Config<'a> {
    metadata: ConfigMetadata<'a>,
    #[serde(skip_serializing_if = "str_is_empty")]
    log_directory: &'a str,
    #[serde(skip_serializing_if = "is_empty")]
    annotations: BTreeMap<&'a str, &'a str>,
    linux: Linux<'a>,
}

#[derive(Serialize)]
struct ConfigMetadata<'a> {
    #[serde(skip_serializing_if = "str_is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str_is_empty")]
    uid: &'a str,
    #[serde(skip_serializing_if = "str_is_empty")]
    namespace: &'a str,
    #[serde(skip_serializing_if = "is_empty")]
    attempt: u32,
}

#[derive(Serialize)]
struct Linux<'a> {
    security_context: SecurityContext<'a>,
}

#[derive(Serialize)]
struct SecurityContext<'a> {
    namespace_options: Namespaces<'a>,
    #[serde(skip_serializing_if = "is_empty")]
    privileged: bool,
}

impl SandboxMetadata {
    /// Name of the extension of the sandbox's record that holds the metadata.
    pub const EXTENSION: &str = "io.cri-containerd.sandbox.metadata";

    /// `⟨pod⟩_⟨namespace⟩_⟨pod uid⟩_⟨attempt⟩`
    pub fn name(&self) -> String {
        let SandboxConfig { name, namespace, uid, attempt, .. } = &self.config;
        format!("{name}_{namespace}_{uid}_{attempt}")
    }

    /// The extension's content: JSON, version `v1`. Annotations are sorted, as keys of a map.
    pub fn encode(&self) -> Vec<u8> {
        let config = &self.config;
        let SandboxConfig { name, uid, namespace, attempt, .. } = config;
        let NamespaceOptions { network, pid, ipc } = config.namespaces;
        json::encode(&Versioned {
            version: VERSION,
            metadata: Encoded {
                id: &self.id,
                name: self.name(),
                config: Config {
                    metadata: ConfigMetadata { name, uid, namespace, attempt: *attempt },
                    log_directory: &config.log_directory,
                    annotations: pairs(&config.annotations),
                    linux: Linux {
                        security_context: SecurityContext {
                            namespace_options: Namespaces {
                                network: number_of(network),
                                pid: number_of(pid),
                                ipc: number_of(ipc),
                                target_id: "",
                            },
                            privileged: config.privileged,
                        },
                    },
                },
                runtime_handler: &self.runtime_handler,
            },
        })
    }

    /// Reads an extension's content.
    ///
    /// # Errors
    /// What is wrong with the JSON; `unsupported version: …`.
    pub fn decode(raw: &[u8]) -> Result<SandboxMetadata, Error> {
        let Some(mut object) = Object::parse_metadata(raw, VERSION)? else {
            return Ok(SandboxMetadata::default());
        };
        Ok(SandboxMetadata {
            id: object.field("ID")?,
            config: object.object("Config")?.map(decode_config).transpose()?.unwrap_or_default(),
            runtime_handler: object.field("RuntimeHandler")?,
        })
    }
}

fn decode_config(mut object: Object) -> Result<SandboxConfig, Error> {
    let mut config = SandboxConfig {
        log_directory: object.field("log_directory")?,
        annotations: object.field::<BTreeMap<_, _>>("annotations")?.into_iter().collect(),
        ..SandboxConfig::default()
    };
    if let Some(mut metadata) = object.object("metadata")? {
        config.name = metadata.field("name")?;
        config.uid = metadata.field("uid")?;
        config.namespace = metadata.field("namespace")?;
        config.attempt = metadata.field("attempt")?;
    }
    let Some(mut linux) = object.object("linux")? else { return Ok(config) };
    let Some(mut security) = linux.object("security_context")? else { return Ok(config) };
    config.privileged = security.field("privileged")?;
    if let Some(mut namespaces) = security.object("namespace_options")? {
        config.namespaces = NamespaceOptions {
            network: decode_mode(&mut namespaces, "network")?,
            pid: decode_mode(&mut namespaces, "pid")?,
            ipc: decode_mode(&mut namespaces, "ipc")?,
        };
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cri::NamespaceMode;

    fn metadata() -> SandboxMetadata {
        SandboxMetadata {
            id: "1".into(),
            config: SandboxConfig {
                name: "pod".into(),
                namespace: "ns".into(),
                uid: "uid".into(),
                attempt: 2,
                log_directory: "/var/log/pods/pod".into(),
                annotations: vec![("a".into(), "<".into())],
                namespaces: NamespaceOptions {
                    network: NamespaceMode::Node,
                    ..NamespaceOptions::default()
                },
                privileged: true,
            },
            runtime_handler: "kata".into(),
        }
    }

    #[test]
    fn encodes_like_go() {
        let expected = concat!(
            r#"{"Version":"v1","Metadata":{"ID":"1","Name":"pod_ns_uid_2","Config":{"metadata":"#,
            r#"{"name":"pod","uid":"uid","namespace":"ns","attempt":2},"#,
            r#""log_directory":"/var/log/pods/pod","annotations":{"a":"\u003c"},"#,
            r#""linux":{"security_context":{"namespace_options":{"network":2},"privileged":true}}},"#,
            r#""RuntimeHandler":"kata"}}"#
        );
        assert_eq!(String::from_utf8(metadata().encode()).unwrap(), expected);
    }

    #[test]
    fn decodes_what_it_encoded() {
        assert_eq!(SandboxMetadata::decode(&metadata().encode()), Ok(metadata()));
        let bare = SandboxMetadata { id: "2".into(), ..SandboxMetadata::default() };
        assert_eq!(SandboxMetadata::decode(&bare.encode()), Ok(bare));
        let error = SandboxMetadata::decode(br#"{"Version":"v2"}"#).unwrap_err();
        assert_eq!(error.message, r#"unsupported version: "v2""#);
    }
}
