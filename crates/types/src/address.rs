//! Addresses by the role they play in a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Where a connection comes from, as its socket says. Never an IPv4-mapped IPv6 address.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SourceAddr(SocketAddr);

/// Where the application wanted to go before redirection. Never an IPv4-mapped IPv6 address.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct OriginalDst(SocketAddr);

macro_rules! role {
    ($role:ident) => {
        impl $role {
            /// Takes the socket's address; an IPv4-mapped one becomes IPv4.
            #[must_use]
            pub fn new(address: SocketAddr) -> Self {
                Self(canonical(address))
            }

            /// Address and port.
            #[must_use]
            pub fn socket_addr(self) -> SocketAddr {
                self.0
            }

            /// Address alone.
            #[must_use]
            pub fn ip(self) -> IpAddr {
                self.0.ip()
            }

            /// Port alone.
            #[must_use]
            pub fn port(self) -> u16 {
                self.0.port()
            }
        }

        impl fmt::Display for $role {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

role!(SourceAddr);
role!(OriginalDst);

/// The target of a CONNECT request: `ip:port` or `hostname:port`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Authority {
    /// A literal address; IPv6 in brackets on the wire.
    Address(SocketAddr),
    /// A service's hostname, only towards gateways.
    Hostname(Box<str>, u16),
}

/// Text that is no CONNECT target.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no valid authority pseudo header: {text}")]
pub struct AuthorityError {
    text: String,
}

impl Authority {
    /// The port that was asked for.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Address(address) => address.port(),
            Self::Hostname(_, port) => *port,
        }
    }
}

impl FromStr for Authority {
    type Err = AuthorityError;

    fn from_str(text: &str) -> Result<Self, AuthorityError> {
        let fail = || AuthorityError {
            text: text.to_owned(),
        };
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self::Address(canonical(address)));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(fail)?;
        let port = port.parse().map_err(|_| fail())?;
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        if host.is_empty() || !host.bytes().all(is_name) {
            return Err(fail());
        }
        Ok(Self::Hostname(host.into(), port))
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Hostname(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A dual-stack listener's mapped addresses become IPv4 before any lookup (specification §1).
    #[test]
    fn mapped_addresses_become_ipv4() {
        let source = SourceAddr::new("[::ffff:198.18.1.10]:4000".parse().unwrap());

        assert_eq!(source.to_string(), "198.18.1.10:4000");
    }

    /// Specification §6.2: an authority is `ip:port`, `[v6]:port` or `hostname:port`.
    #[test]
    fn authorities_of_every_form_survive_printing() {
        for text in [
            "10.0.0.1:80",
            "[fd98::1]:8080",
            "web.demo.svc.cluster.local:80",
        ] {
            assert_eq!(text.parse::<Authority>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "10.0.0.1",
            "host",
            "host:",
            ":80",
            "host:70000",
            "a b:80",
            "fd98::1:80",
        ] {
            assert!(text.parse::<Authority>().is_err(), "{text}");
        }
    }

    proptest! {
        /// No text makes the parser panic.
        #[test]
        fn any_text_is_answered(text in ".{0,80}") {
            let _ = text.parse::<Authority>();
        }
    }
}
