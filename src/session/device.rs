//! Sessions with layers on a GPU, and how they go on without one.

use std::sync::Arc;

#[cfg(feature = "gpu")]
use qwip_cpu::ops::Cpu;

use super::{Cancel, Session, SessionOptions};
use crate::backend::gpu::{DevicePart, GpuError};
#[cfg(feature = "gpu")]
use crate::backend::gpu::{GpuModel, Work};
use crate::error::{Error, Result};
use crate::kv::{CacheTypes, Sequence};
use crate::sample::{Candidates, Wanted, greedy};

/// Hears why a session has left its device.
#[derive(Clone)]
pub(super) struct Left(Arc<dyn Fn(&GpuError) + Send + Sync>);

impl std::fmt::Debug for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Left")
    }
}

impl Session {
    /// An empty session with the layers of `device` on a GPU. The same sequence gives the same logits on the same adapter
    /// and driver, cut in the same way; they are near those of the CPU.
    ///
    /// # Errors
    /// As [`Session::new`]; [`Error::Gpu`] if the device cannot do it.
    #[cfg(feature = "gpu")]
    pub fn on_gpu(device: Arc<GpuModel>, cpu: Cpu, options: &SessionOptions) -> Result<Session> {
        let model = device.model().clone();
        Self::with_device(model, cpu, options, Some(DevicePart::new(device)))
    }

    /// The layers of this session that are on a GPU.
    #[cfg(feature = "gpu")]
    pub fn device(&self) -> Option<&GpuModel> {
        self.device.as_ref().map(|part| &**part.model())
    }

    /// What the last batch took of the device, if there is one.
    #[cfg(feature = "gpu")]
    pub fn work(&self) -> Option<Work> {
        self.device.as_ref().map(DevicePart::work)
    }

    /// Whether [`Session::extend_choosing`] finds candidates.
    pub(crate) fn chooses(&self) -> bool {
        self.device.as_ref().is_some_and(|part| part.model().has_output())
    }

    /// Appends a token. With `wanted`, where a device has the output projection, what is wanted of the logits takes their
    /// place: there are none afterwards.
    pub(crate) fn extend_choosing(
        &mut self,
        token: u32,
        wanted: Option<Wanted>,
        cancel: &Cancel,
    ) -> Result<Option<Candidates>> {
        if let Some(part) = &mut self.device {
            part.want(wanted);
        }
        let result = self.extend(&[token], cancel, &mut |_| {});
        let found = self.device.as_mut().and_then(DevicePart::found);
        result.map(|()| found)
    }

    /// Appends a token and gives the most probable next one, the lowest of equal ones. On a device nothing else comes back,
    /// and there are no logits afterwards.
    ///
    /// # Errors
    /// As [`Session::extend`].
    pub fn extend_greedily(&mut self, token: u32, cancel: &Cancel) -> Result<u32> {
        let wanted = self.chooses().then(Wanted::best);
        let best = match self.extend_choosing(token, wanted, cancel)? {
            Some(candidates) => candidates.0.first().map(|&(_, id)| id),
            None => greedy(self.logits(), |_| true),
        };
        best.ok_or(Error::NonFiniteLogits { position: self.tokens().len() - 1 })
    }

    /// Leaves the device, if there is one, to the CPU alone. The tokens stay; the next call evaluates them again.
    ///
    /// # Errors
    /// [`Error::Memory`], [`Error::KvMemory`]; the session is then as it was.
    pub fn leave_device(&mut self) -> Result<()> {
        if self.device.is_none() {
            return Ok(());
        }
        let SessionOptions { k_type, v_type, snapshots, .. } = self.options;
        let types = CacheTypes::for_model(&self.model, k_type, v_type);
        let budget = self.budget.as_ref();
        self.sequence = Sequence::new(self.model.config(), types, snapshots, None, budget)?;
        self.device = None;
        self.buffers.clear_logits();
        Ok(())
    }

    /// From now on a device that fails is left, and the call goes on with the CPU instead of failing; `hear` is told why.
    pub fn leave_failing_device(&mut self, hear: impl Fn(&GpuError) + Send + Sync + 'static) {
        self.left = Some(Left(Arc::new(hear)));
    }

    /// What it computes with, in a word: sessions of the same word give the same answers to the same calls.
    /// `system_fingerprint` in OpenAI's answers.
    pub fn system_fingerprint(&self) -> String {
        let device = self.device.as_ref().map_or_else(|| "cpu".into(), |part| part.model().fingerprint());
        format!("qwip-c{}-{device}", qwip_cpu::CONTRACT_VERSION)
    }

    /// Does `what`; if the device fails and may be left, on the CPU once more.
    pub(super) fn surviving(
        &mut self,
        cancel: &Cancel,
        what: &mut dyn FnMut(&mut Session) -> Result<()>,
    ) -> Result<()> {
        match (what(self), &self.left) {
            (Err(Error::Gpu(error)), Some(left)) if self.device.is_some() => {
                (left.0)(&error);
                self.leave_device()?;
                self.catch_up(cancel)?;
                what(self)
            }
            (result, _) => result,
        }
    }
}
