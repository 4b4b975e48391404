//! A session on the server: a connection, its lifeline, and the heartbeat by which both sides know of each other.

use super::address::Address;
use super::failure::{Failure, POOLER};
use super::watch::News;
use super::{connection, tls};
use crate::cluster::ClusterOptions;
use crate::error::ClusterError;
use procession_sys::{PerProcess, fork, random};
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, Row, Statement};

/// Whether the server has this session, and does a statement of it: then it does not count the time for which the session is
/// idle, and its process is not one that is stopped. Each transaction has a number that it locks.
const AT_WORK: &str = "
    SELECT coalesce(bool_or(locktype = 'advisory' AND objsubid = 2 AND classid = $2 AND objid = $3), false)
           AND coalesce(bool_or(locktype = 'virtualxid'), false)
           AND (SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint) = $4
           AND (SELECT oid FROM pg_database WHERE datname = current_database()) = $5
    FROM pg_locks WHERE pid = $1 AND granted";

/// How often the server hears of a session that has no lease.
const BEAT: Duration = Duration::from_millis(500);
/// After how long without an answer a hold counts as lost here. Less than the three seconds after which the server gives
/// up a peer that does not answer: the holder learns it before the next one has it. That is so whatever the lease: a longer
/// one is about processes that are stopped, whose hosts answer.
const LIMIT: Duration = Duration::from_secs(2);
/// How long ago the server has heard of our host at most when it has a connection of ours: it asks after a second of silence.
const KEEPALIVE: Duration = Duration::from_secs(1);
/// The first release with all settings that are needed.
const OLDEST: i32 = 140_000;

/// Parameters of a statement.
pub(crate) type Params = Vec<Box<dyn ToSql + Sync + Send>>;

/// The kind and the name of an object.
type Name = (&'static str, String);

/// A connection with its lifeline.
pub(crate) struct Session {
    /// Shared, so that a forked child can let go of a session without ending it.
    client: Arc<Client>,
    /// The task that serves the connection, which ends with it.
    server: AbortHandle,
    address: Address,
    deadline: Duration,
    statements: tokio::sync::Mutex<HashMap<&'static str, Statement>>,
    /// Its number on the server, whose advisory lock is the lifeline.
    pub(crate) number: i32,
    /// The pid of the server's process that answers.
    pub(crate) backend: i32,
    /// Which database it is of: the moment at which its server was started, and its oid.
    pub(crate) database: (i64, u32),
    /// The key of a class of locks, which is our schema.
    pub(crate) class: i32,
    /// The server's timeline when the session began; a failover ends the session.
    pub(crate) timeline: u32,
    /// Which process began it.
    cookie: u64,
    lost: AtomicBool,
    /// How many statements are under way.
    asked: AtomicUsize,
    /// Told when that is found out.
    found_lost: Notify,
    /// Since when the server is known to have heard of us, on a clock that counts suspended time: the last statement was sent
    /// then that was answered, or the server was asked then on another connection, and was at work for this session.
    heard_ns: AtomicU64,
    /// Held by the statement for which it is asked there.
    asks_elsewhere: tokio::sync::Mutex<()>,
    /// Whether a wait is under way, which the heartbeat would have to wait for.
    waits: AtomicBool,
    limit: Duration,
    /// What is held on it: a key and how many share it, `None` for one alone.
    pub(crate) held: Mutex<HashMap<i64, Option<usize>>>,
    /// Held while a thread asks for a permit.
    pub(crate) permits: Mutex<()>,
    /// The ids of objects that are known.
    pub(crate) ids: Mutex<HashMap<Name, (i32, u32)>>,
}

/// Nanoseconds since the host started, those in which it was suspended included.
fn now_ns() -> u64 {
    let now =
        nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// The outcome of what takes no longer than `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut work = pin!(work);
    loop {
        let began = Instant::now();
        if let Ok(outcome) = tokio::time::timeout(limit, &mut work).await {
            return outcome;
        }
        // A time that is over much too late tells of a process that was stopped, and not of the server: the answer may be
        // there, and unread.
        if began.elapsed() < limit.saturating_add(BEAT) {
            return Err(Failure::Gone(format!("it did not answer within {} ms", limit.as_millis())));
        }
    }
}

/// A bare connection, and the task that serves it; what is told over it (NOTIFY) goes to `news`.
pub(super) async fn open(
    address: &Address,
    news: Option<Arc<News>>,
) -> Result<(Client, AbortHandle), Failure> {
    if address.is_local() {
        // A socket in a directory has no name that a certificate could be for, whatever the address says.
        let (client, connection) = address.config.clone().ssl_mode(SslMode::Disable).connect(NoTls).await?;
        return Ok(attended(client, connection, news));
    }
    let tls = tls::connector(&address.trust).map_err(|error| Failure::Refused(error.to_string()))?;
    let (client, connection) = address.config.connect(tls).await?;
    Ok(attended(client, connection, news))
}

/// A client whose connection is served until it ends; what ends it, those who use it learn from their statements.
fn attended<S, T>(
    client: Client,
    mut connection: Connection<S, T>,
    news: Option<Arc<News>>,
) -> (Client, AbortHandle)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let server = tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let (AsyncMessage::Notification(told), Some(news)) = (message, &news) {
                // Whatever else is said on the channel is not ours.
                drop(told.payload().parse().map(|id| news.tell(id)));
            }
        }
    });
    (client, server.abort_handle())
}

impl Session {
    /// Connects, and takes the lifeline. With `news`, what is told of objects goes there.
    pub(crate) fn begin(
        address: &Address,
        options: &ClusterOptions,
        news: Option<Arc<News>>,
    ) -> Result<Arc<Self>, ClusterError> {
        let (parts, chosen) = (address.clone(), options.clone());
        let work = async move {
            let listens = news.is_some();
            let start =
                async { Self::start(open(&parts, news).await?, parts.clone(), &chosen, listens).await };
            within(chosen.deadline, start).await
        };
        let session = match connection::run(work, false) {
            Ok(Ok(session)) => Arc::new(session),
            Ok(Err(failure)) => return Err(failure.into_error(address.place())),
            Err(none) => return Err(none.into_error(address.place())),
        };
        let every = options.lease.map_or(BEAT, |lease| BEAT.min(lease / 6));
        connection::begin(beat(Arc::downgrade(&session), every));
        Ok(session)
    }

    async fn start(
        (client, server): (Client, AbortHandle),
        address: Address,
        options: &ClusterOptions,
        listens: bool,
    ) -> Result<Self, Failure> {
        let row = client
            .query_one("SELECT current_setting('server_version_num')::int, pg_is_in_recovery()", &[])
            .await?;
        let version: i32 = row.try_get(0)?;
        if version < OLDEST {
            return Err(Failure::Refused(format!(
                "it is PostgreSQL {}, and 14 or newer is needed",
                version / 10_000
            )));
        }
        if row.try_get(1)? {
            return Err(Failure::Refused(
                "it is a standby, which can only be read: give the primary's address".to_owned(),
            ));
        }
        client.batch_execute(&settings(options)).await?;
        if listens {
            client.batch_execute(&format!("LISTEN procession_{}", options.schema)).await?;
        }
        let row = client
            .query_one(
                "SELECT n.oid, pg_backend_pid(), substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
                 (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint, d.oid
                 FROM pg_namespace n, pg_database d
                 WHERE n.nspname = current_schema() AND d.datname = current_database()",
                &[],
            )
            .await?;
        let (oid, backend, timeline): (u32, i32, String) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let database = (row.try_get(3)?, row.try_get(4)?);
        let (class, sent) = (oid.cast_signed(), now_ns());
        let pid = std::process::id().cast_signed();
        let process = this_process();
        let row = client
            .query_one(
                "SELECT begin_session($1, $2, $3, $4, $5)",
                &[&class, &host(), &pid, &process, &command()],
            )
            .await?;
        Ok(Self {
            client: Arc::new(client),
            server,
            address,
            deadline: options.deadline,
            statements: tokio::sync::Mutex::default(),
            number: row.try_get(0)?,
            backend,
            database,
            class,
            timeline: u32::from_str_radix(&timeline, 16).unwrap_or(0),
            cookie: fork::cookie(),
            lost: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
            found_lost: Notify::new(),
            heard_ns: AtomicU64::new(sent),
            asks_elsewhere: tokio::sync::Mutex::default(),
            waits: AtomicBool::new(false),
            limit: options.lease.map_or(LIMIT, |lease| LIMIT.min(lease / 3 * 2)),
            held: Mutex::default(),
            permits: Mutex::default(),
            ids: Mutex::default(),
        })
    }

    /// The server, without its password.
    pub(crate) fn place(&self) -> &str {
        self.address.place()
    }

    /// What all keys of one number of our schema have in common.
    pub(crate) fn space(&self) -> i64 {
        i64::from(self.class) << 32
    }

    /// Does a statement within the deadline, and gives its rows.
    pub(crate) fn query(
        self: &Arc<Self>,
        statement: &'static str,
        params: Params,
    ) -> Result<Vec<Row>, ClusterError> {
        let (session, deadline) = (self.clone(), self.deadline);
        let work = async move {
            let (mut answer, mut watch) =
                (pin!(session.ask(statement, params, deadline)), pin!(session.is_heard_elsewhere()));
            poll_fn(|context| match answer.as_mut().poll(context) {
                Poll::Ready(outcome) => Poll::Ready(outcome),
                Poll::Pending => watch.as_mut().poll(context).map(|never| match never {}),
            })
            .await
        };
        match connection::run(work, false) {
            Ok(outcome) => outcome.map_err(|failure| failure.into_error(self.place())),
            Err(none) => Err(none.into_error(self.place())),
        }
    }

    /// The only row of an answer.
    pub(crate) fn only<'a>(&self, rows: &'a [Row]) -> Result<&'a Row, ClusterError> {
        let nothing = || Failure::Refused("it answered with no row".to_owned()).into_error(self.place());
        rows.first().ok_or_else(nothing)
    }

    /// A column of a row.
    pub(crate) fn column<'a, T: FromSql<'a>>(&self, row: &'a Row, index: usize) -> Result<T, ClusterError> {
        self.read(row.try_get(index))
    }

    /// A column of the only row of an answer.
    pub(crate) fn first<'a, T: FromSql<'a>>(&self, rows: &'a [Row], index: usize) -> Result<T, ClusterError> {
        self.column(self.only(rows)?, index)
    }

    /// What was read of an answer; that it is another than was expected is the server's doing.
    pub(crate) fn read<T>(&self, found: Result<T, tokio_postgres::Error>) -> Result<T, ClusterError> {
        found.map_err(|error| Failure::from(error).into_error(self.place()))
    }

    /// Does a statement that waits for up to `slice`; `None` when the hook of this thread ended that, and with it the
    /// session, which may have by now what it waited for.
    pub(crate) fn query_slice(
        self: &Arc<Self>,
        statement: &'static str,
        params: Params,
        slice: Duration,
    ) -> Option<Result<Vec<Row>, Failure>> {
        let (session, limit) = (self.clone(), self.deadline.saturating_add(slice));
        self.waits.store(true, Ordering::Relaxed);
        let outcome = connection::run(async move { session.ask(statement, params, limit).await }, true);
        self.waits.store(false, Ordering::Relaxed);
        match outcome {
            Ok(outcome) => Some(outcome),
            Err(connection::NoAnswer::Interrupted) => {
                self.lose();
                // Nobody wants the answer any more.
                self.server.abort();
                None
            }
            Err(connection::NoAnswer::NoThread(why)) => Some(Err(Failure::Gone(why))),
        }
    }

    /// Does a statement. Without an answer the session is lost: whether it was done is not known.
    async fn ask(
        &self,
        statement: &'static str,
        params: Params,
        limit: Duration,
    ) -> Result<Vec<Row>, Failure> {
        let outcome = self.answer(statement, params, limit).await;
        match &outcome {
            Err(Failure::Gone(_)) => self.lose(),
            // The pooler's sessions are not ours.
            Err(Failure::Refused(reason)) if reason.ends_with(POOLER) => self.lose(),
            _ => {}
        }
        outcome
    }

    /// What the server answers to a statement.
    async fn answer(
        &self,
        statement: &'static str,
        params: Params,
        limit: Duration,
    ) -> Result<Vec<Row>, Failure> {
        if self.lost.load(Ordering::Acquire) {
            return Err(Failure::Gone("the session has ended".to_owned()));
        }
        let (_asked, sent) = (Asked::of(self), now_ns());
        let outcome = within(limit, async {
            let prepared = self.prepared(statement).await?;
            let params: Vec<&(dyn ToSql + Sync)> =
                params.iter().map(|param| &**param as &(dyn ToSql + Sync)).collect();
            Ok(self.client.query(&prepared, &params).await?)
        })
        .await;
        if outcome.is_ok() {
            self.heard_ns.fetch_max(sent, Ordering::AcqRel);
        }
        outcome
    }

    /// While a statement takes the server long, no heartbeat is answered, which comes after it. So the server is asked on
    /// another connection.
    async fn is_heard_elsewhere(&self) -> Infallible {
        let share = KEEPALIVE.min(self.limit);
        // Most statements are over before anything is done.
        tokio::time::sleep(share / 2).await;
        let _alone = self.asks_elsewhere.lock().await;
        let mut other = None;
        loop {
            match self.ask_elsewhere(&mut other, share).await {
                Ok(Some(sent)) => drop(self.heard_ns.fetch_max(sent, Ordering::AcqRel)),
                Ok(None) => {}
                Err(_) => other = None,
            }
            tokio::time::sleep(share / 4).await;
        }
    }

    /// Since when the server has heard of us, if it is at work for this session.
    async fn ask_elsewhere(
        &self,
        other: &mut Option<Client>,
        limit: Duration,
    ) -> Result<Option<u64>, Failure> {
        let client = match other.take() {
            Some(client) => client,
            None => within(limit, open(&self.address, None)).await?.0,
        };
        let client = other.insert(client);
        let sent = now_ns();
        let (class, number) = (self.class.cast_unsigned(), self.number.cast_unsigned());
        let (started, database) = self.database;
        let ask = async {
            let params: [&(dyn ToSql + Sync); 5] = [&self.backend, &class, &number, &started, &database];
            Ok(client.query_one(AT_WORK, &params).await?)
        };
        let is_at_work = within(limit, ask).await?.try_get(0)?;
        // The server gives up the connection of the session three seconds after it has heard on that one.
        let before =
            if self.address.is_local() { Duration::ZERO } else { self.limit.saturating_sub(KEEPALIVE) };
        let before = u64::try_from(before.as_nanos()).unwrap_or(u64::MAX);
        Ok(Some(sent.saturating_sub(before)).filter(|_| is_at_work))
    }

    async fn prepared(&self, statement: &'static str) -> Result<Statement, Failure> {
        let mut statements = self.statements.lock().await;
        if let Some(prepared) = statements.get(statement) {
            return Ok(prepared.clone());
        }
        let prepared = self.client.prepare(statement).await?;
        statements.insert(statement, prepared.clone());
        Ok(prepared)
    }

    /// Asks the server whether the session is whole, and waits so long for the answer; whether it is known to be then.
    async fn is_whole(&self, limit: Duration) -> bool {
        let params: Params = vec![Box::new(self.backend), Box::new(self.class), Box::new(self.number)];
        match self.answer("SELECT beat($1, $2, $3)", params, limit).await {
            Ok(rows) => rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)),
            // It is at work on what was sent before.
            Err(Failure::Gone(_)) => !self.is_known_lost() && self.silent_for() < self.limit,
            Err(_) => false,
        }
    }

    /// Asks that for as long as it is not known. The heartbeat may have asked before and be about to give up: whoever waits
    /// for an answer of its own after that would learn too late what is known.
    async fn is_whole_as_far_as_known(&self) -> bool {
        let (mut answer, mut lost) = (pin!(self.is_whole(self.limit)), pin!(self.found_lost.notified()));
        lost.as_mut().enable();
        if self.lost.load(Ordering::Acquire) {
            return false;
        }
        poll_fn(|context| match lost.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(false),
            Poll::Pending => answer.as_mut().poll(context),
        })
        .await
    }

    /// Marks all that is held on it lost, and ends the connection once the statements are done that are under way: what counts
    /// as lost here is for others.
    fn lose(&self) {
        self.lost.store(true, Ordering::SeqCst);
        self.found_lost.notify_waiters();
        self.end_if_idle();
    }

    /// Sequentially consistent, as what it is about: of the last statement and who loses the session, one sees the other.
    fn end_if_idle(&self) {
        if self.lost.load(Ordering::SeqCst) && self.asked.load(Ordering::SeqCst) == 0 {
            self.server.abort();
        }
    }

    /// How long ago the server is known to have heard of us.
    fn silent_for(&self) -> Duration {
        Duration::from_nanos(now_ns().saturating_sub(self.heard_ns.load(Ordering::Acquire)))
    }

    /// Whether what is held on it is lost. A process that was stopped does not know, and asks.
    pub(crate) fn is_lost(self: &Arc<Self>) -> bool {
        if self.is_known_lost() {
            return true;
        }
        if self.silent_for() < self.limit {
            return false;
        }
        let session = self.clone();
        let whole =
            connection::run(async move { session.is_whole_as_far_as_known().await }, false).unwrap_or(false);
        if !whole {
            self.lose();
        }
        !whole
    }

    /// Whether it is lost as far as is known without asking.
    pub(crate) fn is_known_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire) || self.client.is_closed() || self.cookie != fork::cookie()
    }

    /// Whether something new can be done on it.
    pub(crate) fn is_usable(&self) -> bool {
        !self.is_known_lost()
    }

    /// Ends what nobody needs any more. In a forked child nothing is done: the connection is the parent's.
    pub(crate) fn give_up(&self) {
        if self.cookie == fork::cookie() {
            self.lose();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.cookie != fork::cookie() {
            // To drop the client would wake the thread of the parent, whose locks are here as they were at the fork.
            std::mem::forget(self.client.clone());
        }
    }
}

/// A statement that is under way.
struct Asked<'a>(&'a Session);

impl<'a> Asked<'a> {
    fn of(session: &'a Session) -> Self {
        session.asked.fetch_add(1, Ordering::SeqCst);
        Self(session)
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.asked.fetch_sub(1, Ordering::SeqCst);
        self.0.end_if_idle();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("number", &self.number).field("lost", &self.is_known_lost()).finish()
    }
}

/// Lets the server hear of the session until that ends, and marks it lost when there is no answer in time.
async fn beat(session: Weak<Session>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(session) = session.upgrade() else {
            return;
        };
        if session.is_known_lost() {
            return;
        }
        if session.waits.load(Ordering::Relaxed) {
            continue;
        }
        // After a stop of this process, the first answer decides; else what is left of the limit.
        let left = session.limit.saturating_sub(session.silent_for());
        let limit = if left.is_zero() { session.limit } else { left };
        if !session.is_whole(limit).await && !session.waits.load(Ordering::Relaxed) {
            session.lose();
            return;
        }
    }
}

/// The settings of a session, all of which any role may change.
fn settings(options: &ClusterOptions) -> String {
    // Longer than the server can count, three weeks, is for ever.
    let lease = options.lease.map_or(0, |lease| i32::try_from(lease.as_millis()).unwrap_or(0));
    format!(
        "SET search_path TO \"{}\"; SET synchronous_commit TO on; SET statement_timeout TO 0; SET lock_timeout TO 0; \
         SET client_connection_check_interval TO '1s'; SET idle_session_timeout TO {lease}; \
         SET tcp_keepalives_idle TO 1; SET tcp_keepalives_interval TO 1; SET tcp_keepalives_count TO 2; \
         SET tcp_user_timeout TO 3000",
        options.schema
    )
}

/// A number that this process has on servers, and no other anywhere: hosts can have one name, and containers do.
pub(super) fn this_process() -> i64 {
    static NUMBER: PerProcess<i64> = PerProcess::new(|| random::nonzero_u64().cast_signed());
    *NUMBER.get()
}

fn host() -> String {
    nix::unistd::gethostname().map_or(String::new(), |name| name.to_string_lossy().into_owned())
}

fn command() -> String {
    let program = std::env::current_exe().ok();
    program.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())).unwrap_or_default()
}
