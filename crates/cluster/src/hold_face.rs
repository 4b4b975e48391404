//! What all objects that are held have in common for those who use them: the three forms of acquiring, and the guard.

/// The three forms in which an object is taken hold of in one mode: `$until` is what is waited for, `$if_free` when it
/// is not waited, `$also` what else may go wrong.
macro_rules! acquires {
    (
        $Object:ident => $Guard:ident by $mode:expr,
        $plain:ident $tries:ident $timed:ident,
        $until:literal, $if_free:literal, $also:literal
    ) => {
        impl $Object {
            #[doc = concat!("Waits until ", $until, ".")]
            ///
            /// # Errors
            #[doc = $also]
            /// [`Unavailable`](ClusterError::Unavailable); [`TooMany`](ClusterError::TooMany);
            /// [`InvalidName`](ClusterError::InvalidName); [`Interrupted`](ClusterError::Interrupted).
            pub fn $plain(&self) -> Result<$Guard, ClusterError> {
                $Guard::of(&self.engine, &self.object, $mode, Patience::Forever)
            }

            #[doc = concat!("Takes it if ", $if_free, ".")]
            ///
            /// # Errors
            #[doc = concat!(
                "[`WouldBlock`](ClusterError::WouldBlock); otherwise as [`", stringify!($plain), "`](Self::",
                stringify!($plain), ")."
            )]
            pub fn $tries(&self) -> Result<$Guard, ClusterError> {
                $Guard::of(&self.engine, &self.object, $mode, Patience::Try)
            }

            #[doc = concat!("Waits at most `timeout` until ", $until, ".")]
            ///
            /// # Errors
            #[doc = concat!(
                "[`TimedOut`](ClusterError::TimedOut); otherwise as [`", stringify!($plain), "`](Self::",
                stringify!($plain), ")."
            )]
            pub fn $timed(&self, timeout: Duration) -> Result<$Guard, ClusterError> {
                $Guard::of(&self.engine, &self.object, $mode, Patience::of(timeout))
            }
        }
    };
}

/// Declares a guard. A permit has no token: others hold permits at the same time.
macro_rules! guard {
    ($(#[$about:meta])* $Guard:ident, has_token = $has_token:literal) => {
        $(#[$about])*
        ///
        /// It stays with the thread that acquired it.
        #[must_use = "dropping the guard releases it at once"]
        // The connection lasts as long as what is held by it, wherever the cluster is dropped.
        pub struct $Guard(
            Box<dyn $crate::engine::Hold>,
            std::sync::Arc<dyn $crate::engine::Engine>,
        );

        impl $Guard {
            fn of(
                engine: &std::sync::Arc<dyn $crate::engine::Engine>,
                object: &$crate::engine::Object,
                mode: $crate::engine::Mode,
                patience: $crate::engine::Patience,
            ) -> Result<Self, ClusterError> {
                Ok(Self(engine.take(object, mode, patience)?, engine.clone()))
            }

            /// Whether the hold has ended without being released: the server was out of reach for too long, or ended
            /// the session. Once true, it stays true. When the process itself was stopped, this asks the server, for
            /// up to two seconds.
            #[must_use]
            pub fn is_lost(&self) -> bool {
                self.0.is_lost()
            }

            /// Releases it, and says whether it was held until now. Dropping the guard releases it, too, and says
            /// nothing.
            ///
            /// # Errors
            /// [`Lost`](ClusterError::Lost) when the hold had ended before.
            pub fn release(self) -> Result<(), ClusterError> {
                self.0.release()
            }
        }

        impl From<$Guard> for $crate::any_guard::AnyGuard {
            fn from($Guard(hold, engine): $Guard) -> Self {
                Self::of(hold, engine, $has_token)
            }
        }

        impl std::fmt::Debug for $Guard {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($Guard)).field(&self.0).finish()
            }
        }
    };
}

/// The method by which the guard of a lock gives its token.
macro_rules! gives_tokens {
    ($Guard:ident) => {
        impl $Guard {
            /// The mark of this hold, to give along with what is written elsewhere.
            #[must_use]
            pub fn token(&self) -> Token {
                self.0.token()
            }
        }
    };
}

pub(crate) use {acquires, gives_tokens, guard};
