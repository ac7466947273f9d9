//! The engine's settings from ours.

use std::num::NonZeroU32;

use ambimesh_engine::Settings;
use ambimesh_netns::{Keepalive, ListenOptions, OriginalSource};

use crate::config::{Config, Sockets};

/// What the engine wants to know.
pub(super) fn engine(config: &Config) -> Settings {
    let mut settings = Settings {
        mark: config.sockets.mark.map(NonZeroU32::get),
        original_source: original_source(&config.sockets),
        ipv4_only: !config.sockets.ipv6,
        reuse_port: config.sockets.port_reuse,
        keepalive: keepalive(&config.sockets),
        network: config.network.as_str().into(),
        max_streams_per_tunnel: u32::from(config.tunnels.streams_each),
        idle_tunnel_release: config.tunnels.unused_release,
        use_baggage: config.response_baggage,
        ..Settings::default()
    };
    for side in [&mut settings.client, &mut settings.server] {
        side.stream_window = config.tunnels.stream_window_bytes;
        side.connection_window = config.tunnels.connection_window_bytes;
        side.max_frame_size = config.tunnels.frame_bytes;
    }
    settings
}

/// How a pod's listeners are made where no agent makes them.
pub(super) fn listeners(sockets: &Sockets) -> ListenOptions {
    ListenOptions {
        mark: sockets.mark.map(NonZeroU32::get),
        original_source: original_source(sockets),
        ipv4_only: !sockets.ipv6,
        reuse_port: sockets.port_reuse,
    }
}

fn original_source(sockets: &Sockets) -> OriginalSource {
    match sockets.original_source {
        None => OriginalSource::BestEffort,
        Some(true) => OriginalSource::Required,
        Some(false) => OriginalSource::Off,
    }
}

fn keepalive(sockets: &Sockets) -> Option<Keepalive> {
    let keepalive = sockets.keepalive?;
    Some(Keepalive {
        idle: keepalive.idle,
        interval: keepalive.interval,
        probes: keepalive.retries,
    })
}
