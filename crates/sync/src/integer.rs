//! Operations on an integer in shared memory: the same ones for all objects that hold some.

use bytemuck::Pod;

/// The integers, which change in one step: by [`Value::fetch_add`](crate::Value::fetch_add) and the like.
pub trait Integer: Pod + Ord + sealed::Arithmetic {}

pub(crate) mod sealed {
    pub trait Arithmetic: Sized {
        fn plus(self, n: Self) -> Self;
        fn minus(self, n: Self) -> Self;
        fn and(self, n: Self) -> Self;
        fn or(self, n: Self) -> Self;
        fn xor(self, n: Self) -> Self;
    }
}

macro_rules! integers {
    ($($type:ty)*) => { $(
        impl Integer for $type {}
        impl sealed::Arithmetic for $type {
            #[inline]
            fn plus(self, n: Self) -> Self {
                self.wrapping_add(n)
            }
            #[inline]
            fn minus(self, n: Self) -> Self {
                self.wrapping_sub(n)
            }
            #[inline]
            fn and(self, n: Self) -> Self {
                self & n
            }
            #[inline]
            fn or(self, n: Self) -> Self {
                self | n
            }
            #[inline]
            fn xor(self, n: Self) -> Self {
                self ^ n
            }
        }
    )* };
}
integers!(u8 u16 u32 u64 usize i8 i16 i32 i64 isize);

/// Gives `$Object<T>` what integers can do, by its
/// `change(index if it has several, what becomes of the old one)`, which answers what it was before.
macro_rules! integer_operations {
    ($(#[$about:meta])* $Object:ident ($($index:ident)?) -> $Was:ty; $(#[$errors:meta])*) => {
        $(#[$about])*
        impl<T: $crate::Integer> $Object<T> {
            $crate::integer::integer_operations! { @each ($($index)?) $Was, [$(#[$errors])*],
                /// Adds, wrapping around; what it was before.
                fetch_add |old, n| old.plus(n);
                /// Subtracts, wrapping around; what it was before.
                fetch_sub |old, n| old.minus(n);
                /// Bitwise and; what it was before.
                fetch_and |old, n| old.and(n);
                /// Bitwise or; what it was before.
                fetch_or |old, n| old.or(n);
                /// Bitwise exclusive or; what it was before.
                fetch_xor |old, n| old.xor(n);
                /// Makes it `n` if that is more; what it was before.
                fetch_max |old, n| old.max(n);
                /// Makes it `n` if that is less; what it was before.
                fetch_min |old, n| old.min(n);
                /// Makes it `n`; what it was before.
                swap |_old, n| n;
            }
        }
    };
    (@each $index:tt $Was:ty, $errors:tt, $($(#[$doc:meta])* $name:ident |$old:ident, $n:ident| $new:expr;)*) => {
        $($crate::integer::integer_operations! {
            @one $index $Was, $errors, [$(#[$doc])*] $name |$old, $n| $new
        })*
    };
    (@one ($($index:ident)?) $Was:ty, [$(#[$errors:meta])*], [$(#[$doc:meta])*] $name:ident |$old:ident, $n:ident| $new:expr) => {
        $(#[$doc])*
        $(#[$errors])*
        #[inline]
        pub fn $name(&self, $($index: usize,)? $n: T) -> $Was {
            self.change($($index,)? |$old| Some($new))
        }
    };
}
pub(crate) use integer_operations;
