//! Ctrl-C. Work that can stop by itself is told to; anything else, and a second Ctrl-C, ends the process.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use qwip::Cancel;

use crate::output;

/// Exit status of an interrupted command.
pub(crate) const STATUS: u8 = 130;

static FLAG: OnceLock<Cancel> = OnceLock::new();
static ARMED: AtomicBool = AtomicBool::new(false);

/// The flag that Ctrl-C raises while [`arm`] holds.
pub(crate) fn flag() -> &'static Cancel {
    FLAG.get_or_init(Cancel::new)
}

/// Sees to it that Ctrl-C comes to us.
pub(crate) fn install() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        if ARMED.load(Ordering::Relaxed) && !flag().is_cancelled() {
            return flag().cancel();
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
    ARMED.store(true, Ordering::Relaxed);
    Armed(())
}

impl Drop for Armed {
    fn drop(&mut self) {
        ARMED.store(false, Ordering::Relaxed);
    }
}
