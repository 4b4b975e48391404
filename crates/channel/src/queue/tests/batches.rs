//! Many messages by one lock and one commit.

use super::{queue, spills};
use crate::queue::{GetError, GetManyError, PutError, PutManyError};
use std::time::Duration;

#[test]
fn batches_of_every_length_come_out_whole_and_in_order() {
    let queue = queue::<Vec<u8>>(256, 0);
    let mut next = 0_u32;
    let mut message = || {
        next += 1;
        vec![next as u8; (next * 7 % 90) as usize]
    };
    for count in 0..40 {
        let batch: Vec<_> = (0..count).map(|_| message()).collect();
        let mut got = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| queue.batch().put(&batch).unwrap());
            while got.len() < batch.len() {
                got.extend(queue.batch().get(1 + got.len() % 5).unwrap());
            }
        });
        assert_eq!(got, batch);
    }
    assert!(queue.batch().drain().unwrap().is_empty());
}

#[test]
fn a_batch_that_fits_becomes_visible_at_once() {
    // Room for three of them, and for no part of a fourth.
    let queue = queue::<u64>(1024, 21);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..5000 {
                queue.batch().put(&[round; 7]).unwrap();
            }
            queue.close().unwrap();
        });
        let mut last = 0;
        loop {
            match queue.batch().try_get(usize::MAX) {
                Ok(got) => {
                    assert!(got.len().is_multiple_of(7) && got.is_sorted(), "{got:?}");
                    last = got[got.len() - 1];
                }
                Err(GetManyError { error: GetError::WouldBlock(_), .. }) => std::thread::yield_now(),
                Err(failed) => {
                    assert!(matches!(failed.error, GetError::Closed(_)), "{failed:?}");
                    break;
                }
            }
        }
        assert_eq!(last, 4999);
    });
}

#[test]
fn a_batch_says_how_much_of_it_was_put() {
    let queue = queue::<u8>(1024, 3);
    let failed = queue.batch().try_put(&[1, 2, 3, 4, 5]);
    assert!(matches!(failed, Err(PutManyError { put: 3, error: PutError::WouldBlock(_) })), "{failed:?}");
    let failed = queue.batch().put_timeout(&[6], Duration::from_millis(5));
    assert!(matches!(failed, Err(PutManyError { put: 0, error: PutError::TimedOut(_) })), "{failed:?}");
    assert!(queue.batch().get(0).unwrap().is_empty());
    assert_eq!(queue.batch().get(2).unwrap(), [1, 2]);
    queue.batch().put(&[]).unwrap();
    assert_eq!(queue.batch().drain().unwrap(), [3]);
    let empty = queue.batch().try_get(2).unwrap_err();
    assert_eq!((empty.to_string().as_str(), empty.rest.len()), ("0 messages were got, and no more", 0));
    queue.close().unwrap();
    assert!(queue.batch().drain().unwrap().is_empty());
    let failed = queue.batch().put(&[7]);
    assert!(matches!(failed, Err(PutManyError { put: 0, error: PutError::Closed(_) })), "{failed:?}");
}

/// What cannot be encoded when it is odd.
#[derive(Debug, PartialEq)]
struct Even(u8);

impl serde::Serialize for Even {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % 2 {
            0 => serializer.serialize_u8(self.0),
            _ => Err(serde::ser::Error::custom("odd")),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Even {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        if number < 200 { Ok(Self(number)) } else { Err(serde::de::Error::custom("large")) }
    }
}

#[test]
fn what_cannot_be_encoded_or_decoded_costs_nothing_else_of_its_batch() {
    let queue = queue::<Even>(1024, 0);
    let failed = queue.batch().put(&[Even(2), Even(4), Even(5), Even(6)]);
    let Err(PutManyError { put: 2, error: PutError::Encode(why) }) = failed else { panic!("{failed:?}") };
    assert_eq!(why.to_string(), "the value cannot be encoded: odd");
    queue.batch().put(&[Even(202), Even(8)]).unwrap();
    queue.body.put(&[9; 5000], procession_sys::Deadline::NEVER).unwrap();
    let Err(GetManyError { got, error: GetError::Decode { bytes, source, .. }, rest }) = queue.batch().get(9)
    else {
        panic!("decoded")
    };
    assert_eq!(source.to_string(), "large");
    assert_eq!((got, bytes), (vec![Even(2), Even(4)], vec![202]));
    assert_eq!(*rest, [vec![8], vec![9; 5000]]);
    assert!(queue.is_empty() && spills(&queue).is_empty());
}

#[test]
fn what_is_looked_at_stays() {
    let queue = queue::<Vec<u8>>(256, 0);
    let messages: Vec<Vec<u8>> = [3, 1000, 0, 2000].map(|len| vec![len as u8; len]).to_vec();
    queue.batch().put(&messages).unwrap();
    for most in 0..6 {
        assert_eq!(queue.batch().peek(most).unwrap(), messages[..most.min(4)]);
    }
    assert_eq!((queue.len(), spills(&queue).len()), (4, 2));
    assert_eq!(queue.batch().drain().unwrap(), messages);
    assert!(queue.batch().peek(9).unwrap().is_empty());
    queue.close().unwrap();
    assert!(queue.batch().peek(9).unwrap().is_empty());
}
