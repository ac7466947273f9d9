//! The life of the process: start in order, serve, drain, end. Source: node-proxy specification §13.

mod drain;
mod servers;
mod settings;
mod workloads;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ambimesh_engine::{Command, Engine, Shared};
use ambimesh_state::{Published, Store};
use ambimesh_tls::{KeyExchange, Svid};
use ambimesh_xds::{AuthorityClient, DiscoveryClient};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::build_info::BuildInfo;
use crate::certificates::{Authority, CertificateCache, Keeper, Prefetch};
use crate::config::{Config, Machine, Mode};
use crate::control_plane::{self, DiscoveryCounters, DiscoveryObserver};
use crate::ending::{Cause, EndReceiver, EndSender};
use crate::log::{LineQueue, Log, LogWriter, Value};
use crate::readiness::{Part, Readiness};
use crate::telemetry::FlowTelemetry;
use crate::zds::Roster;

use workloads::Workloads;

const TARGET: &str = "lifecycle";

/// How often the engine's workers are counted.
const ENGINE_WATCH: Duration = Duration::from_millis(250);

/// Exit codes of the process.
const DRAINED: i32 = 0;
const FAILED: i32 = 1;
const BAD_SETTING: i32 = 2;

/// Runs a node proxy with these environment variables until it is told to end; returns the exit
/// code of the process. Blocking: for the life of the proxy.
#[must_use]
pub fn run(variables: &BTreeMap<String, String>) -> i32 {
    let machine = Machine {
        logical_cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        exists: &|path| path.exists(),
    };
    let config = match Config::from_environment(variables, &machine) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {error}");
            return BAD_SETTING;
        }
    };
    let (writer, lines) = match LogWriter::start(io::stdout()) {
        Ok(started) => started,
        Err(error) => {
            eprintln!("error: the log cannot be started: {error}");
            return FAILED;
        }
    };
    let log = Log::new(
        lines.clone(),
        config.logging.filter.clone(),
        config.logging.format,
    );
    let code = match run_with(config, &log, lines) {
        Ok(()) => DRAINED,
        Err(error) => {
            log.error(
                TARGET,
                "node proxy ends",
                &[("error", Value::Text(&error.to_string()))],
            );
            FAILED
        }
    };
    writer.finish();
    code
}

/// Why the process cannot go on.
#[derive(Debug, thiserror::Error)]
enum LifeError {
    #[error("{what}: {source}")]
    Start {
        what: &'static str,
        source: io::Error,
    },
    #[error("failed to bind to port {port}: {source}")]
    Bind { port: u16, source: io::Error },
    #[error("workload cannot be served: {0}")]
    Workload(String),
    #[error("told twice to end")]
    Impatient,
    #[error("bug: the task {0} ended")]
    TaskEnded(&'static str),
    #[error("bug: a worker of the data path stopped")]
    EngineStopped,
}

fn run_with(config: Config, log: &Log, lines: LineQueue) -> Result<(), LifeError> {
    raise_descriptor_limit(log);
    let starting = |what| move |source| LifeError::Start { what, source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Pages are the only blocking work.
        .max_blocking_threads(2)
        .build()
        .map_err(starting("control runtime"))?;
    let result = runtime.block_on(async {
        let process = Process::start(config, log.clone(), lines)?;
        process.run().await
    });
    // A page that is being made must not hold up the end.
    runtime.shutdown_background();
    result
}

/// Everything that runs.
struct Process {
    config: Arc<Config>,
    log: Log,
    readiness: Readiness,
    engine: Arc<Engine>,
    workloads: Workloads,
    synced: Arc<Notify>,
    causes: EndReceiver,
    signals: Signals,
    /// Discovery, certificates: they run to the very end.
    tasks: JoinSet<&'static str>,
    /// Administration, metrics, readiness: a newer generation needs their ports.
    servers: JoinSet<&'static str>,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Process {
    fn start(config: Config, log: Log, lines: LineQueue) -> Result<Self, LifeError> {
        let config = Arc::new(config);
        let (readiness, roster) = (Readiness::default(), Roster::default());
        let (ending, causes) = EndSender::channel();
        for part in parts(&config) {
            readiness.set(part, false);
        }
        let mut servers = JoinSet::new();
        servers::serve_readiness(&mut servers, &config, &readiness)?;

        let starting = |what| move |source| LifeError::Start { what, source };
        let certificates = CertificateCache::<Svid>::default();
        let node = config.node_name.as_deref();
        let store = node.map_or_else(Store::new, Store::for_node);
        let telemetry = Arc::new(FlowTelemetry::new(config.workers, log.clone()));
        let state = store.published();
        let shared = Shared {
            settings: Arc::new(settings::engine(&config)),
            state: Arc::clone(&state),
            certificates: Arc::new(certificates.clone()),
            telemetry: Arc::clone(&telemetry) as _,
        };
        let engine = Arc::new(Engine::start(config.workers, &shared).map_err(starting("workers"))?);

        let control = Control {
            config: Arc::clone(&config),
            log: log.clone(),
            readiness: readiness.clone(),
            engine: Arc::clone(&engine),
            roster: roster.clone(),
            certificates,
            state,
            synced: Arc::default(),
            applied: Arc::default(),
            counters: Arc::default(),
        };
        let tasks = control.tasks(store);
        servers::serve_pages(&mut servers, &control, &ending, telemetry, lines)?;
        let workloads = Workloads::start(&control, ending)?;
        let signals = Signals {
            terminate: signal(SignalKind::terminate()).map_err(starting("signal handler"))?,
            interrupt: signal(SignalKind::interrupt()).map_err(starting("signal handler"))?,
        };
        let synced = control.synced;
        Ok(Self {
            config,
            log,
            readiness,
            engine,
            workloads,
            synced,
            causes,
            signals,
            tasks,
            servers,
        })
    }

    /// Serves until there is a cause to end, then drains.
    async fn run(mut self) -> Result<(), LifeError> {
        self.say_started();
        let cause = loop {
            tokio::select! {
                () = self.synced.notified() => {
                    self.workloads.serve(&self.engine)?;
                    self.readiness.set(Part::Proxy, true);
                }
                Some(cause) = self.causes.recv() => break cause,
                cause = self.signals.wait() => break cause,
                ended = self.tasks.join_next() => return Err(ended_task(ended.as_ref())),
                ended = self.servers.join_next() => return Err(ended_task(ended.as_ref())),
                () = stopped(&self.engine) => return Err(LifeError::EngineStopped),
            }
        };
        self.drain(cause).await
    }

    fn say_started(&self) {
        let build = BuildInfo::current();
        let mode = match self.config.mode {
            Mode::Shared { .. } => "shared",
            Mode::Dedicated { .. } => "dedicated",
        };
        let fields = [
            ("version", Value::Text(build.version)),
            ("mode", Value::Text(mode)),
            ("workers", Value::Number(self.config.workers as u64)),
            ("crypto", Value::Text(build.provider)),
            ("fips", Value::Bare(&build.is_fips)),
        ];
        self.log.info(TARGET, "node proxy started", &fields);
    }
}

/// Waits until a worker of the engine is gone, which only a bug can bring about. Its connections
/// are lost and its share of new ones would be: the process must end, so that another can start.
async fn stopped(engine: &Engine) {
    while engine.is_running() {
        tokio::time::sleep(ENGINE_WATCH).await;
    }
}

impl Signals {
    /// The next signal that asks us to end.
    async fn wait(&mut self) -> Cause {
        tokio::select! {
            _ = self.terminate.recv() => Cause::Asked("SIGTERM"),
            _ = self.interrupt.recv() => Cause::Asked("SIGINT"),
        }
    }
}

/// What the tasks of the control runtime share.
struct Control {
    config: Arc<Config>,
    log: Log,
    readiness: Readiness,
    engine: Arc<Engine>,
    roster: Roster,
    certificates: CertificateCache<Svid>,
    state: Arc<Published>,
    synced: Arc<Notify>,
    applied: Arc<Notify>,
    counters: Arc<DiscoveryCounters>,
}

impl Control {
    /// Starts discovery and certificates.
    fn tasks(&self, store: Store) -> JoinSet<&'static str> {
        let mut tasks = JoinSet::new();
        let engine = Arc::clone(&self.engine);
        // An engine that is stopped needs no news.
        let on_change = Box::new(move || drop(engine.send(Command::CertificatesChanged)));
        let keeper = Keeper::new(
            self.certificates.clone(),
            self.authority(),
            on_change,
            self.log.clone(),
        );
        tasks.spawn(async move {
            keeper.run().await;
            "certificates"
        });
        if matches!(self.config.mode, Mode::Shared { .. }) {
            let prefetch = Prefetch {
                certificates: self.certificates.clone(),
                roster: self.roster.clone(),
                state: Arc::clone(&self.state),
                applied: Arc::clone(&self.applied),
            };
            tasks.spawn(async move {
                prefetch.run().await;
                "prefetch"
            });
        }
        self.discover(&mut tasks, store);
        tasks
    }

    fn discover(&self, tasks: &mut JoinSet<&'static str>, store: Store) {
        let Some(endpoint) = &self.config.discovery else {
            self.log.warn(
                TARGET,
                "discovery is switched off; only unknown destinations are reached",
                &[],
            );
            self.readiness.set(Part::StateManager, true);
            self.synced.notify_one();
            return;
        };
        let observer = DiscoveryObserver {
            engine: Arc::clone(&self.engine),
            readiness: self.readiness.clone(),
            applied: Arc::clone(&self.applied),
            synced: Arc::clone(&self.synced),
            counters: Arc::clone(&self.counters),
            log: self.log.clone(),
        };
        let server = control_plane::server(endpoint, &self.config);
        let client = DiscoveryClient::new(
            server,
            control_plane::node(&self.config),
            store,
            Arc::new(observer),
        );
        tasks.spawn(async move {
            client.run().await;
            "discovery"
        });
    }

    fn authority(&self) -> Authority {
        let config = &self.config;
        let client = config.authority.as_ref().map(|endpoint| {
            AuthorityClient::new(
                control_plane::server(endpoint, config),
                config.certificate_lifetime,
            )
        });
        let key_exchange = if config.post_quantum {
            KeyExchange::PostQuantumOnly
        } else {
            KeyExchange::ClassicalFirst
        };
        Authority {
            client,
            impersonates: matches!(config.mode, Mode::Shared { .. }),
            key_exchange,
        }
    }
}

fn parts(config: &Config) -> Vec<Part> {
    match config.mode {
        Mode::Shared { .. } => vec![Part::StateManager, Part::Proxy, Part::WorkloadProxies],
        Mode::Dedicated { .. } => vec![Part::StateManager, Part::Proxy],
    }
}

/// Thousands of connections need thousands of descriptors; the soft limit is often 1024.
fn raise_descriptor_limit(log: &Log) {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
    if let Err(error) = raised {
        log.warn(
            TARGET,
            "limit of descriptors cannot be raised",
            &[("error", Value::Bare(&error))],
        );
    }
}

fn ended_task(ended: Option<&Result<&'static str, tokio::task::JoinError>>) -> LifeError {
    match ended {
        Some(Ok(name)) => LifeError::TaskEnded(name),
        _ => LifeError::TaskEnded("of the control runtime"),
    }
}
