//! What a caller says about itself in the `baggage` header.

/// Attributes of the calling workload; empty where the caller is silent. A claim, not a proof: for
/// metrics and logs only. Source: node-proxy specification §6.2.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Baggage<'a> {
    pub(super) cluster: &'a str,
    pub(super) namespace: &'a str,
    pub(super) workload: &'a str,
    pub(super) service: &'a str,
    pub(super) version: &'a str,
    pub(super) region: &'a str,
    pub(super) zone: &'a str,
}

/// Longest value that becomes a label. A peer must not fill our memory with series names.
const MAX_VALUE_BYTES: usize = 253;

impl<'a> Baggage<'a> {
    /// Reads a header; unknown keys and values that are too long are left out.
    pub(super) fn parse(text: &'a str) -> Self {
        let mut baggage = Self::default();
        if !text.is_ascii() {
            return baggage;
        }
        for (key, value) in text.split(',').filter_map(|pair| pair.split_once('=')) {
            let value = value.split('=').next().unwrap_or_default();
            if value.len() > MAX_VALUE_BYTES {
                continue;
            }
            match key {
                "k8s.cluster.name" => baggage.cluster = value,
                "k8s.namespace.name" => baggage.namespace = value,
                "k8s.deployment.name" | "k8s.cronjob.name" | "k8s.pod.name" | "k8s.job.name" => {
                    baggage.workload = value;
                }
                "service.name" => baggage.service = value,
                "service.version" => baggage.version = value,
                "cloud.region" => baggage.region = value,
                "cloud.availability_zone" => baggage.zone = value,
                _ => {}
            }
        }
        baggage
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Known keys are read; everything odd is left out.
    #[test]
    fn known_keys_are_read() {
        let text = "k8s.cluster.name=c,k8s.namespace.name=ns,k8s.deployment.name=web,service.name=web-svc,\
                    service.version=v1=x,cloud.region=r,cloud.availability_zone=z,other=1,broken";

        let expected = Baggage {
            cluster: "c",
            namespace: "ns",
            workload: "web",
            service: "web-svc",
            version: "v1",
            region: "r",
            zone: "z",
        };
        assert_eq!(Baggage::parse(text), expected);
        assert_eq!(Baggage::parse("service.name=wéb"), Baggage::default());
        assert_eq!(
            Baggage::parse(&format!("service.name={}", "x".repeat(300))),
            Baggage::default()
        );
    }

    proptest! {
        /// No header makes the parser panic.
        #[test]
        fn any_text_is_answered(text in ".{0,200}") {
            let _ = Baggage::parse(&text);
        }
    }
}
