//! Values, arrays, plain memory, maps and lists.

use crate::hand::{Hand, heard, let_go, tried, used};
use crate::targets::Subject;
use procession::bytemuck::Pod;
use procession::{Array, Integer, List, Map, RawArray, RawValue, SharedMemory, Value};
use std::hint::black_box;

impl<T: Pod> Subject for Value<T> {
    fn operate(&self, hand: &mut Hand<'_>) {
        let (what, time, value) = (hand.pick(9), hand.time(), T::zeroed());
        match what {
            0 => {
                hand.plain("get");
                tried(self.get());
            }
            1 => {
                hand.now("try_set");
                tried(self.try_set(value));
            }
            2 => {
                hand.now("set_timeout");
                tried(self.set_timeout(value, time));
            }
            3 => {
                hand.plain("set");
                tried(self.set(value));
            }
            4 => {
                hand.now("try_update");
                tried(self.try_update(|value| black_box(*value)));
            }
            5 => {
                hand.now("update_timeout");
                tried(self.update_timeout(|_| hand.meddle(), time));
            }
            6 => {
                hand.plain("update");
                tried(self.update(|value| *value = T::zeroed()));
            }
            7 => {
                hand.now("acquire_timeout");
                let mut guard = heard(self.acquire_timeout(time));
                if let Some(guard) = &mut guard {
                    **guard = value;
                }
                let_go(hand, guard);
            }
            _ => {
                hand.look(self);
                used(self.holder());
            }
        }
    }

    fn unlink(&self) {
        self.unlink().unwrap();
    }
}

impl<T: Pod + Integer> Subject for Array<T> {
    fn operate(&self, hand: &mut Hand<'_>) {
        let (what, time, value) = (hand.pick(10), hand.time(), T::zeroed());
        let ends = [hand.pick(60) as usize, hand.pick(60) as usize];
        let range = ends[0]..ends[0].max(ends[1]);
        hand.plain("an array");
        match what {
            0 | 1 => tried(self.get(ends[0])),
            2 => tried(self.set(ends[0], value)),
            3 => tried(self.read(range)),
            4 => tried(self.write(ends[0], &[value, value, value])),
            5 => tried(self.fetch_add(ends[0], value)),
            6 => tried(self.compare_exchange(ends[0], value, value)),
            7 => {
                hand.now("try_update");
                tried(self.try_update(range, |part| part.reverse()));
            }
            8 => {
                hand.now("update_timeout");
                tried(self.update_timeout(range, |_| hand.meddle(), time));
            }
            _ => {
                hand.look(self);
                used(self.holder());
            }
        }
    }

    fn unlink(&self) {
        self.unlink().unwrap();
    }
}

impl<T: Pod> Subject for RawValue<T> {
    fn operate(&self, hand: &mut Hand<'_>) {
        hand.look(self);
        self.set(black_box(self.get()));
    }

    fn unlink(&self) {
        self.unlink().unwrap();
    }
}

impl<T: Pod + Integer> Subject for RawArray<T> {
    fn operate(&self, hand: &mut Hand<'_>) {
        let ends = [hand.pick(60) as usize, hand.pick(60) as usize];
        hand.look(self);
        tried(self.get(ends[0]));
        tried(self.set(ends[0], T::zeroed()));
        tried(self.read(ends[0]..ends[1]));
        tried(self.write(ends[0], &[T::zeroed(); 3]));
        tried(self.fetch_add(ends[0], T::zeroed()));
        tried(self.compare_exchange(ends[0], T::zeroed(), T::zeroed()));
    }

    fn unlink(&self) {
        self.unlink().unwrap();
    }
}

impl Subject for SharedMemory {
    fn operate(&self, hand: &mut Hand<'_>) {
        let ends = [hand.pick(1100) as usize, hand.pick(1100) as usize];
        hand.look(self);
        tried(self.read(ends[0]..ends[1]));
        tried(self.write_at(ends[0], &vec![7; ends[1]]));
        black_box((self.size(), self.is_orphaned()));
    }

    fn unlink(&self) {
        self.unlink().unwrap();
    }
}

impl Subject for Map<u16, Vec<u16>> {
    fn operate(&self, hand: &mut Hand<'_>) {
        let (what, time) = (hand.pick(12), hand.time());
        let (key, value) = (hand.pick(50) as u16, vec![7; hand.pick(100) as usize]);
        hand.plain("a map");
        match what {
            0 | 1 => tried(self.get(&key)),
            2..5 => tried(self.insert(&key, &value)),
            5 => tried(self.remove(&key)),
            6 => tried(self.len()),
            7 => tried(self.iter().map(|all| all.for_each(|entry| drop(black_box(entry))))),
            8 => tried(self.clear()),
            9 => {
                hand.now("try_update");
                tried(self.try_update(&key, |entry| *entry = None));
            }
            10 => {
                hand.now("update_timeout");
                tried(self.update_timeout(&key, |_| hand.meddle(), time));
            }
            _ => {
                hand.look(self);
                used((self.holder(), self.memory()));
            }
        }
    }

    fn unlink(&self) {
        self.unlink().unwrap();
    }
}

impl Subject for List<Vec<u16>> {
    fn operate(&self, hand: &mut Hand<'_>) {
        let (what, time) = (hand.pick(14), hand.time());
        let (index, value) = (hand.pick(50) as usize, vec![7; hand.pick(100) as usize]);
        hand.plain("a list");
        match what {
            0 | 1 => tried(self.get(index)),
            2..4 => tried(self.push(&value)),
            4 => tried(self.extend(&[value.clone(), value])),
            5 => tried(self.pop()),
            6 => tried(self.set(index, &value)),
            7 => tried(self.insert(index, &value)),
            8 => tried(self.remove(index)),
            9 => tried(self.iter().map(|all| all.for_each(|element| drop(black_box(element))))),
            10 => tried(self.clear()),
            11 => {
                hand.now("update_timeout");
                tried(self.update_timeout(index, |_| hand.meddle(), time));
            }
            12 => tried(self.truncate(index)),
            _ => {
                hand.look(self);
                used((self.holder(), self.len().ok()));
            }
        }
    }

    fn unlink(&self) {
        self.unlink().unwrap();
    }
}
