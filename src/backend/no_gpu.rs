//! In place of [`gpu`](self) where the library is built without the feature of that name: types without values, so that
//! everything else is written once.

use std::convert::Infallible;
use std::sync::Arc;

use super::{Batch, CpuBackend, Importance};
use crate::error::Result;
use crate::kv::CacheTypes;
use crate::model::Model;
use crate::sample::{Candidates, Wanted};

/// There are no layers on a GPU.
#[derive(Debug)]
pub enum GpuModel {}

/// Nothing can go wrong on it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("")]
pub enum GpuError {}

#[derive(Debug)]
pub(crate) enum PagePool {}

#[derive(Debug)]
pub(crate) enum Page {}

#[derive(Debug)]
pub(crate) enum DeltaMemories {}

#[derive(Debug)]
pub(crate) struct DevicePart(Infallible);

impl GpuModel {
    pub(crate) fn fingerprint(&self) -> String {
        match *self {}
    }

    pub(crate) fn first_layer(&self) -> usize {
        match *self {}
    }

    pub(crate) fn most_tokens(&self) -> usize {
        match *self {}
    }

    pub(crate) fn has_output(&self) -> bool {
        match *self {}
    }

    pub(crate) fn pages(&self, _: &CacheTypes) -> Result<Arc<PagePool>> {
        match *self {}
    }

    pub(crate) fn delta_memories(&self) -> Result<Option<DeltaMemories>> {
        match *self {}
    }
}

impl PagePool {
    pub(crate) fn page_bytes(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn allocate(&self) -> Result<Page> {
        match *self {}
    }

    pub(crate) fn copy(&self, _: &Page) -> Result<Page> {
        match *self {}
    }
}

impl DeltaMemories {
    pub(crate) fn another(&self) -> Result<DeltaMemories> {
        match *self {}
    }

    pub(crate) fn copy_from(&mut self, _: &DeltaMemories) {
        match *self {}
    }

    pub(crate) fn clear(&mut self) {
        match *self {}
    }
}

impl DevicePart {
    pub(crate) fn another(&self) -> DevicePart {
        match self.0 {}
    }

    pub(crate) fn model(&self) -> &Arc<GpuModel> {
        match self.0 {}
    }

    pub(crate) fn want(&mut self, _: Option<Wanted>) {
        match self.0 {}
    }

    pub(crate) fn found(&mut self) -> Option<Candidates> {
        match self.0 {}
    }

    pub(crate) fn forward(
        &mut self,
        _: &Model,
        _: CpuBackend<'_>,
        _: &Batch<'_>,
        _: Option<&mut Importance>,
    ) -> Result<()> {
        match self.0 {}
    }
}
