//! A limit on what the sequences of a process hold, all together, and whatever else is to count in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// Bytes that the keys, values and memories of several sessions may take together
/// ([`Session::set_budget`](crate::Session::set_budget)). A page that sessions share counts once. A host that has one limit
/// for more than that counts the rest with [`KvBudget::charge`].
#[derive(Debug)]
pub struct KvBudget {
    limit: u64,
    used: AtomicU64,
}

impl KvBudget {
    /// Nothing is taken yet, and at most `limit` bytes can be.
    pub fn new(limit: u64) -> Arc<KvBudget> {
        Arc::new(KvBudget { limit, used: AtomicU64::new(0) })
    }

    /// Bytes that can be taken in all.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes that are taken.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes `bytes` until what comes back is dropped: for keys and values, or for anything else that counts in the same
    /// limit.
    ///
    /// # Errors
    /// [`Error::KvMemory`]; nothing is taken then.
    pub fn charge(self: &Arc<Self>, bytes: u64) -> Result<Charge> {
        let more = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= self.limit);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(Charge { budget: self.clone(), bytes }),
            Err(used) => Err(Error::KvMemory { needed: bytes, used, limit: self.limit }),
        }
    }
}

/// Bytes taken of a [`KvBudget`], which has them back when this is dropped.
#[derive(Debug)]
#[must_use = "the bytes are given back when this is dropped"]
pub struct Charge {
    budget: Arc<KvBudget>,
    bytes: u64,
}

impl Charge {
    /// How many bytes it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// As many bytes once more.
    pub(crate) fn again(&self) -> Result<Charge> {
        self.budget.charge(self.bytes)
    }

    /// Takes `bytes` of these apart, at most all of them.
    pub(crate) fn split(&mut self, bytes: u64) -> Charge {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Charge { budget: self.budget.clone(), bytes }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_and_never_exceeds_the_limit() {
        let budget = KvBudget::new(100);
        let mut sixty = budget.charge(60).unwrap();
        let error = budget.charge(41).unwrap_err();
        assert!(matches!(error, Error::KvMemory { needed: 41, used: 60, limit: 100 }), "{error}");
        let forty = budget.charge(40).unwrap();
        let part = sixty.split(50);
        assert_eq!(budget.used(), 100);
        drop(sixty);
        assert_eq!(budget.used(), 90);
        assert!(part.again().is_err() && budget.charge(u64::MAX).is_err());
        drop((forty, part));
        assert_eq!((budget.used(), budget.limit()), (0, 100));
    }
}
