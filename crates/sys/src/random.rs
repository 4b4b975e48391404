//! Random bits from the kernel, for identities.
#![expect(unsafe_code, reason = "getrandom fills a buffer through a pointer")]

/// Eight random bytes as a number; never zero.
#[must_use]
pub fn nonzero_u64() -> u64 {
    loop {
        let mut bytes = [0_u8; 8];
        // SAFETY: the buffer has room for eight bytes. Fewer than 256 bytes are never cut short by a signal.
        let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        let number = u64::from_ne_bytes(bytes);
        if got == 8 && number != 0 {
            return number;
        }
    }
}
