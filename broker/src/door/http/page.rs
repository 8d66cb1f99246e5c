//! `GET /`: the page for people.
//!
//! It is built from the files in `page/` and served as one file. So it needs no other server and no
//! network, and a strict policy can name its one script and its one style sheet by their digests.

use super::{HTML, Head};

#[cfg(test)]
mod tests;

/// The page.
pub(super) const PAGE: &str = concat!(
    include_str!("page/head.html"),
    "<style>\n",
    include_str!("page/page.css"),
    "</style>\n",
    include_str!("page/body.html"),
    "<script type=\"module\">\n",
    include_str!("page/asking.js"),
    include_str!("page/topics.js"),
    include_str!("page/overview.js"),
    include_str!("page/messages.js"),
    include_str!("page/following.js"),
    include_str!("page/acting.js"),
    include_str!("page/address.js"),
    "</script>\n</body>\n</html>\n",
);

/// What the page may do (Content Security Policy, level 3): run what its file holds, and talk to
/// the broker that it came from. Text that somebody published cannot become code, even if the
/// page took it for markup. A test compares the digests with the file.
const POLICY: &str = "default-src 'none'; \
    script-src 'sha256-WUiKEfFuVVY4OnR7xyHfh78qH7WGUrz9/H6hZXJ6OLY='; \
    style-src 'sha256-Mh8Wdxjs1yAPHYFmM9CiGHjoxB6bGARx0uUSOkJP7Sc='; \
    img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The page's head.
pub(super) const HEAD: Head<'static> = Head {
    status: 200,
    body: Some((HTML, None)),
    extent: None,
    fields: &[
        ("Content-Security-Policy", POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-cache"),
    ],
};
