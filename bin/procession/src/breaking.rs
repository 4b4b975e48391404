//! `lock break`: ends those who hold a lock. The lock itself stays: nobody ever finds it free while its holder runs.

use crate::holding::{Target, Thing, no_such_object};
use crate::in_the_way::InTheWay;
use crate::keeper::end;
use procession_sys::signals::SIGKILL;
use procession_terminal::exit::Failure;

/// # Errors
/// [`Failure::Usage`] without `yes`, which says who would be killed.
pub(crate) fn run(target: Target, yes: bool) -> Result<(), Failure> {
    let text = target.to_string();
    let Some(thing) = Thing::find(target)? else {
        return Err(no_such_object(format!("there is no {text}")));
    };
    let in_the_way = InTheWay::of(&thing);
    if in_the_way.holders.is_empty() {
        return Ok(());
    }
    if !yes {
        let line = in_the_way.line("you would be");
        return Err(Failure::Usage(format!("{line}; --yes kills who holds it")));
    }
    in_the_way.holders.iter().try_for_each(|holder| end(holder.pid, SIGKILL))
}
