//! Ctrl-C. Work that can stop by itself is told to; anything else, and a second Ctrl-C, ends the process.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use qwip::Cancel;

use crate::output;

/// Exit status of an interrupted command.
pub(crate) const STATUS: u8 = 130;

static FLAG: OnceLock<Cancel> = OnceLock::new();
/// How many [`Armed`] there are.
static ARMED: AtomicUsize = AtomicUsize::new(0);
static START: OnceLock<Instant> = OnceLock::new();
/// When the flag was raised, in milliseconds after the start.
static RAISED: AtomicU64 = AtomicU64::new(0);
/// Who presses Ctrl-C twice so quickly means it once.
const TWICE: Duration = Duration::from_millis(600);

/// The flag that Ctrl-C raises while [`arm`] holds.
pub(crate) fn flag() -> &'static Cancel {
    FLAG.get_or_init(Cancel::new)
}

/// Sees to it that Ctrl-C comes to us.
pub(crate) fn install() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        let now = START.get_or_init(Instant::now).elapsed().as_millis() as u64;
        if ARMED.load(Ordering::Relaxed) > 0 {
            if !flag().is_cancelled() {
                RAISED.store(now, Ordering::Relaxed);
                return flag().cancel();
            }
            if u128::from(now.saturating_sub(RAISED.load(Ordering::Relaxed))) < TWICE.as_millis() {
                return;
            }
        }
        if output::can_dim() {
            output::print_err("\x1b[0m");
        }
        std::process::exit(STATUS.into());
    })
    .context("Ctrl-C cannot be handled")
}

/// While this lives, the first Ctrl-C only raises the flag.
pub(crate) struct Armed(());

/// Lowers the flag and lets Ctrl-C raise it from now on.
pub(crate) fn arm() -> Armed {
    flag().reset();
    ARMED.fetch_add(1, Ordering::Relaxed);
    Armed(())
}

impl Drop for Armed {
    fn drop(&mut self) {
        ARMED.fetch_sub(1, Ordering::Relaxed);
    }
}
