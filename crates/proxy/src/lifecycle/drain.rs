//! The end of the process: connections first.

use std::time::{Duration, Instant};

use ambimesh_engine::Command;
use tokio::sync::oneshot;
use tokio::time::sleep_until;

use super::{LifeError, Process, TARGET, stopped};
use crate::ending::Cause;
use crate::log::Value;
use crate::readiness::Part;

/// How long a generation that has been replaced lets its connections live.
const RETIREMENT: Duration = Duration::from_secs(24 * 60 * 60);

/// What the engine may be late with its own deadline, before we end without it.
const PATIENCE: Duration = Duration::from_secs(2);

impl Process {
    /// Lets connections end by themselves until the deadline of `cause`.
    pub(super) async fn drain(mut self, cause: Cause) -> Result<(), LifeError> {
        self.readiness.set(Part::Proxy, false);
        let mut asked = 0;
        let mut within = self.prepare(&cause, &mut asked);
        let (sender, mut finished) = oneshot::channel();
        let say_finished = Box::new(move || {
            // Nobody listens any more when our own patience ended first.
            let _ = sender.send(());
        });
        let command = Command::Drain {
            within,
            finished: say_finished,
        };
        self.engine
            .send(command)
            .map_err(|_| LifeError::EngineStopped)?;
        loop {
            let deadline = tokio::time::Instant::now() + within + PATIENCE;
            let started = Instant::now();
            let cause = tokio::select! {
                _ = &mut finished => break,
                () = sleep_until(deadline) => break,
                // Its share of the connections is lost, and `finished` may never come.
                () = stopped(&self.engine) => return Err(LifeError::EngineStopped),
                cause = self.signals.wait() => cause,
                Some(cause) = self.causes.recv() => cause,
            };
            within = within.saturating_sub(started.elapsed());
            if asked > 0 && cause == Cause::Asked("SIGINT") {
                return Err(LifeError::Impatient);
            }
            within = within.min(self.prepare(&cause, &mut asked));
        }
        self.workloads.finish();
        self.log.info(
            TARGET,
            "node proxy ends",
            &[("open", Value::Number(self.engine.active() as u64))],
        );
        Ok(())
    }

    /// Does what belongs to a cause and returns how long connections may live.
    fn prepare(&mut self, cause: &Cause, asked: &mut u32) -> Duration {
        let within = match cause {
            Cause::Asked(by) => {
                *asked += 1;
                // No new pods on the way out.
                self.workloads.finish();
                self.log
                    .info(TARGET, "told to end", &[("by", Value::Text(by))]);
                self.config.drain_deadline
            }
            Cause::Retired => {
                // The next generation needs the ports, and is the one to be asked now.
                self.servers.abort_all();
                self.log
                    .info(TARGET, "a newer generation has taken over", &[]);
                RETIREMENT
            }
        };
        let fields = [
            ("open", Value::Number(self.engine.active() as u64)),
            ("within_seconds", Value::Number(within.as_secs())),
        ];
        self.log.info(TARGET, "draining", &fields);
        within
    }
}
