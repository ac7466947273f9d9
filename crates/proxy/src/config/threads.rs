//! How many workers to run.

use super::environment::{ConfigError, Environment};

const WORKER_THREADS: &str = "ZTUNNEL_WORKER_THREADS";

/// The number of workers, at least one.
///
/// `logical_cpus` is what the machine has. Source: node-proxy specification §14.
pub(super) fn workers(env: &Environment<'_>, logical_cpus: usize) -> Result<usize, ConfigError> {
    let limit = env.cpus("ZTUNNEL_RESOURCE_CPU_LIMIT")?;
    let request = env.cpus("ZTUNNEL_RESOURCE_CPU_REQUEST")?.unwrap_or(0);
    let machine = match limit {
        Some(limit) => limit,
        None => env.cpus("ZTUNNEL_CPU_LIMIT")?.unwrap_or(logical_cpus),
    }
    .max(1);
    let Some(wish) = env.text(WORKER_THREADS) else {
        return Ok(match limit {
            Some(limit) => limit.max(request).max(1),
            // A quarter of a shared node is the applications' neighbour, not their rival.
            None => machine.div_ceil(4).max(request).max(2),
        });
    };
    let invalid = || {
        env.error(
            WORKER_THREADS,
            "is neither a number, 0 for every CPU, nor a percentage",
        )
    };
    if let Some(percent) = wish.strip_suffix('%') {
        let percent: usize = percent.parse().map_err(|_| invalid())?;
        if percent > 100 {
            return Err(invalid());
        }
        return Ok((machine * percent).div_ceil(100).max(1));
    }
    match wish.parse::<usize>().map_err(|_| invalid())? {
        0 => Ok(machine),
        count if count > 1024 => Err(env.error(WORKER_THREADS, "is more than 1024")),
        count => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// CPUs of the machine, variables, workers.
    type Row<'a> = (usize, &'a [(&'a str, &'a str)], usize);

    fn count(cpus: usize, variables: &[(&str, &str)]) -> Result<usize, ConfigError> {
        let map: BTreeMap<_, _> = variables
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        workers(&Environment(&map), cpus)
    }

    /// The automatic rule and every explicit form, row by row.
    #[test]
    fn worker_threads_follow_the_table() {
        const THREADS: &str = "ZTUNNEL_WORKER_THREADS";
        const LIMIT: &str = "ZTUNNEL_RESOURCE_CPU_LIMIT";
        const REQUEST: &str = "ZTUNNEL_RESOURCE_CPU_REQUEST";
        const OLD_LIMIT: &str = "ZTUNNEL_CPU_LIMIT";
        let table: &[Row] = &[
            (1, &[], 2),
            (2, &[], 2),
            (16, &[], 4),
            (17, &[], 5),
            (16, &[(REQUEST, "6")], 6),
            (16, &[(LIMIT, "3")], 3),
            (16, &[(LIMIT, "500m")], 1),
            (16, &[(LIMIT, "2"), (REQUEST, "4")], 4),
            (16, &[(OLD_LIMIT, "32")], 8),
            (16, &[(THREADS, "7")], 7),
            (16, &[(THREADS, "0")], 16),
            (16, &[(THREADS, "0"), (LIMIT, "4")], 4),
            (16, &[(THREADS, "50%")], 8),
            (16, &[(THREADS, "1%")], 1),
            (3, &[(THREADS, "50%")], 2),
        ];
        for (cpus, variables, expected) in table {
            assert_eq!(
                count(*cpus, variables),
                Ok(*expected),
                "{cpus} CPUs, {variables:?}"
            );
        }
        for bad in ["-1", "x", "50.5%", "101%", "4096"] {
            assert!(count(4, &[(THREADS, bad)]).is_err(), "{bad}");
        }
    }
}
