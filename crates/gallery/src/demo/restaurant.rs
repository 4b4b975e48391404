//! A restaurant: the waiter writes orders down, three chefs make a part of each, and a barrier says when the
//! dish is whole.
//!
//! The waiter puts each order into the queue of every chef, and of the drinks station, which works on its own and
//! sets an event for each order. The barrier's action, which one chef does for each dish while the others wait,
//! announces the order and hands out its parts. Closed queues are how everybody learns that no more orders will
//! come. If a chef is killed the others are told, for they have joined the barrier.

use crate::random::work;
use crate::shown::{Done, introduce, must_hold, say};
use procession::{Barrier, Event, Member, Queue, Team};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// Orders through queues, dishes by a barrier and its action, drinks by an event for each, and a clean closing.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Pauses of at most 2 ms instead of 300.
    #[arg(long)]
    quick: bool,
}

const CHEFS: [(&str, &str); 3] = [("Gianni", "pasta"), ("Salma", "sauce"), ("Ulf", "salad")];
const DRINKS: [&str; 3] = ["water", "juice", "tea"];
const ORDERS: usize = 6;

/// The number of an order, from 1; and what belongs to it.
type Part = (usize, String);

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Restaurant {
    /// For each chef; the last one is for the drinks.
    orders: Vec<Queue<usize>>,
    /// What the chefs have made, until the barrier's action takes it.
    parts: Queue<Part>,
    /// What the waiter is to carry out.
    dishes: Queue<Vec<Part>>,
    /// One for each order.
    drinks_ready: Vec<Event>,
    longest: Duration,
}

/// Runs in a process of its own; what it served, in that order.
fn waiter(restaurant: Restaurant) -> Done<Vec<Part>> {
    for number in 1..=ORDERS {
        say(format_args!("order {number}: table {}", number % 4 + 1));
        restaurant.orders.iter().try_for_each(|station| station.put(&number))?;
        work(restaurant.longest);
    }
    restaurant.orders.iter().try_for_each(Queue::close)?;
    let mut served = Vec::new();
    for (number, drinks_ready) in (1..).zip(&restaurant.drinks_ready) {
        let dish = restaurant.dishes.get()?;
        drinks_ready.wait()?;
        say(format_args!("order {number} is served, with {}", DRINKS[number % 3]));
        served.extend(dish);
    }
    Ok(served)
}

/// Runs in a process of its own; what it made.
fn chef(me: usize, place: Member, restaurant: Restaurant) -> Done<Vec<Part>> {
    let (parts, dishes) = (restaurant.parts.clone(), restaurant.dishes.clone());
    let mut place = place.with_action(move || {
        let dish = (0..parts.len()).map(|_| parts.get()).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<_> = dish.iter().map(|(_, part)| part.as_str()).collect();
        say(format_args!("order {} is ready: {}", dish[0].0, names.join(", ")));
        Ok(dishes.put(&dish)?)
    });
    let mut made = Vec::new();
    for number in &restaurant.orders[me] {
        let part = (number?, CHEFS[me].1.to_owned());
        work(restaurant.longest);
        restaurant.parts.put(&part)?;
        // Nobody begins the next dish before this one is whole.
        place.wait()?;
        made.push(part);
    }
    Ok(made)
}

/// Runs in a process of its own; what it poured.
fn drinks(restaurant: Restaurant) -> Done<Vec<Part>> {
    let mut poured = Vec::new();
    for number in &restaurant.orders[CHEFS.len()] {
        let number = number?;
        work(restaurant.longest);
        poured.push((number, DRINKS[number % 3].to_owned()));
        say(format_args!("order {number}: {} is ready", DRINKS[number % 3]));
        restaurant.drinks_ready[number - 1].set();
    }
    Ok(poured)
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let barrier = Barrier::new(CHEFS.len())?;
    let restaurant = Restaurant {
        orders: (0..=CHEFS.len()).map(|_| Queue::new()).collect::<Result<_, _>>()?,
        parts: Queue::new()?,
        dishes: Queue::new()?,
        drinks_ready: (0..ORDERS).map(|_| Event::new()).collect::<Result<_, _>>()?,
        longest: Duration::from_millis(if args.quick { 2 } else { 300 }),
    };
    let mut staff = Team::new();
    staff.spawn_fallible("waiter", waiter, restaurant.clone())?;
    for (me, (name, _)) in CHEFS.into_iter().enumerate() {
        staff.spawn_fallible(name, chef, (me, barrier.join()?, restaurant.clone()))?;
    }
    staff.spawn_fallible("drinks", drinks, restaurant.clone())?;
    introduce(&staff)?;
    let mut work = staff.join()?.into_iter();

    let served = work.next().unwrap_or_default();
    must_hold(served.len() == ORDERS * CHEFS.len(), "a dish has too few or too many parts")?;
    for (number, dish) in (1..).zip(served.chunks(CHEFS.len())) {
        must_hold(dish.iter().all(|part| part.0 == number), "a dish has a part of another order")?;
        let is_in = |name: &str| dish.iter().any(|(_, part)| part == name);
        must_hold(CHEFS.iter().all(|(_, part)| is_in(part)), "a dish is not whole")?;
    }
    for made in work {
        must_hold(made.iter().map(|part| part.0).eq(1..=ORDERS), "somebody has missed an order")?;
    }
    must_hold(restaurant.parts.is_empty(), "there is more than was ordered")?;
    output::line(format_args!("{ORDERS} orders, complete and in order: all right"))
}
