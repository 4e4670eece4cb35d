# Weir alone, with its embedded engine. Data lives in /data: mount a volume there.
# syntax=docker/dockerfile:1
FROM node:22-bookworm-slim AS build
WORKDIR /weir
COPY . .
RUN sh scripts/with-bun.sh scripts/version.ts

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --home-dir /weir weir && mkdir /data && chown weir /data
COPY --from=build /weir /weir
USER weir
WORKDIR /weir
ENV HOST=0.0.0.0 PORT=3001 WEIR_DATA_DIR=/data
EXPOSE 3001
VOLUME /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s CMD ["/weir/node_modules/.bin/bun", "-e", "process.exit((await fetch(`http://127.0.0.1:${process.env.PORT}/health/ready`)).ok ? 0 : 1)"]
ENTRYPOINT ["/weir/node_modules/.bin/bun", "/weir/apps/ingestion/src/main.ts"]
