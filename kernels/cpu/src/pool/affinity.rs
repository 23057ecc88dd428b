//! Which logical processors a thread may run on.
//!
//! On phones, some threads on the fast cores and none on the others is often the best that can be had; only the host
//! knows which cores those are, and what else it wants them for.

use std::io;

/// From now on this thread, and those that it starts, run on these logical processors only; they are counted from 0, as
/// the system does. What others of its threads do stays as it is.
///
/// # Errors
/// Of kind `InvalidInput` if there are none, or one of them does not exist or is not this process's to use (the message
/// names it; the thread may then run on the others). Of kind `Unsupported` where the system has no such call that we know:
/// elsewhere than on Linux and Android.
pub fn pin_this_thread(cores: &[usize]) -> io::Result<()> {
    if cores.is_empty() {
        return Err(invalid("no logical processors to run on are given".into()));
    }
    system::pin(cores)
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::io;

    use super::invalid;

    /// More than any kernel counts.
    const MOST: usize = 1 << 16;
    const BITS: usize = libc::c_ulong::BITS as usize;

    /// A bit for each logical processor.
    type Mask = Vec<libc::c_ulong>;

    pub(super) fn pin(cores: &[usize]) -> io::Result<()> {
        if let Some(core) = cores.iter().find(|&&core| core >= MOST) {
            return Err(invalid(format!("there is no logical processor {core}: they are below {MOST}")));
        }
        let mut mask: Mask = vec![0; MOST / BITS];
        cores.iter().for_each(|core| mask[core / BITS] |= 1 << (core % BITS));
        // SAFETY: as many bytes as said are readable, of words as the kernel has them; 0 is the calling thread.
        let status = unsafe { libc::sched_setaffinity(0, size_of_val(&mask[..]), mask.as_ptr().cast()) };
        let refused = (status != 0).then(io::Error::last_os_error);
        if let Some(error) = refused.filter(|error| error.raw_os_error() != Some(libc::EINVAL)) {
            return Err(error);
        }
        // The system leaves out what is not there, and complains (with EINVAL) if nothing else is left.
        let has = if status == 0 { allowed()? } else { vec![0; MOST / BITS] };
        match cores.iter().find(|&&core| has[core / BITS] & (1 << (core % BITS)) == 0) {
            None => Ok(()),
            Some(core) => {
                Err(invalid(format!("logical processor {core} does not exist or may not be used here")))
            }
        }
    }

    /// What this thread may run on.
    pub(super) fn allowed() -> io::Result<Mask> {
        let mut mask: Mask = vec![0; MOST / BITS];
        // SAFETY: as many bytes as said are writable, of words as the kernel has them; 0 is the calling thread.
        let status = unsafe { libc::sched_getaffinity(0, size_of_val(&mask[..]), mask.as_mut_ptr().cast()) };
        if status < 0 { Err(io::Error::last_os_error()) } else { Ok(mask) }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::io;

    pub(super) fn pin(_: &[usize]) -> io::Result<()> {
        let what = "threads cannot be kept on some logical processors on this system";
        Err(io::Error::new(io::ErrorKind::Unsupported, what))
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;
    use crate::Pool;
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    use std::time::Duration;

    /// What this thread may run on.
    fn mask() -> BTreeSet<usize> {
        let mask = system::allowed().unwrap();
        let bits = libc::c_ulong::BITS as usize;
        (0..mask.len() * bits).filter(|core| mask[core / bits] & (1 << (core % bits)) != 0).collect()
    }

    /// The masks of a pool's workers, the caller's first.
    fn masks(pool: &Pool) -> Vec<BTreeSet<usize>> {
        let masks = Mutex::new(vec![BTreeSet::new(); pool.threads()]);
        while masks.lock().unwrap().iter().any(BTreeSet::is_empty) {
            pool.run(20, None, &|worker, _| {
                masks.lock().unwrap()[worker.index] = mask();
                std::thread::sleep(Duration::from_millis(1));
            })
            .unwrap();
        }
        masks.into_inner().unwrap()
    }

    #[test]
    fn workers_stay_where_they_are_told_to_and_the_caller_where_it_was() {
        let here = mask();
        let last = *here.last().unwrap();
        for cores in [BTreeSet::from([last]), here.clone()] {
            let list: Vec<usize> = cores.iter().copied().collect();
            let pool = Pool::pinned(3, &list).unwrap();
            let masks = masks(&pool);
            assert_eq!(masks[0], here);
            assert!(masks[1..].iter().all(|mask| *mask == cores), "{masks:?}, {cores:?}");
            assert_eq!(Pool::pinned(0, &[&list[..], &list].concat()).unwrap().threads(), cores.len());
        }
        let pinned = std::thread::spawn(move || pin_this_thread(&[last]).map(|()| mask()));
        assert_eq!(pinned.join().unwrap().unwrap(), BTreeSet::from([last]));
        assert_eq!(mask(), here);
    }

    #[test]
    fn processors_that_are_not_there_are_named() {
        let last = *mask().last().unwrap();
        for threads in [1, 3] {
            for (cores, want) in [
                (vec![], "no logical processors to run on are given"),
                (vec![last, 60_000], "logical processor 60000 does not exist or may not be used here"),
                (vec![60_000], "logical processor 60000 does not exist or may not be used here"),
                (
                    vec![usize::MAX],
                    "there is no logical processor 18446744073709551615: they are below 65536",
                ),
            ] {
                let error = Pool::pinned(threads, &cores).unwrap_err();
                assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::InvalidInput, want.into()));
            }
        }
    }
}
