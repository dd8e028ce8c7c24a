//! The story of a registry, told over the `Store` trait: every database must tell it alike. Each chapter gets an empty
//! store. What concerns one database alone has a file of its own, such as `sqlite.rs`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what helpers of a test cannot do is a failed test")]

mod story {
    pub(crate) mod support;

    mod deletion;
    mod identity;
    mod lists;
    mod production;
    mod trust;
    mod uploads;
}
