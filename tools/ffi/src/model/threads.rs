//! The threads that compute, how many they are while the device is hot, and how long they rest.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runtime::{Cpu, Result, Session};

/// How hot the device says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heat {
    Nominal,
    Fair,
    Serious,
    Critical,
}

impl Heat {
    /// So many of `all` threads compute.
    fn threads(self, all: usize) -> usize {
        match self {
            Heat::Nominal => all,
            Heat::Fair => (all * 3).div_ceil(4),
            Heat::Serious => all.div_ceil(2),
            Heat::Critical => 1,
        }
    }

    /// How long to rest after having computed for so long.
    fn rest(self, computed: Duration) -> Duration {
        // However long a step of a prompt took: the app wants to go on when it is cool again.
        const MOST: Duration = Duration::from_secs(2);
        match self {
            Heat::Nominal | Heat::Fair => Duration::ZERO,
            Heat::Serious => (computed / 2).min(MOST),
            Heat::Critical => (computed * 2).min(MOST),
        }
    }
}

/// The threads of a model.
pub(crate) struct Threads {
    cores: Vec<usize>,
    all: usize,
    now: Mutex<Now>,
}

struct Now {
    heat: Heat,
    cpu: Cpu,
}

impl Threads {
    /// `threads` of them, 0: as many as there are performance cores; on `cores`, if that names any.
    pub(super) fn start(threads: usize, cores: Vec<usize>) -> Result<Threads> {
        let cpu = start(threads, &cores)?;
        let now = Mutex::new(Now { heat: Heat::Nominal, cpu: cpu.clone() });
        Ok(Threads { cores, all: cpu.pool.threads(), now })
    }

    /// How many there are when nothing is hot.
    pub(crate) fn all(&self) -> usize {
        self.all
    }

    /// Those that compute now.
    pub(crate) fn cpu(&self) -> Cpu {
        self.now().cpu.clone()
    }

    /// From the next step on there are as many threads as this heat allows. What was computing keeps its own until then.
    pub(super) fn set_heat(&self, heat: Heat) -> Result<()> {
        let mut now = self.now();
        // It rests in any case.
        now.heat = heat;
        let wanted = heat.threads(self.all);
        if wanted != now.cpu.pool.threads() {
            now.cpu = start(wanted, &self.cores)?;
        }
        Ok(())
    }

    /// How long to rest after having computed for so long.
    pub(super) fn rest(&self, computed: Duration) -> Duration {
        self.now().heat.rest(computed)
    }

    /// Has a session compute with the threads there are now.
    pub(crate) fn lend(&self, session: &mut Session) -> Result<()> {
        let cpu = self.cpu();
        match std::sync::Arc::ptr_eq(&cpu.pool, &session.cpu().pool) {
            true => Ok(()),
            false => session.set_cpu(cpu),
        }
    }

    /// On the thread of a request: it is one of those that compute.
    pub(crate) fn pin_this_thread(&self) {
        if !self.cores.is_empty() {
            // The pool's own threads are pinned: that it is possible has been seen.
            let _ = runtime::pin_this_thread(&self.cores);
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn start(threads: usize, cores: &[usize]) -> Result<Cpu> {
    if cores.is_empty() { runtime::cpu(threads) } else { runtime::cpu_pinned(threads, cores) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_takes_threads_and_time() {
        let second = Duration::from_secs(1);
        let of = |heat: Heat| ([1, 2, 4, 8].map(|all| heat.threads(all)), heat.rest(second));
        assert_eq!(of(Heat::Nominal), ([1, 2, 4, 8], Duration::ZERO));
        assert_eq!(of(Heat::Fair), ([1, 2, 3, 6], Duration::ZERO));
        assert_eq!(of(Heat::Serious), ([1, 1, 2, 4], second / 2));
        assert_eq!(of(Heat::Critical), ([1, 1, 1, 1], second * 2));
        let threads = Threads::start(4, Vec::new()).unwrap();
        threads.set_heat(Heat::Serious).unwrap();
        assert_eq!((threads.cpu().pool.threads(), threads.all()), (2, 4));
        threads.set_heat(Heat::Nominal).unwrap();
        assert_eq!(threads.cpu().pool.threads(), 4);
    }
}
