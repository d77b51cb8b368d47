//! What is tried in the browser, a suite a file.

pub(crate) mod cookies;
pub(crate) mod cross_site;
pub(crate) mod csrf;
pub(crate) mod harness;
pub(crate) mod history;
pub(crate) mod late;
pub(crate) mod login;
pub(crate) mod pages;
pub(crate) mod prefetch;
pub(crate) mod presets;
pub(crate) mod races;
pub(crate) mod redirect;
pub(crate) mod removal;
pub(crate) mod sibling;
