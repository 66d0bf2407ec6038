# A small image that runs as a user without rights: the program, a CA bundle, and a folder for the data.
#
#   docker build -t wharfinger .
#   docker run -d -p 4566:4566 -v wharfinger:/data --name wharfinger wharfinger
#   docker logs wharfinger        # the first start prints the four `export` lines

FROM rust:1.95.0-bookworm AS build
WORKDIR /src
# Dependencies first, over an empty program: a change of the project's own code does not compile them again.
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
# Cargo asks for every target that the manifest names, the benches among them.
COPY .cargo ./.cargo
COPY benches ./benches
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs && cargo build --release --locked && rm -r src
COPY src ./src
RUN touch src/main.rs src/lib.rs && cargo build --release --locked && mkdir /empty

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/wharfinger /usr/local/bin/wharfinger
# 65532 is the image's `nonroot`. A volume that is mounted here takes this owner over.
COPY --from=build --chown=65532:65532 /empty /data
ENV WHARFINGER_DATA_DIR=/data
VOLUME /data
EXPOSE 4566
HEALTHCHECK --interval=10s --timeout=3s --start-period=2s CMD ["/usr/local/bin/wharfinger", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/wharfinger"]
CMD ["serve"]
