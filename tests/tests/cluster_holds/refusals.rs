//! What a cluster refuses, and in which words.

use super::{ClusterError, ClusterOptions, Place, server};
use procession::cluster::connect;

#[test]
fn what_is_no_address_is_refused() {
    for url in
        ["", "mysql://me:secret@db/x", "postgres://", "postgres://db/x?sslmode=perhaps", "host=db colour=red"]
    {
        let refused = connect(url).unwrap_err();
        assert!(matches!(refused, ClusterError::InvalidUrl { .. }), "{url}: {refused}");
        assert!(!refused.to_string().contains("secret"));
    }
    let refused = connect("shm:a/b").unwrap_err();
    assert!(matches!(refused, ClusterError::InvalidName { .. }), "{refused}");
    let nobody = connect("host=/nowhere user=me dbname=x").unwrap_err();
    assert!(matches!(nobody, ClusterError::Unavailable { .. }), "{nobody}");
}

#[test]
fn a_server_that_cannot_be_used_is_refused() {
    let Some(postgres) = server() else { return };
    let refusal = |options: ClusterOptions, address: &str| match options.connect(address) {
        Err(ClusterError::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    // Another version of the schema.
    let place = Place::on(postgres);
    drop(place.connect());
    postgres.sql(&format!("UPDATE {}.version SET number = 999", place.schema));
    let reason = refusal(place.options(), &place.url);
    assert!(reason.contains("version 999"), "{reason}");
    // A role that may not create it, and may use it once it is there.
    postgres.sql("CREATE ROLE visitor LOGIN; REVOKE CREATE ON DATABASE postgres FROM PUBLIC");
    let place = Place::on(postgres);
    let visitor = place.url.replace("user=postgres", "user=visitor");
    let reason = refusal(place.options(), &visitor);
    assert!(reason.contains("procession worker --init"), "{reason}");
    drop(place.connect());
    let cluster = place.options().connect(&visitor).unwrap();
    cluster.lock("l").acquire().unwrap().release().unwrap();
    assert!(cluster.list().unwrap().iter().any(|object| object.name == "l"));
    // A database that does not exist, and too many holds.
    let reason =
        refusal(Place::on(postgres).options(), &postgres.address().replace("dbname=postgres", "dbname=none"));
    assert!(reason.contains("none"), "{reason}");
    let cluster = Place::on(postgres).options().max_holds(1).connect(&postgres.address()).unwrap();
    let _first = cluster.lock("one").acquire().unwrap();
    let refused = cluster.lock("two").try_acquire().map(drop);
    assert!(matches!(refused, Err(ClusterError::TooMany { held: 1, most: 1, .. })), "{refused:?}");
}
