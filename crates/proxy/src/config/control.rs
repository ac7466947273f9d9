//! Where discovery and the certificate authority are, and how we prove who we are.

use std::path::{Path, PathBuf};

use super::Machine;
use super::environment::{ConfigError, Environment};

/// A server of the control plane.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// Host name or address literal, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who vouches for it.
    pub root: RootSource,
    /// A further name that its certificate may carry.
    pub alternative_name: Option<String>,
    /// Extra request headers.
    pub headers: Vec<(String, String)>,
}

/// Root certificates of a server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RootSource {
    /// A PEM file, read again for each connection.
    File(PathBuf),
    /// The machine's own store.
    System,
    /// PEM text.
    Inline(String),
}

/// The bearer token of our requests. Its `Debug` never shows a literal token.
#[derive(Clone, Eq, PartialEq)]
pub enum TokenSource {
    /// No token at all.
    None,
    /// A file, read again for each request.
    File(PathBuf),
    /// The token itself.
    Literal(String),
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Literal(_) => f.write_str("Literal(..)"),
        }
    }
}

/// Names of the variables that describe one server.
pub(super) struct Names {
    address: &'static str,
    root: &'static str,
    alternative_name: &'static str,
    header_prefix: &'static str,
}

pub(super) const DISCOVERY: Names = Names {
    address: "XDS_ADDRESS",
    root: "XDS_ROOT_CA",
    alternative_name: "ALT_XDS_HOSTNAME",
    header_prefix: "XDS_HEADER_",
};

pub(super) const AUTHORITY: Names = Names {
    address: "CA_ADDRESS",
    root: "CA_ROOT_CA",
    alternative_name: "ALT_CA_HOSTNAME",
    header_prefix: "CA_HEADER_",
};

const DEFAULT_PORT: u16 = 15012;
const DEFAULT_ROOT: &str = "./var/run/secrets/istio/root-cert.pem";
const DEFAULT_TOKEN: &str = "./var/run/secrets/tokens/istio-token";

/// The server, or `None` if its address is set to nothing.
pub(super) fn endpoint(
    env: &Environment<'_>,
    names: &Names,
    machine: &Machine<'_>,
) -> Result<Option<Endpoint>, ConfigError> {
    let in_cluster = env.raw("KUBERNETES_SERVICE_HOST").is_some();
    let default = if in_cluster {
        "istiod.istio-system.svc:15012"
    } else {
        "localhost:15012"
    };
    let address = env.raw(names.address).unwrap_or(default);
    if address.is_empty() {
        return Ok(None);
    }
    let (host, port) =
        host_and_port(address).map_err(|problem| env.error(names.address, problem))?;
    Ok(Some(Endpoint {
        host,
        port,
        root: root(env, names.root, machine)?,
        alternative_name: env.text(names.alternative_name).map(str::to_owned),
        headers: env
            .with_prefix(names.header_prefix)
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
    }))
}

/// A path that exists is a file; anything else that is set is the token itself.
pub(super) fn token(env: &Environment<'_>, machine: &Machine<'_>) -> TokenSource {
    match env.text("AUTH_TOKEN") {
        Some(text) if (machine.exists)(Path::new(text)) => TokenSource::File(text.into()),
        Some(text) => TokenSource::Literal(text.to_owned()),
        None if (machine.exists)(Path::new(DEFAULT_TOKEN)) => {
            TokenSource::File(DEFAULT_TOKEN.into())
        }
        None => TokenSource::None,
    }
}

fn root(
    env: &Environment<'_>,
    name: &str,
    machine: &Machine<'_>,
) -> Result<RootSource, ConfigError> {
    match env.text(name) {
        // The file may appear later: it is read when we connect.
        None => Ok(RootSource::File(DEFAULT_ROOT.into())),
        Some("SYSTEM") => Ok(RootSource::System),
        Some(text) if text.contains("-----BEGIN") => Ok(RootSource::Inline(text.to_owned())),
        Some(path) if (machine.exists)(Path::new(path)) => Ok(RootSource::File(path.into())),
        Some(_) => Err(env.error(name, "is neither a file that exists, SYSTEM, nor PEM text")),
    }
}

fn host_and_port(address: &str) -> Result<(String, u16), &'static str> {
    let rest = match address.split_once("://") {
        Some(("https", rest)) => rest,
        Some(_) => return Err("is not an https address; plaintext is refused"),
        None => address,
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, after)) => (
            host,
            Some(
                after
                    .strip_prefix(':')
                    .ok_or("is not of the form host:port")?,
            ),
        ),
        None => rest
            .split_once(':')
            .map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._:%".contains(&b);
    if host.is_empty() || !host.bytes().all(is_name) {
        return Err("is not of the form host:port");
    }
    let port = match port {
        Some(text) => text.parse().map_err(|_| "has no valid port")?,
        None => DEFAULT_PORT,
    };
    Ok((host.to_owned(), port))
}
