//! From wire messages to state. One bad resource is refused by itself, never half taken.
//!
//! Source: node-proxy specification §4.3, §4.5; §17 for what is refused here and dropped elsewhere.

use std::net::IpAddr;
use std::sync::Arc;

use ambimesh_policy::PolicyKeyError;
use ambimesh_state::{ServiceKeyError, Update};
use ambimesh_types::IdentityError;
use prost::DecodeError;
use prost::Message as _;

use crate::wire::istio::security::Authorization;
use crate::wire::istio::workload::{Address, address};

mod authorization;
mod service;
mod workload;

/// The type of workloads and services.
pub const ADDRESS_TYPE: &str = "type.googleapis.com/istio.workload.Address";
/// The type of L4 policies.
pub const AUTHORIZATION_TYPE: &str = "type.googleapis.com/istio.security.Authorization";

/// Why a resource was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The bytes are no such message.
    #[error("undecodable: {0}")]
    Undecodable(#[from] DecodeError),
    /// A field that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// An address of a length that no family has.
    #[error("address of {0} bytes")]
    AddressLength(usize),
    /// A prefix longer than its address.
    #[error("prefix length {0} is too long")]
    PrefixLength(u32),
    /// A number that is no port.
    #[error("{0} is no port")]
    Port(u32),
    /// A value of an enumeration that this proxy does not know or does not do.
    #[error("{field} {value} is not supported")]
    Unsupported {
        /// Which enumeration.
        field: &'static str,
        /// The number on the wire.
        value: i32,
    },
    /// A string match that asks for nothing.
    #[error("empty string match")]
    EmptyStringMatch,
    /// The resource says that it is another than its name says.
    #[error("describes {0}")]
    Misnamed(String),
    /// A malformed key of a service.
    #[error(transparent)]
    ServiceKey(#[from] ServiceKeyError),
    /// A malformed key of a policy.
    #[error(transparent)]
    PolicyKey(#[from] PolicyKeyError),
    /// A malformed SPIFFE ID.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Converts one resource of a known type.
///
/// # Errors
/// [`ConvertError`] says what is wrong with it; nothing of it may be applied.
pub fn convert(type_url: &str, bytes: &[u8]) -> Result<Update, ConvertError> {
    if type_url == AUTHORIZATION_TYPE {
        let policy = authorization::policy(Authorization::decode(bytes)?)?;
        return Ok(Update::Policy(Arc::new(policy)));
    }
    match Address::decode(bytes)?
        .r#type
        .ok_or(ConvertError::Missing("address type"))?
    {
        address::Type::Workload(message) => {
            Ok(Update::Workload(Arc::new(workload::workload(message)?)))
        }
        address::Type::Service(message) => {
            Ok(Update::Service(Arc::new(service::service(message)?)))
        }
    }
}

/// What to enforce instead of a policy that was refused: the strictest of its kind, so that a
/// defect in it never opens what it was to close. `None` if not even whom it is about is known;
/// workloads that list it are refused for its absence then.
pub(crate) fn substitute(bytes: &[u8], name: &str) -> Option<Update> {
    let policy = authorization::strictest(&Authorization::decode(bytes).ok()?)?;
    (policy.key.as_str() == name).then(|| Update::Policy(Arc::new(policy)))
}

fn ip(bytes: &[u8]) -> Result<IpAddr, ConvertError> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::from(octets));
    }
    <[u8; 16]>::try_from(bytes)
        .map(IpAddr::from)
        .map_err(|_| ConvertError::AddressLength(bytes.len()))
}

fn port(number: u32) -> Result<u16, ConvertError> {
    u16::try_from(number).map_err(|_| ConvertError::Port(number))
}

fn unsupported<T>(field: &'static str, value: i32) -> Result<T, ConvertError> {
    Err(ConvertError::Unsupported { field, value })
}

#[cfg(test)]
mod tests;
