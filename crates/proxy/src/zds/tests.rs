//! A host that only remembers, and descriptors that see when they are closed.

mod dialogue;
mod enrolment;

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use super::*;
use crate::config::WorkloadName;

/// Remembers what it was told; refuses to start the pods in `broken`.
#[derive(Clone, Default)]
struct FakeHost {
    told: Arc<Mutex<Vec<String>>>,
    broken: Arc<Mutex<BTreeSet<String>>>,
}

impl FakeHost {
    fn tell(&self, what: String) {
        self.told.lock().unwrap().push(what);
    }

    fn take_told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    fn break_pod(&self, uid: &str) {
        self.broken.lock().unwrap().insert(uid.to_owned());
    }

    fn mend(&self) {
        self.broken.lock().unwrap().clear();
    }
}

impl Host for FakeHost {
    fn start(&mut self, pod: &Pod) -> Result<(), StartError> {
        if self.broken.lock().unwrap().contains(&pod.uid) {
            self.tell(format!("cannot start {}", pod.uid));
            return Err(StartError(format!(
                "failed to bind to port 15008 {}",
                "for long ".repeat(300)
            )));
        }
        self.tell(format!(
            "start {} with {} listeners",
            pod.uid,
            pod.listeners.len()
        ));
        Ok(())
    }

    fn stop(&mut self, uid: &str) {
        self.tell(format!("stop {uid}"));
    }

    fn retire(&mut self) {
        self.tell("retire".to_owned());
    }
}

fn name() -> WorkloadName {
    WorkloadName {
        namespace: "demo".into(),
        name: "web".into(),
        service_account: "web-account".into(),
    }
}

/// A descriptor that stands for a namespace, and an end that sees when the last copy is closed.
fn namespace() -> (OwnedFd, Witness) {
    let (witness, descriptor) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
    (descriptor, Witness(witness))
}

struct Witness(OwnedFd);

impl Witness {
    fn is_closed(&self) -> bool {
        matches!(rustix::io::read(&self.0, &mut [0_u8; 1]), Ok(0))
    }
}
