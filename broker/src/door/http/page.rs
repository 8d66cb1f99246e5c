//! `GET /`: the page, for people.
//!
//! One file holds all of it, so it works with no other server and no network, and a strict policy
//! can name its one script and its one style sheet by their digests.

use super::{Door, Manner};

#[cfg(test)]
mod tests;

const PAGE: &str = include_str!("page.html");

/// What the page may do (Content Security Policy, level 3): run what its file holds, and talk to
/// the broker that it came from. Text that somebody published cannot become code, even if the
/// page took it for markup. A test compares the digests with the file.
const POLICY: &str = "default-src 'none'; \
    script-src 'sha256-E+RcETCwKWiTFBuWmAgN7JrXMb2V31xWVLgJJEAN6r0='; \
    style-src 'sha256-QghYnjELukTDggaN1HyeU+QBs0OukMwXzcSAMKpOIyA='; \
    img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The fields of the page's head.
const FIELDS: [(&str, &str); 4] = [
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-cache"),
];

impl Door<'_> {
    /// Answers `GET /`.
    pub(super) fn page(&mut self, manner: Manner<'_>) {
        self.answers.html(PAGE, &FIELDS, manner);
    }
}
