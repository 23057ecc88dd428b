//! How fast a device moves memory: what decoding is measured against.

use std::time::{Duration, Instant};

use crate::device::Gpu;
use crate::error::{GpuError, Result};

const LARGEST: u64 = 256 << 20;
const SMALLEST: u64 = 16 << 20;
const ATTEMPTS: usize = 5;
/// So long an attempt takes, so that a submission's own time does not count.
const LONG: Duration = Duration::from_millis(20);

impl Gpu {
    /// Bytes a second, read and written ones together, of copies from one buffer to another: the best of five attempts.
    ///
    /// # Errors
    /// There is no memory for two buffers, or the device was lost.
    pub fn bandwidth(&self) -> Result<f64> {
        let mut bytes = LARGEST.min(self.buffer_bytes());
        let (from, to) = loop {
            let both = self.buffer("a copy's source", bytes).and_then(|from| {
                let to = self.buffer("a copy's target", bytes)?;
                Ok((from, to))
            });
            match both {
                Err(GpuError::Memory { .. }) if bytes > SMALLEST => bytes /= 2,
                other => break other?,
            }
        };
        let seconds = |copies: usize| -> Result<f64> {
            let mut rec = self.recording();
            (0..copies).for_each(|_| rec.copy(&from.whole(), &to.whole()));
            let started = Instant::now();
            self.run(&rec)?;
            self.wait()?;
            Ok(started.elapsed().as_secs_f64().max(1e-9))
        };
        // The first one also fills both with zeros.
        seconds(1)?;
        let copies = (LONG.as_secs_f64() / seconds(1)?).clamp(1.0, 256.0) as usize;
        let mut best: f64 = 0.0;
        for _ in 0..ATTEMPTS {
            best = best.max((2 * bytes * copies as u64) as f64 / seconds(copies)?);
        }
        Ok(best)
    }
}
