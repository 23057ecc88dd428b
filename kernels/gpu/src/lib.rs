//! Qwen's compute kernels in WGSL, and the only code that names wgpu.
//!
//! A caller appends dispatches to a [`Recording`], which is plain data, and runs it in one submission. Matrices are
//! uploaded once, their blocks split into aligned arrays ([`layout`]). Results are compared with the CPU's with a stated
//! bound; they are the same for each run on the same adapter and driver.

mod bandwidth;
mod buffer;
mod device;
mod error;
mod execute;
pub mod kv;
pub mod layout;
mod matrix;
pub mod ops;
mod pipelines;
mod preprocess;
mod recording;
pub mod shaders;
mod tune;
mod upload;

pub use buffer::{ALIGNMENT, Buffer, Span};
pub use device::{AdapterReport, Gpu, GpuOptions, adapters};
pub use error::{GpuError, Result};
pub use matrix::{GpuMatrix, MatrixSlice};
pub use preprocess::{Define, preprocess};
pub use recording::{Dispatch, Recording, Step};
pub use shaders::Kernel;
pub use upload::Uploader;
