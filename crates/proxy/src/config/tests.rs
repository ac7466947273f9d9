use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let map = variables
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    let exists = |path: &Path| path.starts_with("/exists");
    Config::from_environment(
        &map,
        &Machine {
            logical_cpus: 4,
            exists: &exists,
        },
    )
}

/// With nothing set, everything has the documented default.
#[test]
fn an_empty_environment_gives_the_documented_defaults() {
    let config = read(&[]).unwrap();

    assert_eq!(
        config.mode,
        Mode::Shared {
            zds_socket: "/var/run/ztunnel/ztunnel.sock".into()
        }
    );
    assert_eq!(config.sockets.mark.map(NonZeroU32::get), Some(1337));
    assert_eq!(config.cluster_id, "Kubernetes");
    let discovery = config.discovery.unwrap();
    assert_eq!(
        (discovery.host.as_str(), discovery.port),
        ("localhost", 15012)
    );
    assert_eq!(
        discovery.root,
        RootSource::File("./var/run/secrets/istio/root-cert.pem".into())
    );
    assert_eq!(config.token, TokenSource::None);
    assert_eq!(config.certificate_lifetime, Duration::from_secs(86_400));
    assert_eq!(config.drain_deadline, Duration::from_secs(5));
    assert_eq!(config.tunnels.stream_window_bytes, 2 << 20);
    assert_eq!(config.tunnels.connection_window_bytes, 256 << 20);
    assert_eq!(
        (config.workers, config.logging.filter.to_string().as_str()),
        (2, "info")
    );
}

/// The variables that the benchmark and a dedicated pod set are understood.
#[test]
fn a_dedicated_pod_is_read() {
    let config = read(&[
        ("PROXY_MODE", "dedicated"),
        ("PROXY_WORKLOAD_INFO", "bench/client-0/client"),
        ("XDS_ADDRESS", "https://198.18.0.1:15012"),
        ("XDS_ROOT_CA", "/exists/root.pem"),
        ("CA_ADDRESS", ""),
        ("AUTH_TOKEN", "secret"),
        ("CLUSTER_ID", "second"),
        ("ISTIO_META_CLUSTER_ID", "first"),
        ("XDS_HEADER_X-Tenant", "blue"),
        ("ISTIO_METAJSON_LABELS", r#"{"app":"x"}"#),
    ])
    .unwrap();

    let workload = WorkloadName {
        namespace: "bench".into(),
        name: "client-0".into(),
        service_account: "client".into(),
    };
    assert_eq!(config.mode, Mode::Dedicated { workload });
    assert_eq!(config.sockets.mark, None, "no mark unless asked for");
    assert_eq!(config.authority, None);
    assert_eq!(config.cluster_id, "first");
    assert_eq!(
        format!("{:?}", config.token),
        "Literal(..)",
        "a token is never printed"
    );
    let discovery = config.discovery.unwrap();
    assert_eq!(
        (discovery.host.as_str(), discovery.port),
        ("198.18.0.1", 15012)
    );
    assert_eq!(
        discovery.headers,
        [("x-tenant".to_owned(), "blue".to_owned())]
    );
    assert_eq!(config.metadata["LABELS"]["app"], "x");
}

/// Addresses of servers: scheme, port and brackets are optional; plaintext is refused.
#[test]
fn server_addresses_are_read_in_every_form() {
    let address =
        |text: &str| read(&[("XDS_ADDRESS", text)]).map(|c| c.discovery.map(|d| (d.host, d.port)));
    let is = |host: &str, port| Ok(Some((host.to_owned(), port)));

    assert_eq!(address("https://istiod:15012"), is("istiod", 15012));
    assert_eq!(address("istiod"), is("istiod", 15012));
    assert_eq!(address("https://[fd98::1]:99/"), is("fd98::1", 99));
    assert_eq!(address("[fd98::1]"), is("fd98::1", 15012));
    for bad in [
        "http://istiod:15010",
        "https://",
        "istiod:http",
        "a b:1",
        "[fd98::1]x",
    ] {
        assert!(address(bad).is_err(), "{bad}");
    }
    let in_cluster = read(&[("KUBERNETES_SERVICE_HOST", "10.0.0.1")]).unwrap();
    assert_eq!(
        in_cluster.discovery.unwrap().host,
        "istiod.istio-system.svc"
    );
}

/// The drain deadline: explicit, from the grace period, or five seconds.
#[test]
fn the_drain_deadline_leaves_room_in_the_grace_period() {
    let seconds = |variables: &[(&str, &str)]| read(variables).unwrap().drain_deadline.as_secs();

    assert_eq!(seconds(&[("TERMINATION_GRACE_PERIOD_SECONDS", "30")]), 25);
    assert_eq!(seconds(&[("TERMINATION_GRACE_PERIOD_SECONDS", "10")]), 9);
    assert_eq!(seconds(&[("TERMINATION_GRACE_PERIOD_SECONDS", "0")]), 1);
    assert_eq!(
        seconds(&[
            ("TERMINATION_GRACE_PERIOD_SECONDS", "30"),
            ("CONNECTION_TERMINATION_DEADLINE", "2m")
        ]),
        120
    );
}

/// Each bad or unsupported value ends start-up with its name and value in the message.
#[test]
fn bad_values_name_the_variable_and_the_value() {
    for (variable, value) in [
        ("PROXY_MODE", "sidecar"),
        ("PACKET_MARK", "many"),
        ("IPV6_ENABLED", "maybe"),
        ("ENABLE_ORIG_SRC", "sometimes"),
        ("SECRET_TTL", "1 day"),
        ("KEEPALIVE_RETRIES", "-1"),
        ("HTTP2_FRAME_SIZE", "100"),
        ("HTTP2_STREAM_WINDOW_SIZE", "4294967295"),
        ("POOL_MAX_STREAMS_PER_CONNECTION", "99999"),
        ("LOG_FORMAT", "xml"),
        ("RUST_LOG", "loud"),
        ("XDS_ROOT_CA", "/missing/root.pem"),
        ("ISTIO_METAJSON_X", "{"),
        ("COMPLIANCE_POLICY", "none"),
        ("FAKE_CA", "true"),
        ("CRL_PATH", "/exists/crl.pem"),
        ("LOCAL_XDS_PATH", "/exists/local.yaml"),
        ("TLS12_ENABLED", "true"),
        ("UNSTABLE_ENABLE_SOCKS5", "true"),
        ("USER_TIMEOUT_ENABLED", "true"),
        ("LOCALHOST_APP_TUNNEL", "false"),
    ] {
        let error = read(&[(variable, value)]).unwrap_err().to_string();
        assert!(error.contains(variable) && error.contains(value), "{error}");
    }
    assert!(read(&[("PROXY_MODE", "dedicated"), ("PROXY_WORKLOAD_INFO", "a/b")]).is_err());
    assert!(read(&[("PROXY_MODE", "dedicated"), ("PROXY_WORKLOAD_INFO", "a//c")]).is_err());
    assert!(read(&[("FAKE_CA", "false"), ("INPOD_ENABLED", "true")]).is_ok());
}

/// Windows can be set one by one; the tunnel's follows the stream's unless it is set itself.
#[test]
fn windows_follow_the_environment() {
    let windows = |variables: &[(&str, &str)]| {
        let tunnels = read(variables).unwrap().tunnels;
        (tunnels.stream_window_bytes, tunnels.connection_window_bytes)
    };

    let stream = ("HTTP2_STREAM_WINDOW_SIZE", "4194304");
    let connection = ("HTTP2_CONNECTION_WINDOW_SIZE", "16777216");
    assert_eq!(windows(&[stream]), (4 << 20, 512 << 20));
    assert_eq!(windows(&[connection]), (2 << 20, 16 << 20));
    assert_eq!(windows(&[stream, connection]), (4 << 20, 16 << 20));
}
