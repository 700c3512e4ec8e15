/*
 * DPDK's static inlines as functions with a symbol. Whatever runs for packets is called once a
 * burst where DPDK has a bulk form; fields of a packet are read in Rust, by offset.
 */
#define _GNU_SOURCE /* fopencookie */

#include "wrapper.h"

#include <errno.h>
#include <stdio.h>

int shim_errno(void)
{
	return rte_errno;
}

uint16_t shim_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
	uint16_t received = rte_eth_rx_burst(port, queue, packets, n);

	for (uint16_t i = 0; i < received; i++)
		rte_prefetch0(rte_pktmbuf_mtod(packets[i], void *));
	return received;
}

uint16_t shim_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
	return rte_eth_tx_burst(port, queue, packets, n);
}

struct rte_mbuf *shim_pktmbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

int shim_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **packets, unsigned int n)
{
	return rte_pktmbuf_alloc_bulk(pool, packets, n);
}

void shim_pktmbuf_free(struct rte_mbuf *packet)
{
	rte_pktmbuf_free(packet);
}

void shim_pktmbuf_free_bulk(struct rte_mbuf **packets, unsigned int n)
{
	rte_pktmbuf_free_bulk(packets, n);
}

int shim_eth_link(uint16_t port, uint32_t *speed_mbps)
{
	struct rte_eth_link link = { 0 };
	int result = rte_eth_link_get_nowait(port, &link);

	if (result < 0)
		return result;
	*speed_mbps = link.link_speed;
	return link.link_status == RTE_ETH_LINK_UP;
}

static shim_log_sink log_sink;

static ssize_t log_write(void *cookie, const char *text, size_t length)
{
	int level = rte_log_cur_msg_loglevel();

	(void)cookie;
	log_sink(level < 0 ? RTE_LOG_ERR : (uint32_t)level, text, length);
	return (ssize_t)length;
}

int shim_log_to(shim_log_sink sink)
{
	cookie_io_functions_t functions = { .write = log_write };
	FILE *stream = fopencookie(NULL, "w", functions);

	if (stream == NULL)
		return -errno;
	/* rte_log flushes after each message, so whole messages reach the sink. */
	log_sink = sink;
	return rte_openlog_stream(stream);
}

void shim_flush_stdio(void)
{
	fflush(stdout);
	fflush(stderr);
}

void shim_mbuf_view(const struct rte_mbuf *packet, struct shim_mbuf_view *view)
{
	view->data = rte_pktmbuf_mtod(packet, void *);
	view->pkt_len = rte_pktmbuf_pkt_len(packet);
	view->data_len = rte_pktmbuf_data_len(packet);
	view->headroom = rte_pktmbuf_headroom(packet);
	view->tailroom = rte_pktmbuf_tailroom(packet);
	view->nb_segs = packet->nb_segs;
	view->ol_flags = packet->ol_flags;
}

struct rte_mempool *shim_mbuf_pool(const struct rte_mbuf *packet)
{
	return packet->pool;
}
