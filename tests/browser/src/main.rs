//! Tests in a real browser: headless Chromium over HTTPS, with several host names, on one machine.
//!
//! `./scripts/test-browser cookies::` runs those of one suite, `--nocapture` shows the browser's
//! messages. Ends with a table of what the browser did, scenario by scenario.

use std::{process::ExitCode, sync::Arc};

use libtest_mimic::Arguments;
use tokio::runtime::Runtime;

use self::{
    browser::Browser,
    site::Identity,
    trial::{Bed, Result},
};

mod browser;
mod log;
mod scenarios;
mod site;
mod trial;

fn main() -> Result<ExitCode> {
    let arguments = Arguments::from_args();
    let runtime = Runtime::new()?;
    let identity = Identity::new(&site::HOSTS)?;
    let browser = runtime.block_on(Browser::launch(&identity))?;
    println!("browser: {}", browser.version());
    let bed = Arc::new(Bed::new(runtime.handle().clone(), browser, identity));
    let trials = [
        // One line a suite.
        scenarios::cookies::trials(&bed),
        scenarios::cross_site::trials(&bed),
        scenarios::csrf::trials(&bed),
        scenarios::harness::trials(&bed),
        scenarios::history::trials(&bed),
        scenarios::late::trials(&bed),
        scenarios::login::trials(&bed),
        scenarios::pages::trials(&bed),
        scenarios::prefetch::trials(&bed),
        scenarios::presets::trials(&bed),
        scenarios::races::trials(&bed),
        scenarios::redirect::trials(&bed),
        scenarios::removal::trials(&bed),
        scenarios::sibling::trials(&bed),
    ];
    let conclusion = libtest_mimic::run(&arguments, trials.into_iter().flatten().collect());
    if !arguments.list {
        bed.print_observations();
    }
    runtime.block_on(bed.close());
    Ok(conclusion.exit_code())
}
