//! The command `procession`.
#![cfg_attr(target_env = "gnu", no_main)]
#![forbid(unsafe_code)]

procession_sys::bare_main!(procession_cli::main);
