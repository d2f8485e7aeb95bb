# The image of the controller and of the node: one program, two commands (docker-compose.yml names them).
#
# Built in two stages, so that compilers and the tests' dependencies stay behind. Debian and not Alpine: Temporal's core and
# the hash are prebuilt for glibc. The image brings its own Node 24, so the platform packages with another one are dropped.
FROM node:24.21.0-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY workflows workflows
COPY activities activities
COPY workers workers
RUN npm run prepack \
  && npm prune --omit=dev \
  && rm -rf node_modules/node-linux-* node_modules/.bin/node

FROM node:24.21.0-bookworm-slim
# Temporal's core looks for the system's certificates when an address is TLS.
RUN apt-get update \
  && apt-get install --yes --no-install-recommends ca-certificates \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY LICENSE ./
ENV NODE_ENV=production HOLDFAST_HOME=/var/lib/holdfast
RUN ln -s /app/dist/src/faces/cli/main.js /usr/local/bin/holdfast \
  && install --directory --owner=node --group=node --mode=0700 /var/lib/holdfast
USER node
VOLUME /var/lib/holdfast
# Prometheus.
EXPOSE 9464
CMD ["node", "dist/workers/controller.js"]
