//! Money comes in and goes out, by two processes at the same time.
//!
//! One adds a profit, the other pays a bill, equally often, so that the balance ends where it began: if
//! nothing is lost. A barrier lets both begin at once. Without a lock, one overwrites what the other has
//! booked; under the lock nothing is lost. If one of them is killed while it holds the lock, the other is told
//! so and stops: the rest of the dead one's bookings would be missing.

use crate::shown::{Done, introduce, must_hold};
use procession::{Barrier, Lock, Team, Value};
use procession_terminal::exit::Failure;
use procession_terminal::output;

/// One process adds profits, the other pays bills, 100,000 each: under one lock the balance is unchanged.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many profits, and how many bills.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    times: u64,
    /// As the tests run it; this demo is always quick.
    #[arg(long)]
    quick: bool,
}

const BALANCE: i64 = 1000;
const AMOUNT: i64 = 10;
/// After how many bookings one gives its turn away in the middle.
const YIELDS: u64 = 20;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Account {
    balance: Value<i64>,
    lock: Option<Lock>,
    start: Barrier,
    times: u64,
}

fn book(account: &Account, amount: i64) -> Done<()> {
    account.start.wait()?;
    for nth in 0..account.times {
        let _guard = account.lock.as_ref().map(Lock::acquire).transpose()?;
        let balance = account.balance.get()?;
        if nth % YIELDS == 0 {
            std::thread::yield_now();
        }
        account.balance.set(balance + amount)?;
    }
    Ok(())
}

/// Runs in a process of its own.
fn add_profit(account: Account) -> Done<()> {
    book(&account, AMOUNT)
}

/// Runs in a process of its own.
fn pay_bill(account: Account) -> Done<()> {
    book(&account, -AMOUNT)
}

/// The balance when both have done their part.
fn balance_after(times: u64, lock: Option<Lock>) -> Result<i64, Failure> {
    let balance = Value::options().initial(BALANCE).anonymous()?;
    let account = Account { balance: balance.clone(), lock, start: Barrier::new(2)?, times };
    let mut team = Team::new();
    team.spawn_fallible("add_profit", add_profit, account.clone())?;
    team.spawn_fallible("pay_bill", pay_bill, account)?;
    introduce(&team)?;
    team.join()?;
    Ok(balance.get()?)
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    output::line(format_args!("balance at first: {BALANCE}"))?;
    let unlocked = balance_after(args.times, None)?;
    output::line(format_args!("without a lock: {unlocked} (off by {})", unlocked - BALANCE))?;
    let locked = balance_after(args.times, Some(Lock::create("account")?))?;
    output::line(format_args!("under one lock: {locked}"))?;
    must_hold(locked == BALANCE, "money was lost or made under the lock")?;
    output::line("under one lock the balance is unchanged: all right")
}
