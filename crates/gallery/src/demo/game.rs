//! A game of dice between processes.
//!
//! An event starts it; a lock lets one player at a time to the table; a barrier ends each round, and whoever it
//! tells 0 announces the scores; another event says that the game is over, and is all by which the players
//! know. They have joined the barrier, so if one is killed the others are told, and the game ends.

use crate::random::{below, work};
use crate::shown::{Done, introduce, must_hold, say};
use procession::{Array, Barrier, Event, Latch, Lock, OnOwnerDeath, Team, Value};
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
fn player(me: usize, game: Game) -> Done<Vec<u32>> {
    let mut member = game.round_ends.join()?;
    game.seated.arrive();
    game.start.wait()?;
    let mut rolls = Vec::new();
    while !game.over.is_set() {
        work(game.longest);
        let at_table = game.table.acquire()?;
        let roll = below(6) as u32 + 1;
        let score = game.scores.get(me)? + roll;
        game.scores.set(me, score)?;
        rolls.push(roll);
        say(format_args!("round {}: {} rolls {roll} and has {score}", rolls.len(), PLAYERS[me]));
        drop(at_table);
        // Exactly one gets 0.
        if member.wait()? == 0 {
            let scores = game.scores.read(0..PLAYERS.len())?;
            let each: Vec<_> =
                PLAYERS.iter().zip(scores).map(|(name, score)| format!("{name} {score}")).collect();
            say(format_args!("after round {}: {}", rolls.len(), each.join(", ")));
            if game.rounds.fetch_add(1)? + 1 == ROUNDS as u32 {
                game.over.set();
            }
        }
        // Nobody goes on before the scores are announced.
        member.wait()?;
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
    let win = if winners.len() == 1 { "wins" } else { "win" };
    say(format_args!("game over: {} {win} with {best}", winners.join(" and ")));
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
        scores: Array::options().len(count).anonymous()?,
        round_ends: Barrier::new(count)?,
        rounds: Value::new(0)?,
        over: Event::new()?,
        longest: Duration::from_millis(if args.quick { 2 } else { 400 }),
    };
    let mut people = Team::new();
    for (me, name) in PLAYERS.into_iter().enumerate() {
        people.spawn_fallible(name, player, (me, game.clone()))?;
    }
    people.spawn_fallible("announcer", announcer, game.clone())?;
    introduce(&people)?;
    people.wait_for(&game.seated)?;
    for number in ["3", "2", "1", "go!"] {
        output::line(number)?;
        std::thread::sleep(game.longest);
    }
    game.start.set();

    let mut results = people.join()?;
    let scores = results.pop().unwrap_or_default();
    must_hold(results.iter().all(|rolls| rolls.len() == ROUNDS), "a player has not rolled in every round")?;
    must_hold(results.iter().map(|rolls| rolls.iter().sum::<u32>()).eq(scores), "the scores do not add up")?;
    must_hold(game.rounds.get()? as usize == ROUNDS, "the barrier did not end five rounds")?;
    output::line(format_args!("{ROUNDS} rounds, and the scores add up: all right"))
}
