//! What a cluster needs in the database, created and upgraded by whoever connects first.

use super::address::Address;
use super::connection;
use super::failure::Failure;
use super::session;
use crate::cluster::ClusterOptions;
use crate::error::ClusterError;
use tokio_postgres::Client;

/// What each version adds to the one before; the last one's number is how many there are.
const STEPS: &[&str] = &[
    include_str!("schema/1-holds.sql"),
    include_str!("schema/2-queues.sql"),
    include_str!("schema/3-signals.sql"),
];

/// How long the name of a schema may be: with `procession_` before it, it is that of a channel (LISTEN).
const LONGEST: usize = 63 - "procession_".len();

/// A schema's name stands in statements, between quotes, for it may be a word of SQL.
pub(super) fn check_schema(schema: &str) -> Result<(), ClusterError> {
    let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if schema.is_empty()
        || schema.len() > LONGEST
        || !schema.bytes().all(is_good)
        || !schema.as_bytes()[0].is_ascii_lowercase()
    {
        let reason = format!(
            "a schema is made of a-z, 0-9 and '_', begins with a letter, and has at most {LONGEST} bytes"
        );
        return Err(ClusterError::InvalidName { name: schema.to_owned(), reason });
    }
    Ok(())
}

/// Brings the schema to our version.
pub(super) fn migrate(address: &Address, options: &ClusterOptions) -> Result<(), ClusterError> {
    let (parts, schema, deadline) = (address.clone(), options.schema.clone(), options.deadline);
    let work = async move {
        let (client, _) = session::within(deadline, session::open(&parts, None)).await?;
        session::within(deadline, upgrade(&client, &schema)).await
    };
    match connection::run(work, false) {
        Ok(outcome) => outcome.map_err(|failure| failure.into_error(address.place())),
        Err(none) => Err(none.into_error(address.place())),
    }
}

async fn upgrade(client: &Client, schema: &str) -> Result<(), Failure> {
    if version(client, schema).await? == STEPS.len() {
        return Ok(());
    }
    // Only one at a time; the lock ends with the transaction, and so does what was half done.
    client.batch_execute("BEGIN").await?;
    let lock = format!("SELECT pg_advisory_xact_lock(hashtextextended('procession {schema}', 0))");
    client.batch_execute(&lock).await?;
    let there = version(client, schema).await?;
    if there == 0 {
        let create = format!(
            "CREATE SCHEMA IF NOT EXISTS \"{schema}\";
             CREATE TABLE \"{schema}\".version (number int NOT NULL); INSERT INTO \"{schema}\".version VALUES (0)"
        );
        client.batch_execute(&create).await?;
    }
    client.batch_execute(&format!("SET LOCAL search_path TO \"{schema}\"")).await?;
    for step in STEPS.iter().skip(there) {
        client.batch_execute(step).await?;
    }
    let end = format!("SELECT admit_all_again(); UPDATE version SET number = {}; COMMIT", STEPS.len());
    client.batch_execute(&end).await?;
    Ok(())
}

/// The version of the schema; 0 when there is none.
async fn version(client: &Client, schema: &str) -> Result<usize, Failure> {
    // Not `to_regclass`: within a transaction it may remember that there was none before somebody else made it.
    let there = "SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'),
                 current_user::text, pg_get_userbyid(n.nspowner)::text
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = $1 AND c.relname = 'version'";
    let Some(row) = client.query_opt(there, &[&schema]).await? else { return Ok(0) };
    if !row.try_get::<_, bool>(0)? {
        let (role, owner): (String, String) = (row.try_get(1)?, row.try_get(2)?);
        let quoted = role.replace('\'', "''");
        return Err(Failure::Refused(format!(
            "the role {role} may not use its schema {schema}. Have its owner, {owner}, run: SELECT \"{schema}\".admit('{quoted}')"
        )));
    }
    let number: i32 =
        client.query_one(&format!("SELECT number FROM \"{schema}\".version"), &[]).await?.try_get(0)?;
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    if number > STEPS.len() {
        return Err(Failure::Refused(format!(
            "its schema {schema} has version {number}, and this program knows versions up to {}: build it with the release of \
             procession that the others have, or use another schema",
            STEPS.len()
        )));
    }
    Ok(number)
}
