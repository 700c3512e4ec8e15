//! The wrappers read `rte_mbuf` by offset; here DPDK's own macros read what was written that way.

use dpdk_sys::{
    SHIM_MBUF_BUF_ADDR, SHIM_MBUF_BUF_LEN, SHIM_MBUF_DATA_LEN, SHIM_MBUF_DATA_OFF,
    SHIM_MBUF_HEADROOM, SHIM_MBUF_NB_SEGS, SHIM_MBUF_OL_FLAGS, SHIM_MBUF_PKT_LEN, SHIM_MBUF_SIZE,
    rte_mbuf, shim_mbuf_view,
};

/// An mbuf that no pool knows, aligned as `rte_mbuf` is (to a cache line).
#[repr(C, align(64))]
struct Blank([u8; SHIM_MBUF_SIZE as usize]);

impl Blank {
    fn put(&mut self, offset: u32, bytes: &[u8]) {
        let offset = offset as usize;
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn view(&self) -> shim_mbuf_view {
        let mut view = shim_mbuf_view::default();
        // SAFETY: the pointer is aligned and its memory is as large as an rte_mbuf; all of it is
        // initialised, and the function reads plain integer and pointer fields only.
        unsafe { dpdk_sys::shim_mbuf_view((&raw const self.0).cast::<rte_mbuf>(), &mut view) };
        view
    }
}

#[test]
fn fields_lie_where_dpdk_reads_them() {
    let mut mbuf = Blank([0; SHIM_MBUF_SIZE as usize]);
    mbuf.put(SHIM_MBUF_BUF_ADDR, &0x1_0000_usize.to_ne_bytes());
    mbuf.put(SHIM_MBUF_DATA_OFF, &130_u16.to_ne_bytes());
    mbuf.put(SHIM_MBUF_NB_SEGS, &3_u16.to_ne_bytes());
    mbuf.put(SHIM_MBUF_OL_FLAGS, &0x0102_0304_0506_0708_u64.to_ne_bytes());
    mbuf.put(SHIM_MBUF_PKT_LEN, &70_000_u32.to_ne_bytes());
    mbuf.put(SHIM_MBUF_DATA_LEN, &1_514_u16.to_ne_bytes());
    mbuf.put(SHIM_MBUF_BUF_LEN, &2_176_u16.to_ne_bytes());

    let view = mbuf.view();
    assert_eq!(view.data as usize, 0x1_0000 + 130);
    assert_eq!(view.headroom, 130);
    assert_eq!(view.nb_segs, 3);
    assert_eq!(view.ol_flags, 0x0102_0304_0506_0708);
    assert_eq!(view.pkt_len, 70_000);
    assert_eq!(view.data_len, 1_514);
    assert_eq!(view.tailroom, 2_176 - 130 - 1_514);
}

#[test]
fn an_mbuf_is_two_cache_lines_with_headroom_for_a_tunnel_header() {
    assert_eq!(SHIM_MBUF_SIZE, 128);
    assert_eq!(SHIM_MBUF_HEADROOM, 128);
    assert_eq!(size_of::<rte_mbuf>(), SHIM_MBUF_SIZE as usize);
}
