//! Why the process ends, said by any part of it.

use tokio::sync::mpsc;

/// A reason to end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Cause {
    /// SIGTERM, SIGINT or `/quitquitquit`: drain until the deadline.
    Asked(&'static str),
    /// A newer generation has taken over: drain until the last connection ends.
    Retired,
}

/// Says that the process should end. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct EndSender(mpsc::UnboundedSender<Cause>);

/// Hears it.
pub(crate) type EndReceiver = mpsc::UnboundedReceiver<Cause>;

impl EndSender {
    /// Both ends. Unbounded, but each cause is said by a person, a signal or the node agent.
    pub(crate) fn channel() -> (Self, EndReceiver) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Says it; after the process began to end, nobody listens and nothing happens.
    pub(crate) fn end(&self, cause: Cause) {
        let _ = self.0.send(cause);
    }
}
