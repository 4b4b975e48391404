//! Vectors, slices and boxed slices of numbers, which are written as they lie in memory.
//!
//! serde hands over the elements of a `Vec<f64>` one by one, as it does those of every other sequence. Where the
//! type turns out to be that, whether as a message, as a field or as an element, all of them are copied at once.
//! What is written is the same either way: one side may copy what the other one reads one by one, as it does in
//! an `Option`, whose content serde does not show.
#![expect(unsafe_code, reason = "a type that turns out to be a vector of numbers is treated as one")]

use super::error::DecodeError;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, size_of, transmute_copy};

/// A number that is written as the bytes that it has in memory.
///
/// # Safety
/// It has no lifetime, and all of its bytes are initialised.
unsafe trait Number: Copy + 'static {
    fn of(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! numbers {
    ($($number:ident)*) => {
        $(
            // SAFETY: it is a primitive.
            unsafe impl Number for $number {
                #[inline]
                fn of(bytes: &[u8]) -> Vec<Self> {
                    let (numbers, _) = bytes.as_chunks();
                    numbers.iter().map(|bytes| Self::from_le_bytes(*bytes)).collect()
                }
            }
        )*

        /// How many numbers `value` is, and their bytes; `None` if it is anything else.
        #[inline]
        pub(super) fn of_value<T: ?Sized>(value: &T) -> Option<(usize, &[u8])> {
            // Both are known when this is compiled, also by a compiler that does not optimise.
            if size_of::<&T>() == size_of::<&[u8]>() {
                $(if is::<T, [$number]>() {
                    // SAFETY: the types are one, which has no lifetime.
                    return Some(in_memory::<$number>(unsafe { transmute_copy::<&T, &[$number]>(&value) }));
                })*
            } else if size_of_val(value) == size_of::<&[u8]>() {
                $(if is::<T, Box<[$number]>>() || is::<T, &[$number]>() {
                    // SAFETY: the types are one; both are where a slice is, which lives as long as `value`.
                    return Some(in_memory::<$number>(unsafe { *transmute_copy::<&T, &&[$number]>(&value) }));
                })*
            } else if size_of_val(value) == size_of::<Vec<u8>>() {
                $(if is::<T, Vec<$number>>() {
                    // SAFETY: the types are one, which has no lifetime.
                    return Some(in_memory(unsafe { transmute_copy::<&T, &Vec<$number>>(&value) }));
                })*
            }
            None
        }

        /// The value of a seed that stands for a vector of numbers, from the bytes that `take` finds for numbers
        /// of so many bytes each; `None` if it stands for anything else.
        #[inline]
        pub(super) fn of_seed<'de, S, V>(
            take: impl FnOnce(usize) -> Result<&'de [u8], DecodeError>,
        ) -> Option<Result<V, DecodeError>> {
            // As above.
            if size_of::<S>() == 0 && size_of::<V>() == size_of::<VecDeque<u8>>() {
                $(if is::<V, VecDeque<$number>>() && is::<S, PhantomData<VecDeque<$number>>>() {
                    let numbers = take(size_of::<$number>()).map(|bytes| VecDeque::from($number::of(bytes)));
                    // SAFETY: the types are one, which has no lifetime, and the original is not dropped.
                    return Some(numbers.map(|numbers| unsafe { transmute_copy(&ManuallyDrop::new(numbers)) }));
                })*
            } else if size_of::<S>() == 0 && size_of::<V>() == size_of::<Vec<u8>>() {
                $(if is::<V, Vec<$number>>() && is::<S, PhantomData<Vec<$number>>>() {
                    let numbers = take(size_of::<$number>()).map($number::of);
                    // SAFETY: the types are one, which has no lifetime, and the original is not dropped.
                    return Some(numbers.map(|numbers| unsafe { transmute_copy(&ManuallyDrop::new(numbers)) }));
                })*
            } else if size_of::<S>() == 0 && size_of::<V>() == size_of::<Box<[u8]>>() {
                $(if is::<V, Box<[$number]>>() && is::<S, PhantomData<Box<[$number]>>>() {
                    let numbers = take(size_of::<$number>()).map(|bytes| $number::of(bytes).into_boxed_slice());
                    // SAFETY: as above.
                    return Some(numbers.map(|numbers| unsafe { transmute_copy(&ManuallyDrop::new(numbers)) }));
                })*
            }
            None
        }

        /// How many bytes an element of a sequence has, as serde hands it over, if it is a number.
        #[inline]
        pub(super) fn size_of_item<T>() -> Option<usize> {
            $(if is::<T, &$number>() {
                return Some(size_of::<$number>());
            })*
            None
        }

        /// Appends the elements of a sequence, if they are numbers; what it was given if they are anything else.
        #[inline]
        pub(super) fn append_items<I: Iterator>(items: I, out: &mut Vec<u8>) -> Result<(), I> {
            // Where it is known how many come, bytes are copied in a loop that asks nothing.
            if is::<I::Item, &u8>() {
                // SAFETY: the types are one.
                out.extend(items.map(|item| unsafe { *transmute_copy::<I::Item, &u8>(&item) }));
                return Ok(());
            }
            $(if is::<I::Item, &$number>() {
                items.for_each(|item| {
                    // SAFETY: the types are one.
                    let number = unsafe { *transmute_copy::<I::Item, &$number>(&item) };
                    out.extend_from_slice(&number.to_le_bytes());
                });
                return Ok(());
            })*
            Err(items)
        }

        /// The value of a seed that stands for a number, which is taken from the beginning of `bytes`; `None` if
        /// it stands for anything else.
        #[inline]
        pub(super) fn one_of_seed<S, V>(bytes: &mut &[u8]) -> Option<Result<V, DecodeError>> {
            // As above.
            if size_of::<S>() == 0 {
                $(if is::<V, $number>() && is::<S, PhantomData<$number>>() {
                    let Some((first, rest)) = bytes.split_first_chunk() else {
                        return Some(Err(DecodeError::UnexpectedEnd));
                    };
                    *bytes = rest;
                    let number = $number::from_le_bytes(*first);
                    // SAFETY: the types are one, which has no lifetime.
                    return Some(Ok(unsafe { transmute_copy(&number) }));
                })*
            }
            None
        }
    };
}

numbers!(u8 i8 u16 i16 u32 i32 u64 i64 usize isize u128 i128 f32 f64);

/// Whether the types are one but for lifetimes. It is known when this is compiled.
#[inline]
fn is<A: ?Sized, B: ?Sized>() -> bool {
    typeid::of::<A>() == typeid::of::<B>()
}

#[inline]
fn in_memory<N: Number>(numbers: &[N]) -> (usize, &[u8]) {
    // SAFETY: all bytes of a number are initialised; the slice is as long as the numbers are together.
    let bytes = unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) };
    (numbers.len(), bytes)
}

#[cfg(test)]
mod tests {
    use super::{of_seed, of_value};
    use crate::codec::{decode, encode};
    use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny};
    use serde::{Deserialize, Serialize};
    use std::collections::{LinkedList, VecDeque};
    use std::fmt::Debug;
    use std::marker::PhantomData;

    fn bytes<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(value, &mut bytes).unwrap();
        bytes
    }

    fn comes_back_either_way<N>(numbers: Vec<N>)
    where
        N: Serialize + DeserializeOwned + PartialEq + Clone + Debug + 'static,
    {
        assert_eq!(of_value(&numbers).map(|(count, _)| count), Some(numbers.len()));
        let one_by_one: LinkedList<N> = numbers.iter().cloned().collect();
        let written = bytes(&one_by_one);
        assert!(
            of_value(&one_by_one).is_none() && bytes(&numbers) == written && bytes(&numbers[..]) == written
        );
        assert!(bytes(&&numbers[..]) == written && bytes(&numbers.clone().into_boxed_slice()) == written);
        assert_eq!(decode::<Vec<N>>(&written).unwrap(), numbers);
        assert_eq!(*decode::<Box<[N]>>(&written).unwrap(), numbers);
        assert_eq!(decode::<LinkedList<N>>(&written).unwrap(), one_by_one);
        let mut ring = VecDeque::from(numbers.clone());
        ring.rotate_left(numbers.len() / 3);
        assert_eq!(decode::<VecDeque<N>>(&bytes(&ring)).unwrap(), ring);
        // As a field, as an element, and where serde does not show the type.
        let all = (numbers.clone(), vec![numbers.clone(); 2], Some(numbers));
        assert_eq!(decode::<(Vec<N>, Vec<Vec<N>>, Option<Vec<N>>)>(&bytes(&all)).unwrap(), all);
        for cut in (0..written.len()).take(100) {
            let (at_once, one_by_one) =
                (decode::<Vec<N>>(&written[..cut]), decode::<LinkedList<N>>(&written[..cut]));
            assert_eq!(at_once.unwrap_err().to_string(), one_by_one.unwrap_err().to_string());
        }
    }

    macro_rules! all {
        ($($number:ident)*) => {
            $(for len in [0, 1, 251] {
                comes_back_either_way::<$number>((0..len).map(|n| (n as f64 * 1.7e37) as $number).collect());
                comes_back_either_way::<$number>((0..len).map(|n| n as $number).collect());
            })*
        };
    }

    #[test]
    fn numbers_are_written_and_read_as_one_by_one() {
        all!(u8 i8 u16 i16 u32 i32 u64 i64 usize isize u128 i128 f32 f64);
        comes_back_either_way(vec![1_u8; 300_000]);
        comes_back_either_way(vec![f64::INFINITY, -0.0, f64::MIN_POSITIVE]);
    }

    #[test]
    fn what_is_as_long_as_a_vector_of_numbers_is_not_one() {
        assert!(of_value(&[1_u64; 3]).is_none());
        assert!(of_value("text").is_none());
        assert!(of_value(&"text".to_owned()).is_none());
        assert!(of_value(&vec!['c', 'h']).is_none());
        assert!(of_value(&vec![&1_u8]).is_none());
        assert!(of_value(&["a", "b"][..]).is_none());
        assert!(of_value(&&["a", "b"][..]).is_none());
        assert!(of_value(&7_u128).is_none());
    }

    /// A seed without content that makes a vector of bytes of something else.
    struct Length;

    impl<'de> DeserializeSeed<'de> for Length {
        type Value = Vec<u8>;

        fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Vec<u8>, D::Error> {
            IgnoredAny::deserialize(from).map(|_| vec![1])
        }
    }

    #[test]
    fn a_seed_of_the_users_is_asked() {
        assert!(of_seed::<Length, Vec<u8>>(|_| Ok(&[7])).is_none());
        assert!(
            of_seed::<PhantomData<Vec<u8>>, Vec<u8>>(|_| Ok(&[7])).is_some_and(|read| read.unwrap() == [7])
        );
        assert!(of_seed::<PhantomData<String>, String>(|_| Ok(&[7])).is_none());
    }
}
