//! How to reach discovery and the certificate authority, and who we say we are.

mod observer;
mod tls;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ambimesh_xds::Server;
use ambimesh_xds::wire::envoy::service::discovery::v3::Node;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};

use crate::config::{Config, Endpoint, TokenSource};

pub(crate) use observer::{DiscoveryCounters, DiscoveryObserver};

/// One server, as the clients want it. Roots and token are read anew each time.
pub(crate) fn server(endpoint: &Endpoint, config: &Config) -> Server {
    let (root, alternative_name) = (endpoint.root.clone(), endpoint.alternative_name.clone());
    let source = config.token.clone();
    let mut headers = endpoint.headers.clone();
    headers.push(("clusterid".to_owned(), config.cluster_id.clone()));
    Server {
        host: endpoint.host.clone(),
        port: endpoint.port,
        tls: Arc::new(move || tls::client_config(&root, alternative_name.as_deref())),
        token: Arc::new(move || token(&source)),
        headers,
    }
}

/// Who we are to discovery. The type `ztunnel` selects what we are sent. Source: specification §4.1.
pub(crate) fn node(config: &Config) -> Node {
    let own = &config.own;
    let ip = own.instance_ip.as_deref().unwrap_or("1.1.1.1");
    let (name, namespace) = (&own.name, &own.namespace);
    let text = |text: &str| serde_json::Value::from(text);
    let mut metadata = config.metadata.clone();
    metadata.insert("NAME".to_owned(), text(name));
    metadata.insert("NAMESPACE".to_owned(), text(namespace));
    metadata.insert("INSTANCE_IPS".to_owned(), text(ip));
    metadata.insert(
        "NODE_NAME".to_owned(),
        text(config.node_name.as_deref().unwrap_or_default()),
    );
    metadata
        .entry("CLUSTER_ID".to_owned())
        .or_insert_with(|| text(&config.cluster_id));
    Node {
        id: format!("ztunnel~{ip}~{name}.{namespace}~{namespace}.svc.cluster.local"),
        metadata: Some(structure(&metadata)),
        ..Node::default()
    }
}

fn structure(values: &BTreeMap<String, serde_json::Value>) -> Struct {
    Struct {
        fields: values
            .iter()
            .map(|(name, value)| (name.clone(), wire_value(value)))
            .collect(),
    }
}

fn wire_value(value: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(flag) => Kind::BoolValue(*flag),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(values) => Kind::ListValue(ListValue {
            values: values.iter().map(wire_value).collect(),
        }),
        Json::Object(fields) => Kind::StructValue(Struct {
            fields: fields
                .iter()
                .map(|(name, value)| (name.clone(), wire_value(value)))
                .collect(),
        }),
    };
    Value { kind: Some(kind) }
}

fn token(source: &TokenSource) -> Result<Option<String>, String> {
    match source {
        TokenSource::None => Ok(None),
        TokenSource::Literal(token) => Ok(Some(token.clone())),
        TokenSource::File(path) => read_token(path).map(Some),
    }
}

fn read_token(path: &Path) -> Result<String, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    // Editors end files with a newline, which no header may have.
    match text.trim_end() {
        "" => Err(format!("{} is empty", path.display())),
        token => Ok(token.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Machine;

    /// Discovery learns who we are in the form that selects the node proxy's resources.
    #[test]
    fn the_node_is_a_ztunnel() {
        let variables = [
            ("POD_NAME", "ztunnel-node-1"),
            ("POD_NAMESPACE", "istio-system"),
            ("INSTANCE_IP", "198.18.0.2"),
            ("NODE_NAME", "node-1"),
            ("CLUSTER_ID", "Kubernetes"),
            ("ISTIO_META_ENABLE_HBONE", "true"),
        ];
        let variables = variables
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let machine = Machine {
            logical_cpus: 1,
            exists: &|_| false,
        };
        let config = Config::from_environment(&variables, &machine).unwrap();

        let node = node(&config);

        assert_eq!(
            node.id,
            "ztunnel~198.18.0.2~ztunnel-node-1.istio-system~istio-system.svc.cluster.local"
        );
        let fields = node.metadata.unwrap().fields;
        let text = |name: &str| match fields[name].kind.as_ref() {
            Some(Kind::StringValue(text)) => text.clone(),
            _ => String::new(),
        };
        assert_eq!(
            (text("NODE_NAME"), text("CLUSTER_ID")),
            ("node-1".to_owned(), "Kubernetes".to_owned())
        );
        assert_eq!(
            (text("INSTANCE_IPS"), text("ENABLE_HBONE")),
            ("198.18.0.2".to_owned(), "true".to_owned())
        );
    }

    /// A token file is read without its final newline; an empty one is an error, not an empty token.
    #[test]
    fn token_files_are_read_each_time() {
        let path = std::env::temp_dir().join(format!("ambimesh-token-{}", std::process::id()));
        std::fs::write(&path, "first\n").unwrap();
        let source = TokenSource::File(path.clone());

        assert_eq!(token(&source), Ok(Some("first".to_owned())));
        std::fs::write(&path, "second").unwrap();
        assert_eq!(token(&source), Ok(Some("second".to_owned())));
        std::fs::write(&path, "\n").unwrap();
        assert!(token(&source).unwrap_err().contains("is empty"));
        std::fs::remove_file(&path).unwrap();
        assert!(token(&source).is_err());
    }
}
