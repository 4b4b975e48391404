//! Which object it is, among all that had or will have its name.

/// A random 128-bit number: this object, and no other that had or will have its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct InstanceId([u64; 2]);

impl InstanceId {
    /// Half of it: enough to tell objects apart inside one process.
    #[must_use]
    pub fn low(self) -> u64 {
        self.0[0]
    }

    pub(crate) fn to_words(self) -> [u64; 2] {
        self.0
    }

    pub(crate) fn from_words(words: [u64; 2]) -> Self {
        Self(words)
    }
}

/// FNV-1a: a hash whose value does not change with the compiler.
#[must_use]
pub fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| fnv_step(hash, byte))
}

/// Takes one byte more into a hash.
pub(crate) fn fnv_step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
}
