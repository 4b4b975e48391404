//! Ways to the server: encrypted ones, and those with a pooler in between.

use super::{ClusterError, Place, Postgres, server};

#[test]
fn connections_are_encrypted_and_the_server_is_who_it_says() {
    let Some(postgres) = Postgres::with_tls() else { return };
    let mut place = Place::on(&postgres);
    let port = postgres.port();
    let at = |host: &str, mode: &str| format!("postgres://postgres@{host}:{port}/postgres?sslmode={mode}");
    let encrypted = || {
        postgres.sql(&format!(
            "SELECT count(*) FROM {}.sessions s JOIN pg_stat_ssl e ON e.pid = s.backend WHERE e.ssl",
            place.schema
        ))
    };
    let root = format!("&sslrootcert={}", postgres.file("ca.crt").display());
    for (url, is_encrypted) in [
        (at("localhost", "disable"), "0"),
        (at("127.0.0.1", "require"), "1"),
        (at("localhost", "verify-full") + &root, "1"),
    ] {
        let cluster = place.options().connect(&url).unwrap();
        cluster.lock("deploy").acquire().unwrap().release().unwrap();
        assert_eq!(encrypted(), is_encrypted, "{url}");
        drop(cluster);
        procession_tests::until("its session has ended", || {
            let sessions = format!(
                "SELECT count(*) FROM {}.sessions s JOIN pg_stat_activity a ON a.pid = s.backend",
                place.schema
            );
            postgres.sql(&sessions) == "0"
        });
    }
    // Another name, and nobody who is known has signed it.
    for url in [at("127.0.0.1", "verify-full") + &root, at("localhost", "verify-full")] {
        place.url = url;
        let refused = place.options().connect(&place.url).unwrap_err();
        let text = refused.to_string();
        assert!(
            matches!(refused, ClusterError::Unavailable { .. }) && text.contains("certificate"),
            "{text}"
        );
    }
}

#[test]
fn a_pooler_that_gives_each_statement_another_session_is_refused() {
    let Some(postgres) = server() else { return };
    let Some(pooler) = postgres.pooler() else { return };
    let place = Place::on(postgres);
    drop(place.connect());
    // It may be a while until another session answers: until then, all is as it should be.
    let reason = loop {
        let tried = place.options().connect(&pooler.address).and_then(|cluster| {
            for _ in 0..20 {
                cluster.lock("deploy").acquire_timeout(std::time::Duration::from_secs(5))?.release()?;
            }
            Ok(())
        });
        match tried {
            Err(ClusterError::Refused { reason, .. }) => break reason,
            Ok(())
            | Err(
                ClusterError::Lost { .. } | ClusterError::Unavailable { .. } | ClusterError::TimedOut { .. },
            ) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert!(reason.contains("pooler in transaction mode"), "{reason}");
}
