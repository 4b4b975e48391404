//! The only door to the kernel: futexes, clocks, mappings, file locks, pidfds, crash points.
//!
//! Functions here are thin: they retry what the kernel asks to retry, turn errno into [`std::io::Error`], and
//! decide nothing. What an object is called and what to do about a failure is known one layer up.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64", target_endian = "little")))]
compile_error!("procession needs 64-bit little-endian Linux: the futex is the low half of a 64-bit word");

pub mod atomic;
#[cfg(feature = "inherited")]
pub mod bare;
pub mod clock;
pub mod cpu;
pub mod crash;
pub mod errno;
pub mod eventfd;
mod exit;
pub mod fd_socket;
pub mod file_lock;
pub mod fork;
pub mod forking;
pub mod futex;
pub mod image;
pub mod inheritance;
#[cfg(feature = "inherited")]
pub mod inherited;
pub mod interrupt;
mod kept_fd;
mod latest;
pub mod limits;
mod loose_fd;
mod mapping;
pub mod memfd;
mod per_process;
pub mod pidfd;
mod poll_set;
pub mod random;
pub mod settings;
pub mod shm_file;
mod signal_bell;
pub mod signals;
pub mod start;
mod thread;
mod turn;
pub mod ward;
mod wiped_page;

pub use clock::Deadline;
pub use crash::crash_point;
pub use exit::{at_exit, exit_now};
pub use kept_fd::KeptFd;
pub use latest::Latest;
pub use loose_fd::{LooseFd, hollow_out};
pub use mapping::{Lifeline, Mapping, ShmSafe};
pub use per_process::PerProcess;
pub use poll_set::{POLL_SET_MAX, PollSet};
pub use signal_bell::SignalBell;
pub use thread::{at_thread_end, rehearse_lean, set_thread_name, start_lean, thread_id};
pub use turn::{NoTurn, Turn, TurnGuard};
pub use wiped_page::wiped_on_fork;
