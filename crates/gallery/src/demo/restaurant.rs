//! A restaurant: the waiter writes orders down, three chefs make a part of each, and a barrier says when the
//! dish is whole.
//!
//! The waiter puts each order into the queue of every chef. The barrier's action, which is done once for each
//! dish while all chefs wait, sends it out. The drinks station works on its own and signals by an event;
//! closed queues are how the chefs learn that no more orders will come. If a chef is killed the others are
//! told, for they have joined the barrier.

use crate::check::must_hold;
use crate::random::work;
use crate::workers::{Done, introduce, join_all, say};
use procession::{Barrier, Event, GetError, Member, Process, Queue};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// Orders through queues, dishes by a barrier, drinks by an event, and a clean closing.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Pauses of at most 2 ms instead of 300.
    #[arg(long)]
    quick: bool,
}

const CHEFS: [(&str, &str); 3] = [("Gianni", "pasta"), ("Salma", "sauce"), ("Ulf", "salad")];
const ORDERS: u32 = 6;

/// An order, for table `table`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Order {
    number: u32,
    table: u32,
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Restaurant {
    /// One for each chef.
    orders: Vec<Queue<Order>>,
    /// What the chefs made: the order, and who made a part of it.
    parts: Queue<(Order, u32)>,
    drinks_ready: Event,
    longest: Duration,
}

/// Runs in a process of its own; how many orders it wrote down.
fn waiter(restaurant: Restaurant) -> Done<u32> {
    for number in 1..=ORDERS {
        let order = Order { number, table: number % 4 + 1 };
        for chef in &restaurant.orders {
            chef.put(&order)?;
        }
        say(format_args!("order {number}: table {}", order.table));
        work(restaurant.longest);
    }
    restaurant.drinks_ready.wait()?;
    say("the drinks are served");
    for chef in &restaurant.orders {
        chef.close()?;
    }
    Ok(ORDERS)
}

/// Runs in a process of its own; how many dishes it was part of.
fn chef((me, mut place, restaurant): (u32, Member, Restaurant)) -> Done<u32> {
    let (name, part) = CHEFS[me as usize];
    let mut dishes = 0;
    loop {
        let order = match restaurant.orders[me as usize].get() {
            Err(GetError::Closed(_)) => return Ok(dishes),
            order => order?,
        };
        work(restaurant.longest);
        restaurant.parts.put(&(order, me))?;
        // Nobody begins the next dish before this one is whole; exactly one is told 0, and sends it out.
        if place.wait()? == 0 {
            say(format_args!("order {}: {name} was first, and waited with the {part}", order.number));
        }
        dishes += 1;
    }
}

/// Runs in a process of its own.
fn drinks(restaurant: Restaurant) -> Done<u32> {
    work(restaurant.longest);
    say("the drinks are ready");
    restaurant.drinks_ready.set();
    Ok(ORDERS)
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let barrier = Barrier::new(CHEFS.len())?;
    let restaurant = Restaurant {
        orders: CHEFS.iter().map(|_| Queue::new()).collect::<Result<_, _>>()?,
        parts: Queue::new()?,
        drinks_ready: Event::new()?,
        longest: Duration::from_millis(if args.quick { 2 } else { 300 }),
    };
    let mut staff = Vec::new();
    for (me, (name, _)) in (0..).zip(CHEFS) {
        let arguments = (me, barrier.join()?, restaurant.clone());
        staff.push(Process::options().name(name).spawn(chef, arguments)?);
    }
    staff.push(Process::options().name("waiter").spawn(waiter, restaurant.clone())?);
    staff.push(Process::options().name("drinks").spawn(drinks, restaurant.clone())?);
    introduce(&staff)?;
    must_hold(join_all(staff)?.iter().all(|&done| done == ORDERS), "somebody has missed an order")?;

    for number in 1..=ORDERS {
        let mut cooks = Vec::new();
        for _ in CHEFS {
            let (order, cook) = restaurant.parts.try_get()?;
            must_hold(order.number == number, "a dish was begun before the one before it was whole")?;
            cooks.push(cook);
        }
        cooks.sort_unstable();
        must_hold(cooks == [0, 1, 2], "a dish is not whole")?;
        output::line(format_args!("order {number}: pasta, sauce and salad"))?;
    }
    must_hold(restaurant.parts.is_empty(), "there is more than was ordered")?;
    output::line(format_args!("{ORDERS} orders, complete and in order: all right"))
}
