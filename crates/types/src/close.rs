//! Why a connection ended: one closed set for access log, metrics and messages.

use std::fmt;

/// Whose fault an end is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Fault {
    /// Nobody's: the connection ended as its ends wanted.
    None,
    /// The other proxy or the application at the far end.
    Peer,
    /// The application or address we connected to.
    Upstream,
    /// A policy said no.
    Policy,
    /// Discovery or a setting.
    Configuration,
    /// This machine: descriptors, memory, certificates.
    Local,
    /// A defect in this program.
    Bug,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident, $text:literal, $flag:literal, $fault:ident;)+) => {
        /// Every way a connection can end. The label value of metrics, the field of the access log.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum CloseReason { $($(#[$doc])* $variant,)+ }

        impl CloseReason {
            /// Every reason, in the order of this file.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The one spelling used by log, metric and documentation.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// Istio's `response_flags` label for this reason (specification §12.1).
            #[must_use]
            pub fn response_flag(self) -> &'static str {
                match self { $(Self::$variant => $flag,)+ }
            }

            /// Whose fault it is.
            #[must_use]
            pub fn fault(self) -> Fault {
                match self { $(Self::$variant => Fault::$fault,)+ }
            }
        }
    };
}

reasons! {
    /// Both directions ended.
    Finished, "finished", "-", None;
    /// The source reset the connection.
    SourceReset, "source_reset", "-", Peer;
    /// The destination reset the connection.
    DestinationReset, "destination_reset", "-", Upstream;
    /// A policy denied it, at the start.
    PolicyDenied, "policy_denied", "DENY", Policy;
    /// A policy change denied it while it was open.
    PolicyChanged, "policy_changed", "DENY", Policy;
    /// The destination refused or did not answer the TCP connect.
    ConnectFailed, "connect_failed", "CONNECT", Upstream;
    /// The TCP connect to a tunnel port timed out: often a `NetworkPolicy` on 15008.
    TunnelConnectTimeout, "tunnel_connect_timeout", "NETWORK_POLICY", Upstream;
    /// TLS with the other proxy failed.
    TlsFailure, "tls_failure", "TLS_FAILURE", Peer;
    /// The peer's certificate carries none of the identities that discovery announced.
    IdentityMismatch, "identity_mismatch", "TLS_FAILURE", Peer;
    /// The peer broke HTTP/2 or sent no answer in time.
    TunnelFailure, "tunnel_failure", "H2_HANDSHAKE_FAILURE", Peer;
    /// The other proxy answered CONNECT with a refusal.
    TunnelRefused, "tunnel_refused", "CONNECT", Peer;
    /// The peer sent a request that is no CONNECT, or whose authority is not this pod.
    BadRequest, "bad_request", "CONNECT", Peer;
    /// No certificate for this workload's identity.
    NoCertificate, "no_certificate", "IDENTITY_ERROR", Local;
    /// Discovery has not told us about this workload in time.
    WorkloadUnknown, "workload_unknown", "CONNECT", Configuration;
    /// The service has no healthy endpoint.
    NoHealthyEndpoint, "no_healthy_endpoint", "CONNECT", Upstream;
    /// The destination cannot be routed.
    NoRoute, "no_route", "CONNECT", Configuration;
    /// A waypoint is bound but not usable; never bypassed.
    WaypointUnavailable, "waypoint_unavailable", "CONNECT", Configuration;
    /// The proxy was asked to connect to itself.
    Recursion, "recursion", "CONNECT", Configuration;
    /// Draining or shutting down ended it.
    Drained, "drained", "-", Local;
    /// The workload is no longer captured by this proxy.
    WorkloadRemoved, "workload_removed", "-", Local;
    /// A local limit: descriptors, memory, streams.
    ResourceLimit, "resource_limit", "CONNECT", Local;
    /// A defect; the log line says where.
    Internal, "internal", "CONNECT", Bug;
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
