//! A container's immutable metadata, and its form in the record's extension (spec section 3.2).

use std::collections::BTreeMap;

use serde::Serialize;

use super::json::{self, Object, is_empty};
use crate::cri::{ContainerConfig, LinuxConfig, NamespaceMode, NamespaceOptions};
use crate::ports::Error;

const VERSION: &str = "v1";

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Metadata {
    pub id: String,
    pub name: String,
    pub sandbox_id: String,
    pub config: ContainerConfig,
    /// Id of the image.
    pub image_ref: String,
    /// Path of the log file; empty: logging is off.
    pub log_path: String,
    /// The image's; may be empty.
    pub stop_signal: String,
    /// SELinux label; may be empty.
    pub process_label: String,
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
    name: &'a str,
    #[serde(rename = "SandboxID")]
    sandbox_id: &'a str,
    config: Config<'a>,
    image_ref: &'a str,
    log_path: &'a str,
    stop_signal: &'a str,
    process_label: &'a str,
}

/// The CRI's ContainerConfig.
#[derive(Serialize)]
struct Config<'a> {
    metadata: ConfigMetadata<'a>,
    image: ImageSpec<'a>,
    #[serde(skip_serializing_if = "slice_is_empty")]
    args: &'a [String],
    #[serde(skip_serializing_if = "is_empty")]
    envs: Vec<KeyValue<'a>>,
    #[serde(skip_serializing_if = "is_empty")]
    labels: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "is_empty")]
    annotations: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "str_is_empty")]
    log_path: &'a str,
    #[serde(skip_serializing_if = "is_empty")]
    stdin: bool,
    #[serde(skip_serializing_if = "is_empty")]
    tty: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    linux: Option<Linux<'a>>,
}

#[derive(Serialize)]
struct ConfigMetadata<'a> {
    #[serde(skip_serializing_if = "str_is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "is_empty")]
    attempt: u32,
}

#[derive(Serialize)]
struct ImageSpec<'a> {
    #[serde(skip_serializing_if = "str_is_empty")]
    image: &'a str,
}

#[derive(Serialize, PartialEq)]
struct KeyValue<'a> {
    #[serde(skip_serializing_if = "str_is_empty")]
    key: &'a str,
    #[serde(skip_serializing_if = "str_is_empty")]
    value: &'a str,
}

#[derive(Serialize)]
struct Linux<'a> {
    resources: LinuxResources,
    security_context: SecurityContext<'a>,
}

#[derive(Serialize)]
struct LinuxResources {
    #[serde(skip_serializing_if = "is_empty")]
    cpu_shares: i64,
    #[serde(skip_serializing_if = "is_empty")]
    memory_limit_in_bytes: i64,
}

#[derive(Serialize)]
struct SecurityContext<'a> {
    namespace_options: Namespaces<'a>,
}

#[derive(Serialize)]
pub(super) struct Namespaces<'a> {
    #[serde(skip_serializing_if = "is_empty")]
    pub network: u8,
    #[serde(skip_serializing_if = "is_empty")]
    pub pid: u8,
    #[serde(skip_serializing_if = "is_empty")]
    pub ipc: u8,
    #[serde(skip_serializing_if = "str_is_empty")]
    pub target_id: &'a str,
}

fn slice_is_empty(slice: &[String]) -> bool {
    slice.is_empty()
}

pub(super) fn str_is_empty(text: &str) -> bool {
    text.is_empty()
}

const MODES: [NamespaceMode; 4] =
    [NamespaceMode::Pod, NamespaceMode::Container, NamespaceMode::Node, NamespaceMode::Target];

/// The number that the CRI's enumeration gives the mode.
pub(super) fn number_of(mode: NamespaceMode) -> u8 {
    match mode {
        NamespaceMode::Pod => 0,
        NamespaceMode::Container => 1,
        NamespaceMode::Node => 2,
        NamespaceMode::Target => 3,
    }
}

pub(super) fn pairs(list: &[(String, String)]) -> BTreeMap<&str, &str> {
    list.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

impl Metadata {
    /// Name of the extension of the container's record that holds the metadata.
    pub const EXTENSION: &str = "io.cri-containerd.container.metadata";

    /// The extension's content: JSON, version `v1`. Labels and annotations are sorted, as keys of a
    /// map.
    pub fn encode(&self) -> Vec<u8> {
        let config = &self.config;
        json::encode(&Versioned {
            version: VERSION,
            metadata: Encoded {
                id: &self.id,
                name: &self.name,
                sandbox_id: &self.sandbox_id,
                config: Config {
                    metadata: ConfigMetadata { name: &config.name, attempt: config.attempt },
                    image: ImageSpec { image: &config.image },
                    args: &config.args,
                    envs: config.env.iter().map(|entry| key_value(entry)).collect(),
                    labels: pairs(&config.labels),
                    annotations: pairs(&config.annotations),
                    log_path: &config.log_path,
                    stdin: config.stdin,
                    tty: config.tty,
                    linux: config.linux.as_ref().map(linux),
                },
                image_ref: &self.image_ref,
                log_path: &self.log_path,
                stop_signal: &self.stop_signal,
                process_label: &self.process_label,
            },
        })
    }

    /// Reads an extension's content.
    ///
    /// # Errors
    /// What is wrong with the JSON; `unsupported version: …`.
    pub fn decode(raw: &[u8]) -> Result<Metadata, Error> {
        let Some(mut object) = Object::parse_metadata(raw, VERSION)? else {
            return Ok(Metadata::default());
        };
        Ok(Metadata {
            id: object.field("ID")?,
            name: object.field("Name")?,
            sandbox_id: object.field("SandboxID")?,
            config: object.object("Config")?.map(decode_config).transpose()?.unwrap_or_default(),
            image_ref: object.field("ImageRef")?,
            log_path: object.field("LogPath")?,
            stop_signal: object.field("StopSignal")?,
            process_label: object.field("ProcessLabel")?,
        })
    }
}

fn key_value(entry: &str) -> KeyValue<'_> {
    let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
    KeyValue { key, value }
}

fn linux(linux: &LinuxConfig) -> Linux<'_> {
    let namespaces = &linux.namespaces;
    Linux {
        resources: LinuxResources {
            cpu_shares: linux.cpu_shares,
            memory_limit_in_bytes: linux.memory_limit_in_bytes,
        },
        security_context: SecurityContext {
            namespace_options: Namespaces {
                network: number_of(namespaces.network),
                pid: number_of(namespaces.pid),
                ipc: number_of(namespaces.ipc),
                target_id: &linux.target_id,
            },
        },
    }
}

fn decode_config(mut object: Object) -> Result<ContainerConfig, Error> {
    let mut config = ContainerConfig {
        log_path: object.field("log_path")?,
        tty: object.field("tty")?,
        stdin: object.field("stdin")?,
        labels: object.field::<BTreeMap<_, _>>("labels")?.into_iter().collect(),
        annotations: object.field::<BTreeMap<_, _>>("annotations")?.into_iter().collect(),
        args: object.field("args")?,
        ..ContainerConfig::default()
    };
    if let Some(mut metadata) = object.object("metadata")? {
        config.name = metadata.field("name")?;
        config.attempt = metadata.field("attempt")?;
    }
    if let Some(mut image) = object.object("image")? {
        config.image = image.field("image")?;
    }
    for mut entry in object.objects("envs")? {
        let (key, value) = (entry.field::<String>("key")?, entry.field::<String>("value")?);
        config.env.push(format!("{key}={value}"));
    }
    config.linux = object.object("linux")?.map(decode_linux).transpose()?;
    Ok(config)
}

fn decode_linux(mut object: Object) -> Result<LinuxConfig, Error> {
    let mut linux = LinuxConfig::default();
    if let Some(mut resources) = object.object("resources")? {
        linux.cpu_shares = resources.field("cpu_shares")?;
        linux.memory_limit_in_bytes = resources.field("memory_limit_in_bytes")?;
    }
    let security = object.object("security_context")?;
    let namespaces = security.map(|mut security| security.object("namespace_options"));
    if let Some(mut namespaces) = namespaces.transpose()?.flatten() {
        linux.namespaces = NamespaceOptions {
            network: decode_mode(&mut namespaces, "network")?,
            pid: decode_mode(&mut namespaces, "pid")?,
            ipc: decode_mode(&mut namespaces, "ipc")?,
        };
        linux.target_id = namespaces.field("target_id")?;
    }
    Ok(linux)
}

pub(super) fn decode_mode(object: &mut Object, name: &str) -> Result<NamespaceMode, Error> {
    let number: usize = object.field(name)?;
    MODES.get(number).copied().ok_or_else(|| {
        Error::unknown(format!("json: cannot unmarshal field {name}: no mode {number}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        let text = |(a, b): (&str, &str)| (a.to_owned(), b.to_owned());
        Metadata {
            id: "1".into(),
            name: "web_pod_ns_uid_0".into(),
            sandbox_id: "s".into(),
            config: ContainerConfig {
                name: "web".into(),
                image: "busybox".into(),
                log_path: "web/0.log".into(),
                stdin: true,
                args: vec!["sleep".into(), "1".into()],
                env: vec!["A=b=c".into(), "D=".into()],
                labels: vec![text(("a", "1")), text(("b", "<"))],
                linux: Some(LinuxConfig {
                    namespaces: NamespaceOptions {
                        pid: NamespaceMode::Target,
                        ipc: NamespaceMode::Node,
                        ..NamespaceOptions::default()
                    },
                    target_id: "2".into(),
                    cpu_shares: 2,
                    ..LinuxConfig::default()
                }),
                ..ContainerConfig::default()
            },
            stop_signal: "SIGINT".into(),
            ..Metadata::default()
        }
    }

    #[test]
    fn encodes_like_go() {
        let expected = concat!(
            r#"{"Version":"v1","Metadata":{"ID":"1","Name":"web_pod_ns_uid_0","SandboxID":"s","#,
            r#""Config":{"metadata":{"name":"web"},"image":{"image":"busybox"},"#,
            r#""args":["sleep","1"],"envs":[{"key":"A","value":"b=c"},{"key":"D"}],"#,
            r#""labels":{"a":"1","b":"\u003c"},"log_path":"web/0.log","stdin":true,"#,
            r#""linux":{"resources":{"cpu_shares":2},"security_context":{"namespace_options":"#,
            r#"{"pid":3,"ipc":2,"target_id":"2"}}}},"ImageRef":"","LogPath":"","#,
            r#""StopSignal":"SIGINT","ProcessLabel":""}}"#,
        );
        assert_eq!(String::from_utf8(metadata().encode()).unwrap(), expected);
        let empty = String::from_utf8(Metadata::default().encode()).unwrap();
        assert!(!empty.contains("args"), "{empty}");
    }

    #[test]
    fn decodes_what_it_encoded() {
        for metadata in [metadata(), Metadata::default()] {
            assert_eq!(Metadata::decode(&metadata.encode()), Ok(metadata));
        }
    }

    #[test]
    fn refuses_other_versions() {
        for (raw, message) in [
            (&br#"{"Version":"v2"}"#[..], r#"unsupported version: "v2""#),
            (b"{}", r#"unsupported version: """#),
        ] {
            assert_eq!(Metadata::decode(raw), Err(Error::unknown(message)));
        }
        let mode = br#"{"Version":"v1","Metadata":{"Config":{"linux":{"security_context":
            {"namespace_options":{"pid":4}}}}}}"#;
        assert!(Metadata::decode(mode).is_err());
    }
}
