//! Condition, with a count as the monitor. No signal is lost with the victim.

use crate::run::Scene;
use crate::stage::{Stage, stepped};
use procession_sync::{Condition, Value};

pub(super) const SCENES: &[Scene] = &[
    Scene { name: "condition/wait", whole: 1, play: wait },
    Scene { name: "condition/wait/sleeper", whole: 1, play: wait_before_sleeper },
    Scene { name: "condition/notify", whole: 0, play: notify },
    Scene { name: "condition/notify/sleeper", whole: 0, play: notify_sleeper },
    Scene { name: "condition/notify-held/sleeper", whole: 1, play: notify_held },
    Scene { name: "condition/notify_all/sleeper", whole: 0, play: notify_all },
];

/// A count of what is there, and the condition that there is some.
struct Stock {
    count: Value<u64>,
    some: Condition,
}

impl Stock {
    fn new() -> Self {
        Self { count: Value::new(0).unwrap(), some: Condition::new().unwrap() }
    }

    #[inline]
    fn take(&self) -> u8 {
        let mut count = self.some.wait_for(self.count.acquire().unwrap(), |count| *count > 0).unwrap();
        *count -= 1;
        0
    }

    fn give(&self) {
        self.count.fetch_add(1).unwrap();
        self.some.notify(1);
    }

    /// Waiting and notifying work.
    fn works(&self, stage: &mut Stage<'_>) {
        assert_eq!(self.count.get().unwrap(), 0);
        stage.sleeper(|| self.take());
        self.give();
        assert_eq!(stage.ends(), 0);
        assert_eq!(self.count.get().unwrap(), 0);
    }
}

/// Progress: 1 when the victim has taken what was there.
fn wait(stage: &mut Stage<'_>) -> u32 {
    let stock = Stock::new();
    stage.victim(|| stepped(|| stock.take()));
    let mut gave = false;
    stage.kill(|_| {
        stock.give();
        gave = true;
    });
    if !gave {
        stock.give();
    }
    let left = stock.count.get().unwrap();
    if left > 0 {
        stock.take();
    }
    stock.works(stage);
    1 - left as u32
}

/// The victim has waited longest, so it is the one that is notified. Progress as above.
fn wait_before_sleeper(stage: &mut Stage<'_>) -> u32 {
    let stock = Stock::new();
    stage.victim(|| stepped(|| stock.take()));
    let mut came = false;
    stage.kill(|stage| {
        stage.sleeper(|| stock.take());
        stock.give();
        came = true;
    });
    if !came {
        stage.sleeper(|| stock.take());
        stock.give();
    }
    let mut taken_by_victim = 0;
    if stock.count.get().unwrap() == 0 {
        taken_by_victim = 1;
        stock.give();
    }
    // Otherwise the sleeper gets the victim's signal, or sees that it died with the count.
    assert_eq!(stage.ends(), 0);
    if stock.count.get().unwrap() > 0 {
        // It was the sleeper that had taken it.
        taken_by_victim = 0;
        stock.take();
    }
    stock.works(stage);
    taken_by_victim
}

fn notify(stage: &mut Stage<'_>) -> u32 {
    let stock = Stock::new();
    stage.victim(|| stepped(|| stock.some.notify(1)));
    stage.kill(|_| ());
    stock.works(stage);
    0
}

/// What the victim did not say, this process says.
fn notify_sleeper(stage: &mut Stage<'_>) -> u32 {
    let stock = Stock::new();
    stage.victim(|| stepped(|| stock.some.notify(1)));
    stage.sleeper(|| stock.take());
    stock.count.fetch_add(1).unwrap();
    stage.kill(|_| ());
    stock.some.notify(1);
    assert_eq!(stage.ends(), 0);
    stock.works(stage);
    0
}

/// What the victim changed, and said while it held the lock, is seen without further ado; what it did not
/// change, this process changes. Progress: how much the victim gave.
fn notify_held(stage: &mut Stage<'_>) -> u32 {
    let given_and_taken: Value<[u64; 2]> = Value::new([0; 2]).unwrap();
    let some = Condition::new().unwrap();
    let give = || {
        let mut stock = given_and_taken.acquire().unwrap();
        stock[0] += 1;
        some.notify(1);
    };
    stage.victim(|| stepped(give));
    stage.sleeper(|| {
        let stock = given_and_taken.acquire().unwrap();
        some.wait_for(stock, |stock| stock[0] > stock[1]).unwrap()[1] += 1;
        0
    });
    stage.kill(|_| ());
    let [given, _] = given_and_taken.get().unwrap();
    if given == 0 {
        give();
    }
    assert_eq!(stage.ends(), 0);
    assert_eq!(given_and_taken.get().unwrap(), [1, 1]);
    given as u32
}

fn notify_all(stage: &mut Stage<'_>) -> u32 {
    let stock = Stock::new();
    stage.victim(|| stepped(|| stock.some.notify_all()));
    stage.sleeper(|| stock.take());
    stage.sleeper(|| stock.take());
    stock.count.fetch_add(2).unwrap();
    stage.kill(|_| ());
    stock.some.notify_all();
    assert_eq!([stage.ends(), stage.ends()], [0, 0]);
    stock.works(stage);
    0
}
