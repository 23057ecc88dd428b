//! What a host may change of a session while it goes on: its threads, and the memory that it holds.

use qwip_cpu::ops::Cpu;

use super::Session;
use crate::error::{Error, Result};

impl Session {
    /// From now on computes with the threads of `cpu`. No bit depends on them.
    ///
    /// # Errors
    /// [`Error::BadOption`] if `cpu` has other kernels.
    pub fn set_cpu(&mut self, cpu: Cpu) -> Result<()> {
        if !std::ptr::eq(self.cpu.kernels, cpu.kernels) {
            let (found, want) = (cpu.kernels.isa.name().into(), self.cpu.kernels.isa.name().into());
            return Err(Error::BadOption { what: "the CPU's kernel set", found, want });
        }
        self.cpu = cpu;
        Ok(())
    }

    /// Gives back the memory of intermediate results; the next call takes as much again. The logits stay. What threads keep
    /// belongs to the [`Cpu`], and goes with it.
    pub fn release_buffers(&mut self) {
        self.buffers.release();
    }

    /// Gives back the memory of keys and values and, of a hybrid, of its memory and the copies of that (not where it is
    /// on a device). The tokens and the logits stay. The next call that goes on behind the tokens evaluates them again, and
    /// then has the bits that it would have had; whoever wants to hear how far it is calls [`Session::prompt_step`].
    /// Where every token sees all others, nothing can follow anyway, and the tokens go, too.
    pub fn release_pages(&mut self) {
        self.sequence.release();
        if !self.model.config().causal {
            self.tokens = Vec::new();
        }
    }
}
