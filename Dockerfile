# Weir as one image. Data lives in /data: mount a volume there.
#   docker build -t weir .                            everything, with the embedded ClickHouse engine (540 MB of it)
#   docker build -t weir --build-arg ENGINE=none .    without the engine: CLICKHOUSE_URL is then required
FROM node:22.22.0-bookworm-slim AS build
ARG ENGINE=embedded
WORKDIR /weir
COPY . .
# Bun in the version that package.json names; `cp -L` takes the program itself instead of npm's link to it.
RUN version=$(sed -n 's/.*"bun": "\([0-9.]*\)".*/\1/p' package.json) \
  && npm install --global "bun@$version" \
  && cp -L "$(command -v bun)" /usr/local/bin/bun-program \
  && test "$(/usr/local/bin/bun-program --version)" = "$version" \
  && bun install --frozen-lockfile --production \
  && if [ "$ENGINE" = none ]; then rm -rf node_modules/.bun/@chdb+lib-*; fi

FROM debian:bookworm-20251229-slim
RUN useradd --system --uid 10001 --home-dir /weir weir && mkdir /data && chown weir /data
COPY --from=build /usr/local/bin/bun-program /usr/local/bin/bun
COPY --from=build /weir /weir
USER weir
WORKDIR /weir
ENV HOST=0.0.0.0 PORT=3001 WEIR_DATA_DIR=/data
EXPOSE 3001
VOLUME /data
STOPSIGNAL SIGTERM
# Live, not ready: an instance that drains, or whose journal is full, must not be killed for it. Load balancers ask for ready.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["bun", "-e", "process.exit((await fetch(`http://127.0.0.1:${process.env.PORT}/health/live`)).ok ? 0 : 1)"]
ENTRYPOINT ["bun", "/weir/apps/ingestion/src/main.ts"]
