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
    // A database that does not exist, and too many holds.
    let reason =
        refusal(Place::on(postgres).options(), &postgres.address().replace("dbname=postgres", "dbname=none"));
    assert!(reason.contains("none"), "{reason}");
    let cluster = Place::on(postgres).options().max_holds(1).connect(&postgres.address()).unwrap();
    let _first = cluster.lock("one").acquire().unwrap();
    let refused = cluster.lock("two").try_acquire().map(drop);
    assert!(matches!(refused, Err(ClusterError::TooMany { held: 1, most: 1, .. })), "{refused:?}");
}

/// What a role may that was admitted, and one that was not.
#[test]
fn a_schema_is_for_its_owner_and_those_whom_the_owner_admits() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    postgres.sql(
        "CREATE ROLE keeper LOGIN; CREATE ROLE \"Visit'or\" LOGIN; CREATE ROLE stranger LOGIN;
         REVOKE CREATE ON DATABASE postgres FROM PUBLIC; GRANT CREATE ON DATABASE postgres TO keeper",
    );
    let role = |name: &str| place.url.replace("user=postgres", &format!("user={name}"));
    let (keeper, visitor, stranger) = (role("keeper"), role("Visit\\'or"), role("stranger"));
    let reason = |address: &str| match place.options().connect(address) {
        Err(ClusterError::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    // One that may not create the schema.
    let told = reason(&visitor);
    assert!(told.contains("procession worker --init"), "{told}");
    drop(place.options().connect(&keeper).unwrap());
    // It is there, and for its owner alone. What is to be run is said so that it can be copied.
    let told = reason(&visitor);
    let (_, statement) = told.split_once("run: ").unwrap();
    assert!(told.contains("Visit'or may not use") && told.contains("its owner, keeper,"), "{told}");
    let schema = &place.schema;
    postgres.sql(&format!("SET ROLE keeper; {statement}"));
    let open = format!(
        "SELECT count(*) FROM pg_namespace n, aclexplode(n.nspacl) a WHERE nspname = '{schema}' AND grantee = 0"
    );
    assert_eq!(postgres.sql(&open), "0", "nothing is granted to everybody");
    // It can do everything there, and its owner sees it.
    let (owner, guest) =
        (place.options().connect(&keeper).unwrap(), place.options().connect(&visitor).unwrap());
    let guard = guest.lock("l").acquire().unwrap();
    assert!(matches!(owner.lock("l").try_acquire().map(drop), Err(ClusterError::WouldBlock { .. })));
    guard.release().unwrap();
    guest.semaphore("s", 2).acquire().unwrap().release().unwrap();
    guest.event("e").set_owned().unwrap();
    guest.counter("c").add(1).unwrap();
    guest.latch("h", 1).arrive().unwrap();
    guest.barrier("b", 1).wait().unwrap();
    let jobs = guest.joinable_queue::<u64>("jobs");
    jobs.put(&1).unwrap();
    let job = owner.joinable_queue::<u64>("jobs").get().unwrap();
    job.task_done().unwrap();
    jobs.put(&2).unwrap();
    jobs.get().unwrap().give_up().unwrap();
    assert_eq!(jobs.dead_letters().unwrap().len(), 1);
    assert!(owner.list().unwrap().len() >= 7 && guest.participants().unwrap().len() == 1);
    // Nobody else can, nor can it let others in, nor say which version it is.
    assert!(reason(&stranger).contains("SELECT"), "a stranger");
    for refused in
        [format!("SELECT {schema}.admit('stranger')"), format!("UPDATE {schema}.version SET number = 1")]
    {
        drop(std::panic::catch_unwind(|| postgres.sql(&format!("SET ROLE \"Visit'or\"; {refused}"))));
    }
    assert!(reason(&stranger).contains("may not use"), "a stranger");
    drop(place.options().connect(&keeper).unwrap());
    // An older version is brought to ours by the owner: whoever was admitted is.
    postgres.sql(&format!("REVOKE SELECT ON {schema}.signals FROM \"Visit'or\"; SET ROLE keeper; SET search_path TO {schema}; SELECT admit_all_again()"));
    assert!(guest.event("e").is_set().unwrap());
    // And everybody is admitted by that name.
    postgres.sql(&format!("SELECT {schema}.admit('public')"));
    drop(place.options().connect(&stranger).unwrap());
}
