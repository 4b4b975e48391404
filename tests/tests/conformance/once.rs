//! What is done once, which Python has not.

use crate::ground::{Ground, Sent, child, conforms, elsewhere, for_ever, kill};
use procession::{Event, Latch, Once, Value};

conforms!(
    one_of_many_processes_does_it_and_the_others_have_it,
    it_is_done_again_when_the_one_who_did_it_was_killed,
);

type Work = (Sent<Once>, Sent<Value<u32>>, Sent<Latch>);

fn one_of_many_processes_does_it_and_the_others_have_it(ground: &Ground) {
    let (once, count) = (ground.make(Once::options()), ground.make(Value::<u32>::options()));
    let start = ground.make(Latch::options().count(4));
    let work = |(once, count, start): Work| {
        start.arrive();
        start.wait().unwrap();
        let did = once.run(|_| assert_eq!(count.fetch_add(1).unwrap(), 0)).unwrap();
        // Whoever did it, it is done.
        assert_eq!(count.get().unwrap(), 1);
        did
    };
    let arguments = || (once.send(), count.send(), start.send());
    let children: Vec<_> = (0..4).map(|_| child(work, arguments())).collect();
    assert_eq!(children.into_iter().map(|child| child.join().unwrap()).filter(|did| *did).count(), 1);
    assert!(elsewhere(|once: Sent<Once>| once.is_done(), once.send()));
    assert!(!once.run(|_| unreachable!("it is done")).unwrap());
}

fn it_is_done_again_when_the_one_who_did_it_was_killed(ground: &Ground) {
    let (once, doing) = (ground.make(Once::options()), ground.make(Event::options()));
    let die = |(once, doing): (Sent<Once>, Sent<Event>)| {
        drop(once.run(|run| {
            assert!(!run.is_again);
            doing.set();
            for_ever();
        }));
    };
    let victim = child(die, (once.send(), doing.send()));
    doing.wait().unwrap();
    assert!(!once.is_done());
    kill(&victim);
    let mut again = None;
    assert!(once.run(|run| again = Some(run.is_again)).unwrap());
    assert_eq!((again, once.is_done()), (Some(true), true));
}
