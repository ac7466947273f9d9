//! Network namespaces, and visits to them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The namespace of the calling thread.
const CURRENT: &str = "/proc/thread-self/ns/net";

/// What distinguishes one network namespace from another while it lives: device and inode.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct NamespaceId {
    /// Device of the namespace file system.
    pub device: u64,
    /// Inode in it.
    pub inode: u64,
}

/// A network namespace, kept alive by its descriptor.
///
/// Dropping the last holder frees the namespace with all its sockets, so nobody may keep one
/// longer than its pod.
#[derive(Debug)]
pub struct Namespace {
    descriptor: OwnedFd,
    id: NamespaceId,
}

impl Namespace {
    /// Takes a descriptor, as the node agent sends it.
    ///
    /// # Errors
    /// The descriptor's identity cannot be read.
    pub fn from_descriptor(descriptor: OwnedFd) -> io::Result<Self> {
        let status = rustix::fs::fstat(&descriptor)?;
        let id = NamespaceId {
            device: status.st_dev,
            inode: status.st_ino,
        };
        Ok(Self { descriptor, id })
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// `/proc` is not mounted, or no descriptor is left.
    pub fn current() -> io::Result<Self> {
        Self::from_descriptor(File::open(CURRENT)?.into())
    }

    /// Device and inode.
    #[must_use]
    pub fn id(&self) -> NamespaceId {
        self.id
    }

    /// Runs `visit` on this thread inside the namespace, and comes back to where it was.
    ///
    /// Blocking: five system calls around `visit`; no lock. [`Self::enter_from`] saves three.
    ///
    /// # Errors
    /// The namespace cannot be entered (no `CAP_SYS_ADMIN`, or no descriptor left for the way
    /// back). `visit` did not run then.
    ///
    /// # Panics
    /// Never; but the process aborts when the way back fails, because a thread that stays in a
    /// pod's namespace would make sockets there for other pods.
    pub fn enter<T>(&self, visit: impl FnOnce() -> T) -> io::Result<T> {
        self.enter_from(&Self::current()?, visit)
    }

    /// As [`Self::enter`], for a caller that knows that this thread is in `home`.
    ///
    /// # Errors
    /// As [`Self::enter`].
    ///
    /// # Panics
    /// As [`Self::enter`].
    pub fn enter_from<T>(&self, home: &Self, visit: impl FnOnce() -> T) -> io::Result<T> {
        if home.id == self.id {
            return Ok(visit());
        }
        move_into(&self.descriptor)?;
        let _way_back = WayBack { home };
        Ok(visit())
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Returns home when dropped, so that a panic in a visit does too.
struct WayBack<'a> {
    home: &'a Namespace,
}

impl Drop for WayBack<'_> {
    fn drop(&mut self) {
        if move_into(&self.home.descriptor).is_err() {
            std::process::abort();
        }
    }
}

fn move_into(descriptor: &OwnedFd) -> io::Result<()> {
    Ok(move_into_link_name_space(
        descriptor.as_fd(),
        Some(LinkNameSpaceType::Network),
    )?)
}
