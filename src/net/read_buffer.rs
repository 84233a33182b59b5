//! The one buffer that an event loop reads into.

/// The buffer that the input of all peers is read into, one peer after the other.
///
/// Its alignment affects speed. Allocators often place a large block 16 bytes after the start of a page, and the kernel
/// copies into such a block at little more than half the speed. The reason is 4K aliasing: the kernel's own buffers
/// begin at the start of a page, and a processor may treat a load and a store as overlapping if the last twelve bits of
/// their addresses are almost equal.
#[derive(Default)]
pub(crate) struct ReadBuffer {
    memory: Vec<u8>,
    start: usize,
}

const PAGE: usize = 4096;

/// The distance in bytes from the start of a page to the start of the buffer.
const OFFSET: usize = 512;

impl ReadBuffer {
    /// Returns a buffer of `size` bytes.
    pub(crate) fn new(size: usize) -> ReadBuffer {
        let mut memory = vec![0; size + PAGE + OFFSET];
        let start = memory.as_ptr().align_offset(PAGE) + OFFSET;
        memory.truncate(start + size);
        ReadBuffer { memory, start }
    }

    /// Returns the whole buffer.
    #[inline]
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_its_size_and_its_place() {
        for size in [1, 4096, 512 * 1024] {
            let mut buffer = ReadBuffer::new(size);
            let bytes = buffer.bytes();
            assert_eq!((bytes.len(), bytes.as_ptr().align_offset(OFFSET)), (size, 0));
            assert_ne!(bytes.as_ptr().align_offset(PAGE), 0);
        }
    }
}
