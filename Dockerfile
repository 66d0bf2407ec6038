# A small image that runs as an unprivileged user: the program, CA certificates, and a folder for the data.
#
#   docker build -t wharfinger .
#   docker run -d -p 4566:4566 -v wharfinger:/data --name wharfinger wharfinger
#   docker logs wharfinger        # the first start prints the four `export` lines

FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
# The caches of BuildKit keep compiled dependencies from one build to the next.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked && cp target/release/wharfinger /wharfinger && mkdir /empty

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /wharfinger /usr/local/bin/wharfinger
# 65532 is the image's user `nonroot`. A volume that is mounted here takes over this owner.
COPY --from=build --chown=65532:65532 /empty /data
ENV WHARFINGER_DATA_DIR=/data
VOLUME /data
EXPOSE 4566
HEALTHCHECK --interval=10s --timeout=3s --start-period=2s CMD ["/usr/local/bin/wharfinger", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/wharfinger"]
CMD ["serve"]
