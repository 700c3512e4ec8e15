//! Fields at offsets, without a panic and with one bounds check each.

/// The `N` bytes at `at`, if they are all there.
#[inline]
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..)?.first_chunk()
}

/// The `N` bytes at `at` to be changed, if they are all there.
#[inline]
pub(crate) fn array_mut<const N: usize>(bytes: &mut [u8], at: usize) -> Option<&mut [u8; N]> {
    bytes.get_mut(at..)?.first_chunk_mut()
}

/// The number of two bytes at `at`.
#[inline]
pub(crate) fn get_u16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(|two| u16::from_be_bytes(*two))
}

/// The number of four bytes at `at`.
#[inline]
pub(crate) fn get_u32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(|four| u32::from_be_bytes(*four))
}

/// Writes `value` at `at`; no effect when it does not fit.
#[inline]
pub(crate) fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(field) = array_mut(bytes, at) {
        *field = value;
    }
}
