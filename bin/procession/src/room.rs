//! How much room there is in `/dev/shm`, where all objects lie.

use nix::sys::statvfs::statvfs;

/// The directory of all objects.
pub(crate) const SHM: &str = "/dev/shm";

/// The file system in `/dev/shm`, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) size: u64,
    /// By whatever program.
    pub(crate) used: u64,
}

impl Room {
    /// `None` if it cannot be asked.
    pub(crate) fn look() -> Option<Self> {
        let numbers = statvfs(SHM).ok()?;
        let unit = numbers.fragment_size();
        let size = numbers.blocks().saturating_mul(unit);
        Some(Self { size, used: size.saturating_sub(numbers.blocks_free().saturating_mul(unit)) })
    }
}
