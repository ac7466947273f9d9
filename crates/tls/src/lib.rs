//! TLS of tunnels: configurations, SPIFFE verification, certificate requests, records
