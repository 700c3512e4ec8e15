/* What bindgen reads: DPDK's headers, the shim's functions, and facts that live in macros. */

#ifndef WEIR_DPDK_WRAPPER_H
#define WEIR_DPDK_WRAPPER_H

#include <stddef.h>
#include <stdint.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_version.h>

/*
 * Where the fields of struct rte_mbuf lie. Between 22.11 and 24.11 fields moved into unnamed
 * unions, which changes every name bindgen gives them, but not their offsets' names.
 */
enum shim_mbuf_layout {
	SHIM_MBUF_BUF_ADDR = offsetof(struct rte_mbuf, buf_addr),
	SHIM_MBUF_DATA_OFF = offsetof(struct rte_mbuf, data_off),
	SHIM_MBUF_NB_SEGS = offsetof(struct rte_mbuf, nb_segs),
	SHIM_MBUF_OL_FLAGS = offsetof(struct rte_mbuf, ol_flags),
	SHIM_MBUF_PKT_LEN = offsetof(struct rte_mbuf, pkt_len),
	SHIM_MBUF_DATA_LEN = offsetof(struct rte_mbuf, data_len),
	SHIM_MBUF_BUF_LEN = offsetof(struct rte_mbuf, buf_len),
	SHIM_MBUF_SIZE = sizeof(struct rte_mbuf),
	SHIM_MBUF_HEADROOM = RTE_PKTMBUF_HEADROOM,
};

static const uint64_t SHIM_RX_IP_CKSUM_MASK = RTE_MBUF_F_RX_IP_CKSUM_MASK;
static const uint64_t SHIM_RX_IP_CKSUM_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
static const uint64_t SHIM_RX_IP_CKSUM_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD;

static const uint64_t SHIM_RX_OFFLOAD_IPV4_CKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t SHIM_TX_OFFLOAD_MBUF_FAST_FREE = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
static const uint64_t SHIM_RSS_IP = RTE_ETH_RSS_IP;
static const uint64_t SHIM_RSS_TCP = RTE_ETH_RSS_TCP;
static const uint64_t SHIM_RSS_UDP = RTE_ETH_RSS_UDP;
static const uint64_t SHIM_RSS_IPV4 = RTE_ETH_RSS_IPV4;
static const uint64_t SHIM_RSS_IPV4_TCP = RTE_ETH_RSS_NONFRAG_IPV4_TCP;
static const uint64_t SHIM_RSS_IPV4_UDP = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
static const uint64_t SHIM_RSS_IPV6 = RTE_ETH_RSS_IPV6;
static const uint64_t SHIM_RSS_IPV6_TCP = RTE_ETH_RSS_NONFRAG_IPV6_TCP;
static const uint64_t SHIM_RSS_IPV6_UDP = RTE_ETH_RSS_NONFRAG_IPV6_UDP;
/*
 * Modifiers: only a part of the addresses or ports, or of an inner header. As an enum, for bindgen takes
 * no constant variable with the highest bit.
 */
enum shim_rss_parts {
	SHIM_RSS_PARTS =
		RTE_ETH_RSS_L3_SRC_ONLY | RTE_ETH_RSS_L3_DST_ONLY | RTE_ETH_RSS_L4_SRC_ONLY |
		RTE_ETH_RSS_L4_DST_ONLY | RTE_ETH_RSS_L3_PRE32 | RTE_ETH_RSS_L3_PRE40 |
		RTE_ETH_RSS_L3_PRE48 | RTE_ETH_RSS_L3_PRE56 | RTE_ETH_RSS_L3_PRE64 |
		RTE_ETH_RSS_L3_PRE96 | RTE_ETH_RSS_LEVEL_INNERMOST,
};
static const uint32_t SHIM_RETA_GROUP = RTE_ETH_RETA_GROUP_SIZE;
static const uint32_t SHIM_MQ_RX_NONE = RTE_ETH_MQ_RX_NONE;
static const uint32_t SHIM_MQ_RX_RSS = RTE_ETH_MQ_RX_RSS;
static const uint16_t SHIM_NO_PORT = RTE_MAX_ETHPORTS;
static const int SHIM_SOCKET_ID_ANY = SOCKET_ID_ANY;

/* rte_errno of the calling thread. */
int shim_errno(void);

/*
 * Receives at most n packets and asks the processor to fetch the first line of each, which the
 * caller is about to parse.
 */
uint16_t shim_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t n);

/* Hands over at most n packets; those beyond the number returned still belong to the caller. */
uint16_t shim_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t n);

/* An empty packet, or NULL when the pool is exhausted. */
struct rte_mbuf *shim_pktmbuf_alloc(struct rte_mempool *pool);

/* n empty packets: 0, or negative and none of them when the pool has not so many. */
int shim_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **packets, unsigned int n);

void shim_pktmbuf_free(struct rte_mbuf *packet);
void shim_pktmbuf_free_bulk(struct rte_mbuf **packets, unsigned int n);

/* The link of a port: 1 up, 0 down, negative errno. speed_mbps is UINT32_MAX when unknown. */
int shim_eth_link(uint16_t port, uint32_t *speed_mbps);

/* Receives whole or part lines of DPDK's log; level is RTE_LOG_EMERG (1) … RTE_LOG_DEBUG (8). */
typedef void (*shim_log_sink)(uint32_t level, const char *text, size_t length);

/* Sends DPDK's log to sink from now on, before and after rte_eal_init. 0 or negative errno. */
int shim_log_to(shim_log_sink sink);

/* Writes out what C's stdio holds back for stdout and stderr. */
void shim_flush_stdio(void);

/* The same fields as the enum above, read by DPDK's own macros: for tests/layout.rs. */
struct shim_mbuf_view {
	void *data;
	uint32_t pkt_len;
	uint16_t data_len;
	uint16_t headroom;
	uint16_t tailroom;
	uint16_t nb_segs;
	uint64_t ol_flags;
};
void shim_mbuf_view(const struct rte_mbuf *packet, struct shim_mbuf_view *view);
struct rte_mempool *shim_mbuf_pool(const struct rte_mbuf *packet);

#endif
