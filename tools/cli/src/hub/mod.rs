//! Models on Hugging Face and ModelScope: finding, fetching and keeping them where other tools look for them too.

mod choose;
pub(crate) mod layout;
mod name;
mod record;

pub(crate) use layout::{find, find_all};
pub(crate) use name::{Hub, Name};
