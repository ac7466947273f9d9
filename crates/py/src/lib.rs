//! The Python module `ambimesh._core`: takes settings, releases the GIL, runs the node proxy.
//!
//! No logic lives here. Importing it runs the self-test of the cryptographic module, which aborts
//! the process if the module was damaged: import it lazily, and only where it is needed.

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[pyo3::pymodule]
mod _core {
    use std::any::Any;
    use std::collections::BTreeMap;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use pyo3::exceptions::PyRuntimeError;
    use pyo3::prelude::*;
    use pyo3::types::PyDict;

    /// Run a node proxy with these environment variables until it is told to end.
    ///
    /// Blocking: for the life of the proxy, with the GIL released. SIGTERM and SIGINT drain it;
    /// called on the main thread, it takes Python's own handler of SIGINT away for good.
    ///
    /// Returns the exit code of the process: 0 after a drain, 2 for a bad setting (which is
    /// printed), 1 for everything else.
    ///
    /// Raises:
    ///     `RuntimeError`: a defect; the proxy panicked.
    #[pyfunction]
    fn run(py: Python<'_>, env: BTreeMap<String, String>) -> PyResult<i32> {
        leave_interrupts_to_rust(py);
        py.detach(move || catch_unwind(AssertUnwindSafe(|| ambimesh_proxy::run(&env))))
            .map_err(|panic| {
                PyRuntimeError::new_err(format!("node proxy panicked: {}", text(&*panic)))
            })
    }

    /// Describe this build: version, profile, cryptographic provider, and whether it is FIPS.
    #[pyfunction]
    fn build_info(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        let build = ambimesh_proxy::BuildInfo::current();
        let described = PyDict::new(py);
        described.set_item("version", build.version)?;
        described.set_item("profile", build.profile)?;
        described.set_item("provider", build.provider)?;
        described.set_item("fips", build.is_fips)?;
        Ok(described)
    }

    /// Takes Python's handler of SIGINT away: it would be called as well, and turn an orderly end
    /// into a `KeyboardInterrupt`.
    fn leave_interrupts_to_rust(py: Python<'_>) {
        // Fails outside the main thread, where Python's handler belongs to whoever called us.
        let _ = py.import("_signal").and_then(|module| {
            let handler = (module.getattr("SIGINT")?, module.getattr("SIG_DFL")?);
            module.call_method1("signal", handler).map(drop)
        });
    }

    fn text(panic: &(dyn Any + Send)) -> &str {
        let literal = panic.downcast_ref::<&str>().copied();
        literal
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message")
    }
}
