//! The float control word of the current thread.
//!
//! A host may run its threads with flush-to-zero or another rounding direction (audio software does). Our
//! results are defined for IEEE defaults, so every region of kernels runs under [`IeeeDefaults`], which puts
//! the host's word back afterwards.

use std::marker::PhantomData;

/// While it lives, this thread rounds to nearest even and keeps denormals; dropping it restores the word
/// that was found.
#[derive(Debug)]
pub struct IeeeDefaults {
    found: Word,
    /// The word belongs to one thread.
    not_send: PhantomData<*const ()>,
}

impl IeeeDefaults {
    /// Sets the defaults, remembering what was set before.
    pub fn enter() -> IeeeDefaults {
        let found = read();
        if found & CONTROL != DEFAULT & CONTROL {
            write(DEFAULT);
        }
        IeeeDefaults { found, not_send: PhantomData }
    }
}

impl Drop for IeeeDefaults {
    fn drop(&mut self) {
        if self.found & CONTROL != DEFAULT & CONTROL {
            write(self.found);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod word {
    /// MXCSR.
    pub(super) type Word = u32;
    /// All exceptions masked, round to nearest even, no flush-to-zero, no denormals-are-zero.
    pub(super) const DEFAULT: Word = 0x1f80;
    /// Everything but the six sticky exception flags, which change no result.
    pub(super) const CONTROL: Word = 0xffc0;

    pub(super) fn read() -> Word {
        let mut word: Word = 0;
        // SAFETY: stores the 32-bit MXCSR (SSE is part of x86-64) to the variable whose address is given.
        unsafe {
            std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack, preserves_flags));
        }
        word
    }

    pub(super) fn write(word: Word) {
        // SAFETY: the word is either the architecture's default or one that `read` returned, so no reserved
        // bit is set; leaving the default is only ever a return to what the host had set.
        unsafe {
            std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack, preserves_flags));
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod word {
    /// FPCR.
    pub(super) type Word = u64;
    /// Round to nearest even, denormals kept, no trapping, NaNs propagate.
    pub(super) const DEFAULT: Word = 0;
    /// AH, FIZ, NEP, FZ16, RMode, FZ, DN, AHP and the trap enables.
    pub(super) const CONTROL: Word = 0x07f7_9f07;

    pub(super) fn read() -> Word {
        let word: Word;
        // SAFETY: reads the float control register of this thread, which is always accessible.
        unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) word, options(nomem, nostack, preserves_flags)) };
        word
    }

    pub(super) fn write(word: Word) {
        // SAFETY: the word is the default or one that `read` returned; leaving the default is only ever a
        // return to what the host had set. Not `nomem`, so that no float operation moves across it through
        // memory.
        unsafe { std::arch::asm!("msr fpcr, {}", in(reg) word, options(nostack, preserves_flags)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod word {
    /// Targets without a control word that we know how to reach (WebAssembly has none at all).
    pub(super) type Word = u32;
    pub(super) const DEFAULT: Word = 0;
    pub(super) const CONTROL: Word = 0;

    pub(super) fn read() -> Word {
        DEFAULT
    }

    pub(super) fn write(_: Word) {}
}

use word::{CONTROL, DEFAULT, Word, read, write};

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn a_host_with_flush_to_zero_gets_its_word_back_and_we_keep_denormals() {
        const FLUSH_AND_ROUND_UP: u32 = 0x1f80 | 0x8000 | 0x0040 | 0x4000;
        let host = read();
        write(FLUSH_AND_ROUND_UP);
        let flushed = black_box(f32::MIN_POSITIVE) * black_box(0.5);
        let kept = {
            let _ieee = IeeeDefaults::enter();
            black_box(f32::MIN_POSITIVE) * black_box(0.5)
        };
        let restored = read() & CONTROL;
        write(host);
        assert_eq!(flushed, 0.0);
        assert_eq!(kept, f32::MIN_POSITIVE / 2.0);
        assert_eq!(restored, FLUSH_AND_ROUND_UP & CONTROL);
    }
}
