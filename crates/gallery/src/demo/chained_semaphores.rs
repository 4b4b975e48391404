//! Semaphores in a chain: two hydrogens and one oxygen make a molecule of water, ten molecules make a drop.
//!
//! Five processes bring atoms, one binds them, one collects drops. They know nothing of each other: each
//! takes permits of one semaphore and releases permits of another. Which atoms came together is written down,
//! not assumed.

use crate::shown::{Done, must_hold, say};
use procession::{Array, Semaphore, Team, Value};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use serde::{Deserialize, Serialize};

/// 2 H and 1 O make a molecule, ten molecules make a drop: each by semaphores, in separate processes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As the tests run it; this demo is always quick.
    #[arg(long)]
    quick: bool,
}

const DROPS: u32 = 3;
const MOLECULES_IN_A_DROP: u32 = 10;
const MOLECULES: u32 = DROPS * MOLECULES_IN_A_DROP;

#[derive(Clone, Serialize, Deserialize)]
struct Water {
    /// Free places in the molecule that is being made.
    places_for_hydrogen: Semaphore,
    places_for_oxygen: Semaphore,
    /// Atoms that have taken their places.
    atoms: Semaphore,
    molecules: Semaphore,
    drops: Semaphore,
    /// The atoms in the order in which they took their places, and how many there were.
    log: Array<u8>,
    logged: Value<u64>,
}

/// Runs in a process of its own: brings so many atoms of one kind.
fn bring(water: Water, kind: u8, count: u32) -> Done<()> {
    let places = if kind == b'H' { &water.places_for_hydrogen } else { &water.places_for_oxygen };
    for _ in 0..count {
        places.acquire()?.forget();
        let at = usize::try_from(water.logged.fetch_add(1)?)?;
        water.log.set(at, kind)?;
        water.atoms.release(1)?;
    }
    Ok(())
}

/// Runs in a process of its own: when three atoms have come there is a molecule, and room for the next.
fn bind(water: Water) -> Done<()> {
    for _ in 0..MOLECULES {
        water.atoms.acquire_many(3)?.forget();
        water.molecules.release(1)?;
        water.places_for_hydrogen.release(2)?;
        water.places_for_oxygen.release(1)?;
    }
    Ok(())
}

/// Runs in a process of its own: ten releases of one semaphore make one of the next.
fn collect(water: Water) -> Done<()> {
    for drop in 1..=DROPS {
        water.molecules.acquire_many(MOLECULES_IN_A_DROP as usize)?.forget();
        water.drops.release(1)?;
        say(format_args!("{MOLECULES_IN_A_DROP} molecules made drop {drop}"));
    }
    Ok(())
}

pub(crate) fn run(_: &Args) -> Result<(), Failure> {
    let water = Water {
        places_for_hydrogen: Semaphore::new(2)?,
        places_for_oxygen: Semaphore::new(1)?,
        atoms: Semaphore::new(0)?,
        molecules: Semaphore::new(0)?,
        drops: Semaphore::new(0)?,
        log: Array::options().len(3 * MOLECULES as usize).anonymous()?,
        logged: Value::new(0)?,
    };
    let mut team = Team::new();
    team.spawn_fallible("binder", bind, water.clone())?;
    team.spawn_fallible("collector", collect, water.clone())?;
    // Some bring more than others.
    let hydrogen = [10, 20, 2 * MOLECULES - 30].map(|count| ("hydrogen", b'H', count));
    let oxygen = [5, MOLECULES - 5].map(|count| ("oxygen", b'O', count));
    for (name, kind, count) in hydrogen.into_iter().chain(oxygen) {
        team.spawn_fallible(name, bring, (water.clone(), kind, count))?;
    }
    team.join()?;

    let atoms = water.log.read(0..water.log.len())?;
    for molecule in atoms.chunks(3) {
        output::line(format_args!("molecule {}", String::from_utf8_lossy(molecule)))?;
        let hydrogens = molecule.iter().filter(|&&atom| atom == b'H').count();
        must_hold(hydrogens == 2 && molecule.contains(&b'O'), "a molecule is not 2 H and 1 O")?;
    }
    must_hold(water.drops.available() == DROPS as usize, "a drop is missing")?;
    must_hold(water.molecules.available() == 0, "a molecule is left over")?;
    output::line(format_args!("{MOLECULES} molecules of 2 H and 1 O, {DROPS} drops: all right"))
}
