//! A game of dice between processes.
//!
//! An event starts it; a lock lets one player at a time to the table; a barrier ends each round; another
//! event says that the game is over. The players have joined the barrier, so if one is killed the others are
//! told, and the game ends.

use crate::check::must_hold;
use crate::random::{below, work};
use crate::workers::{Done, introduce, join_all, say, until};
use procession::{Array, Barrier, Event, Latch, Lock, OnOwnerDeath, Process, Value};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// Four players, five rounds: a lock, a barrier and two events.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Pauses of at most 2 ms instead of 400.
    #[arg(long)]
    quick: bool,
}

const PLAYERS: [&str; 4] = ["Ada", "Bob", "Cleo", "Dan"];
const ROUNDS: usize = 5;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Game {
    seated: Latch,
    start: Event,
    table: Lock,
    /// To be changed at the table only.
    scores: Array<u32>,
    round_ends: Barrier,
    rounds: Value<u32>,
    over: Event,
    longest: Duration,
}

/// Runs in a process of its own; what the player rolled.
fn player((me, game): (usize, Game)) -> Done<Vec<u32>> {
    let mut member = game.round_ends.join()?;
    game.seated.arrive();
    game.start.wait()?;
    let mut rolls = Vec::new();
    for round in 1..=ROUNDS {
        work(game.longest);
        let at_table = game.table.acquire()?;
        let roll = below(6) as u32 + 1;
        let score = game.scores.get(me)? + roll;
        game.scores.set(me, score)?;
        say(format_args!("round {round}: {} rolls {roll} and has {score}", PLAYERS[me]));
        drop(at_table);
        rolls.push(roll);
        // Exactly one gets 0.
        if member.wait()? == 0 {
            game.rounds.fetch_add(1)?;
        }
    }
    // After this one, all have counted.
    if member.wait()? == 0 {
        game.over.set();
    }
    Ok(rolls)
}

/// Runs in a process of its own; the scores at the end.
fn announcer(game: Game) -> Done<Vec<u32>> {
    game.over.wait()?;
    let scores = game.scores.read(0..PLAYERS.len())?;
    let best = scores.iter().copied().max().unwrap_or_default();
    let winners: Vec<&str> =
        PLAYERS.into_iter().zip(&scores).filter(|(_, score)| **score == best).map(|(name, _)| name).collect();
    say(format_args!("game over: {} wins with {best}", winners.join(" and ")));
    Ok(scores)
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let count = PLAYERS.len();
    // A player killed at the table leaves a score that is the old one or the new one: there is nothing to
    // repair.
    let table = Lock::options().on_owner_death(OnOwnerDeath::Ignore).anonymous()?;
    let game = Game {
        seated: Latch::new(count)?,
        start: Event::new()?,
        table,
        scores: Array::options().len(PLAYERS.len()).anonymous()?,
        round_ends: Barrier::new(count)?,
        rounds: Value::new(0)?,
        over: Event::new()?,
        longest: Duration::from_millis(if args.quick { 2 } else { 400 }),
    };
    let mut people = Vec::new();
    for (me, name) in PLAYERS.into_iter().enumerate() {
        people.push(Process::options().name(name).spawn(player, (me, game.clone()))?);
    }
    people.push(Process::options().name("announcer").spawn(announcer, game.clone())?);
    introduce(&people)?;
    until(&people, "the players to sit down", |time| game.seated.wait_timeout(time).is_ok())?;
    output::line("go!")?;
    game.start.set();

    let mut results = join_all(people)?;
    let scores = results.pop().unwrap_or_default();
    must_hold(results.iter().all(|rolls| rolls.len() == ROUNDS), "a player has not rolled in every round")?;
    must_hold(results.iter().map(|rolls| rolls.iter().sum::<u32>()).eq(scores), "the scores do not add up")?;
    must_hold(game.rounds.get()? as usize == ROUNDS, "the barrier did not end five rounds")?;
    output::line(format_args!("{ROUNDS} rounds, and the scores add up: all right"))
}
