# Weir's container image: built against Debian 12's DPDK, with only what runs in the second stage.
#
#   docker build -t weir .
#   docker run --rm weir check /etc/weir/weir.toml
#
# It needs the devices it drives and the right to set up interfaces: for net_tap
# --cap-add NET_ADMIN --device /dev/net/tun, for a NIC its VFIO group and huge pages besides.

# Both Debian 12, or programs and libraries do not fit. tests/image.sh gives others.
ARG RUST_IMAGE=rust:1.95-bookworm
ARG DEBIAN_IMAGE=debian:12-slim

FROM ${RUST_IMAGE} AS build
RUN apt-get update -q \
    && apt-get install -y -q --no-install-recommends libdpdk-dev pkg-config gcc libc6-dev clang libclang-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p weird -p weir

FROM ${DEBIAN_IMAGE}
# DPDK's core comes as a dependency of the drivers. First what every director needs, then virtual
# devices, then NICs by maker.
RUN apt-get update -q \
    && apt-get install -y -q --no-install-recommends \
        librte-ethdev23 librte-mempool-ring23 librte-bus-pci23 librte-bus-vdev23 \
        librte-net-tap23 librte-net-af-packet23 librte-net-af-xdp23 librte-net-pcap23 \
        librte-net-ring23 librte-net-memif23 librte-net-virtio23 \
        librte-net-e1000-23 librte-net-igc23 librte-net-ixgbe23 librte-net-i40e23 librte-net-ice23 \
        librte-net-iavf23 librte-net-mlx5-23 librte-net-bnxt23 librte-net-ena23 librte-net-gve23 \
        librte-net-vmxnet3-23 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/weird /src/target/release/weir /usr/local/bin/
COPY conf/weir.toml /etc/weir/weir.toml
# Where the control socket is.
RUN mkdir -p /run/weir
# SIGTERM, which is also the default, ends weird in order.
STOPSIGNAL SIGTERM
ENTRYPOINT ["weird"]
CMD ["--config", "/etc/weir/weir.toml"]
