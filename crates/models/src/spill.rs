//! As `procession_shm`: messages in files of their own, of which there are none.

use crate::atomic::AtomicU8;
use crate::liveness::OpenError;
use crate::memory::Segment;

/// Where two words of a body are.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    pub head: u32,
    pub tail: u32,
}

/// To nothing.
#[derive(Clone, Copy, Debug)]
pub struct Reference;

impl Reference {
    pub const LEN: usize = 32;

    /// Zero.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        [0; Self::LEN]
    }

    pub fn from_bytes(_: [u8; Self::LEN]) -> Self {
        Self
    }
}

/// But there are none: nothing is larger than a ring in a model.
#[derive(Debug)]
pub enum Spill {}

impl Spill {
    /// Never.
    pub fn create(_: &Segment, _: Marks, _: usize) -> Result<Self, OpenError> {
        Err(OpenError::Corrupt("nothing is spilled"))
    }

    /// Never.
    pub fn create_of(_: &Segment, _: Marks, _: &[u8]) -> Result<Self, OpenError> {
        Err(OpenError::Corrupt("nothing is spilled"))
    }

    /// Never.
    pub fn open(_: &Segment, _: Reference) -> Result<Self, OpenError> {
        Err(OpenError::Corrupt("nothing is spilled"))
    }

    pub fn reference(&self) -> Reference {
        match *self {}
    }

    pub fn len(&self) -> usize {
        match *self {}
    }

    pub fn truncate(&mut self, _: usize) {}

    pub fn place(&self, _: u32) {}

    pub fn stay(&mut self) {}

    pub fn go(&mut self) {}

    pub fn copy_in(&self, _: usize, _: &[u8]) -> bool {
        match *self {}
    }

    pub fn copy_out(&self, _: usize, _: &mut [u8]) -> bool {
        match *self {}
    }

    pub fn read(&self, _: &mut [u8]) -> bool {
        match *self {}
    }

    pub fn bytes(&self, _: usize) -> Option<&[AtomicU8]> {
        match *self {}
    }
}
