//! What can go wrong on a GPU, each with the adapter's name and the number that did not fit.

/// Result of this crate.
pub type Result<T> = std::result::Result<T, GpuError>;

/// Why the GPU cannot do it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// Nothing to compute on.
    #[error("no GPU adapter was found ({0})")]
    NoAdapter(String),
    /// An index beyond the list.
    #[error("there is no GPU {wanted}: {found} adapters were found, numbered from 0")]
    NoSuchAdapter {
        /// The index asked for.
        wanted: usize,
        /// Adapters that there are.
        found: usize,
    },
    /// The adapter lacks something that every kernel needs.
    #[error("{adapter}: {what} is missing")]
    Missing {
        /// The adapter's name.
        adapter: String,
        /// What is missing.
        what: &'static str,
    },
    /// A limit of the adapter is too small.
    #[error("{adapter}: {what} takes {needed}, the limit is {limit}")]
    Limit {
        /// The adapter's name.
        adapter: String,
        /// What does not fit.
        what: String,
        /// What it takes.
        needed: u64,
        /// What there is.
        limit: u64,
    },
    /// The device's memory is full.
    #[error("{adapter}: out of device memory: {what} takes {bytes} bytes, {held} are held already")]
    Memory {
        /// The adapter's name.
        adapter: String,
        /// What does not fit.
        what: String,
        /// Bytes it takes.
        bytes: u64,
        /// Bytes that this process already holds there.
        held: u64,
    },
    /// The driver does not take a kernel.
    #[error("{adapter}: the kernel {kernel} was refused: {message}")]
    Kernel {
        /// The adapter's name.
        adapter: String,
        /// The kernel.
        kernel: String,
        /// What the driver, or the validation before it, says; its first line.
        message: String,
    },
    /// The device is gone: reset, unplugged, or its driver was replaced.
    #[error("{adapter}: the device was lost: {message}")]
    Lost {
        /// The adapter's name.
        adapter: String,
        /// The reason.
        message: String,
    },
    /// Anything else that the driver reports.
    #[error("{adapter}: {message}")]
    Driver {
        /// The adapter's name.
        adapter: String,
        /// The first line of what it says.
        message: String,
    },
    /// Bytes of a matrix that do not belong to its shape.
    #[error("a {ty} matrix of {rows} x {cols} takes {expected} bytes, found {found}")]
    MatrixBytes {
        /// The type.
        ty: &'static str,
        /// Rows.
        rows: usize,
        /// Columns.
        cols: usize,
        /// Bytes of such a matrix.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// A size that the kernels do not do.
    #[error("{what} is {found}; the GPU kernels do {want}")]
    Shape {
        /// What.
        what: &'static str,
        /// Its size.
        found: usize,
        /// What is possible.
        want: &'static str,
    },
}
