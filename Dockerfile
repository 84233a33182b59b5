# framewise serve on Debian's smallest image: docker build -t framewise . && docker run -p 8765:8765 framewise
FROM rust:1.95-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked --package framewise-cli

FROM debian:bookworm-slim
COPY --from=build /source/target/release/framewise /usr/local/bin/framewise
# Nobody in particular, who owns nothing.
USER 65534:65534
WORKDIR /tmp
ENV HOST=0.0.0.0 PORT=8765
# For glibc, so that memory goes back to the kernel. docs/limits.md has the measurement.
ENV MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=16384 MALLOC_TRIM_THRESHOLD_=131072
EXPOSE 8765
# Our own client opens a WebSocket, says something and wants it back. It does not check the certificate of its own server, which may
# not be for 127.0.0.1.
HEALTHCHECK --interval=30s --timeout=5s --start-period=2s CMD \
    case "$FRAMEWISE_TLS_CERT,$FRAMEWISE_TLS_SELF_SIGNED" in ,|,false) scheme=ws;; *) scheme=wss;; esac; \
    framewise connect -1 -x healthy --insecure "$scheme://127.0.0.1:$PORT/echo" \
    ${FRAMEWISE_TOKEN:+-H "Authorization: Bearer $FRAMEWISE_TOKEN"}
STOPSIGNAL SIGTERM
ENTRYPOINT ["framewise"]
CMD ["serve"]
