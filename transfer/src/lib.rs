//! Bytes from a master or a mirror to a node: whole objects, packs, patches; resumable, verified.
