//! A struct in shared memory that several processes change, each change whole or not at all.
//!
//! ```console
//! $ cargo run --example shared_state
//! ```
use procession::bytemuck::{Pod, Zeroable};
use procession::{Process, Value};
use std::error::Error;

#[derive(Clone, Copy, Pod, Zeroable)]
#[bytemuck(crate = "procession::bytemuck")]
#[repr(C)]
struct Accounts {
    savings: i64,
    checking: i64,
}

/// Moves one coin to and fro, `times` times.
fn transfer(accounts: Value<Accounts>, times: i64) {
    for nth in 0..times {
        let coin = if nth % 2 == 0 { 1 } else { -1 };
        accounts
            .update(|all| {
                all.savings -= coin;
                all.checking += coin;
            })
            .unwrap();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    procession::init();
    let accounts = Value::new(Accounts { savings: 1000, checking: 0 })?;
    let movers = [
        Process::spawn(transfer, (accounts.clone(), 100_000))?,
        Process::spawn(transfer, (accounts.clone(), i64::MAX))?,
    ];
    // A reader never sees a coin that is in neither account, and does not wait for those that write.
    let mut looks = 0;
    while movers[0].is_alive() {
        let Accounts { savings, checking } = accounts.get()?;
        assert_eq!(savings + checking, 1000);
        looks += 1;
    }
    // Killed at any instruction, a writer has made its last change or has not begun it.
    movers[1].kill()?;
    movers[1].wait()?;
    let Accounts { savings, checking } = accounts.get()?;
    println!("looked {looks} times; in the end {savings} + {checking} = {}", savings + checking);
    assert_eq!(savings + checking, 1000);
    Ok(())
}
