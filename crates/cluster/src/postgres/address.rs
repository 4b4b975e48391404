//! Where the server is.

use super::tls::Trust;
use crate::error::ClusterError;
use nix::unistd::{User, geteuid};
use percent_encoding::percent_decode_str;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// An address, with what is done about TLS.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(super) config: Config,
    pub(super) trust: Trust,
    place: Arc<str>,
}

impl Address {
    /// Both forms that PostgreSQL's own programs take: `postgres://…` and `host=… dbname=…`.
    pub(crate) fn parse(text: &str) -> Result<Self, ClusterError> {
        let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
        if !is_url && !text.contains('=') {
            return Err(invalid(format!("{:?} begins with no scheme that is known", scheme(text))));
        }
        let (text, mode, root) = take_tls(text, is_url);
        // `system` is for those that the system trusts, as with PostgreSQL's own programs.
        let root = root.map(|root| (root != "system").then(|| PathBuf::from(root)));
        let mut config: Config = text.parse().map_err(|error| invalid(in_words(&error)))?;
        let trust = match mode.as_deref() {
            None => Trust::Anybody,
            Some("disable") => {
                config.ssl_mode(SslMode::Disable);
                Trust::Anybody
            }
            Some("prefer" | "allow") => {
                config.ssl_mode(SslMode::Prefer);
                Trust::Anybody
            }
            Some("require") if root.is_none() => {
                config.ssl_mode(SslMode::Require);
                Trust::Anybody
            }
            Some("require" | "verify-ca" | "verify-full") => {
                config.ssl_mode(SslMode::Require);
                Trust::Signed(root.flatten())
            }
            Some(other) => {
                return Err(invalid(format!(
                    "sslmode={other} is none of disable, prefer, require, verify-full"
                )));
            }
        };
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(invalid("it names no host".to_owned()));
        }
        if config.get_user().is_none() {
            config.user(
                user().ok_or_else(|| invalid("it names no user, and this account has no name".to_owned()))?,
            );
        }
        let place = place_of(&config).into();
        Ok(Self { config, trust, place })
    }

    /// Whether it is a socket of this host.
    pub(super) fn is_local(&self) -> bool {
        !self.config.get_hosts().is_empty()
            && self.config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)))
    }

    /// The server and the database, without a password.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }
}

fn invalid(reason: String) -> ClusterError {
    ClusterError::InvalidUrl { reason }
}

/// What comes before the first colon, which is no secret.
fn scheme(text: &str) -> &str {
    text.split_once(':').map_or("", |(scheme, _)| scheme)
}

/// What PostgreSQL's own programs take for the user: what the environment says for them, else the account.
fn user() -> Option<String> {
    let said = std::env::var("PGUSER").ok().filter(|user| !user.is_empty());
    said.or_else(|| Some(User::from_uid(geteuid()).ok()??.name))
}

/// Takes the settings of TLS out of the text: the parser knows three modes, and no certificates.
fn take_tls(text: &str, is_url: bool) -> (String, Option<String>, Option<String>) {
    let (mut mode, mut root) = (None, None);
    let mut keeps = |part: &&str| match part.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
        Some(("sslmode", value)) => {
            mode = Some(value.to_owned());
            false
        }
        Some(("sslrootcert", value)) => {
            root = Some(if is_url {
                percent_decode_str(value).decode_utf8_lossy().into_owned()
            } else {
                value.to_owned()
            });
            false
        }
        _ => true,
    };
    let rest = if !is_url {
        text.split(' ').filter(&mut keeps).collect::<Vec<_>>().join(" ")
    } else if let Some((before, query)) = text.split_once('?') {
        let kept = query.split('&').filter(&mut keeps).collect::<Vec<_>>().join("&");
        if kept.is_empty() { before.to_owned() } else { format!("{before}?{kept}") }
    } else {
        text.to_owned()
    };
    (rest, mode, root)
}

fn place_of(config: &Config) -> String {
    let mut hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        })
        .collect();
    if hosts.is_empty() {
        hosts = config.get_hostaddrs().iter().map(ToString::to_string).collect();
    }
    let port = config.get_ports().first().map_or(String::new(), |port| format!(":{port}"));
    format!("postgres {}{port}/{}", hosts.join(","), config.get_dbname().or(config.get_user()).unwrap_or(""))
}

/// An error with its causes, in one line.
pub(super) fn in_words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Address, Trust};

    #[test]
    fn certificates_are_those_of_a_file_or_of_the_system() {
        let trusted =
            |query: &str| match Address::parse(&format!("postgres://me@db/work?{query}")).unwrap().trust {
                Trust::Signed(file) => Some(file.map(|file| file.display().to_string())),
                Trust::Anybody => None,
            };
        assert_eq!(trusted("sslmode=require"), None);
        assert_eq!(trusted("sslmode=verify-full"), Some(None));
        assert_eq!(trusted("sslmode=verify-full&sslrootcert=system"), Some(None));
        assert_eq!(trusted("sslmode=require&sslrootcert=system"), Some(None));
        let file = "sslmode=verify-full&sslrootcert=%2Fmy%20certificates/100%";
        assert_eq!(trusted(file), Some(Some("/my certificates/100%".to_owned())));
    }

    #[test]
    fn who_names_no_user_is_the_one_of_the_account() {
        let account = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
        let expected = std::env::var("PGUSER").unwrap_or(account);
        let address = Address::parse("host=/tmp dbname=work").unwrap();
        assert_eq!(address.config.get_user(), Some(expected.as_str()));
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        for text in
            ["postgres://me:secret@db:5433/work", "host=db port=5433 user=me password=secret dbname=work"]
        {
            assert_eq!(Address::parse(text).unwrap().place(), "postgres db:5433/work");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_telling_the_password() {
        for text in [
            "",
            "mysql://me:secret@db/x",
            "postgres://me:secret@db/x?sslmode=maybe",
            "postgres://db:secret/x",
        ] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
