//! What can only be known by trying: which of two ways to the same result is faster on a device.

use std::time::{Duration, Instant};

use qwip_quant::TensorType;

use crate::device::Gpu;
use crate::error::Result;
use crate::ops::linear::{self, Output, Prepared, Rows};

impl Gpu {
    /// Measures whether products of codes are faster as integers or as floats, which takes a few milliseconds beside compiling,
    /// and goes on with the faster way. A second call does nothing.
    ///
    /// # Errors
    /// A kernel was refused, memory is short, or the device was lost.
    pub fn tune(&self) -> Result<()> {
        if self.integer_dot_is_known() {
            return Ok(());
        }
        const SIZE: usize = 512;
        const TOKENS: usize = 64;
        let matrix = self.matrix(TensorType::Q4K, SIZE, SIZE, 1)?;
        let floats = |n: usize| Ok(self.buffer("numbers to try", n as u64 * 4)?.whole());
        let (plain, out) = (floats(TOKENS * SIZE)?, floats(TOKENS * SIZE)?);
        let units = floats(linear::unit_words(SIZE, TOKENS))?;
        let prepared = Prepared { plain: &plain, units: &units };
        let input = prepared.input(SIZE);
        let y = Rows { span: &out, at: 0, stride: SIZE };
        let output = Output { y, scale: 1.0, bias: None, add: false };
        let time = |integers: bool| -> Result<Duration> {
            let mut rec = self.recording_with(integers);
            for _ in 0..8 {
                linear::linear(&mut rec, &matrix, input, output, TOKENS);
            }
            self.run(&rec)?;
            self.wait()?;
            let mut best = Duration::MAX;
            for _ in 0..3 {
                let started = Instant::now();
                self.run(&rec)?;
                self.wait()?;
                best = best.min(started.elapsed());
            }
            Ok(best)
        };
        let (floats, integers) = (time(false)?, time(true)?);
        self.set_integer_dot(integers < floats);
        Ok(())
    }
}
