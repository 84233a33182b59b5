//! RFC 7692: the extension permessage-deflate, which compresses messages. The feature `deflate` adds it.
//!
//! In reading order: `settings` has the [settings](settings::Deflate), `negotiate` finds what both sides agree on, and `codec`
//! compresses and decompresses.

pub(crate) mod codec;
pub(crate) mod negotiate;
pub(crate) mod settings;
