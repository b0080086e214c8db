# The service alone: it needs a Postgres (DATABASE_URL) and brings no embedded one.
FROM node:26-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080 MAILWRIGHT_DATA_DIR=/data
ENV NODE_COMPILE_CACHE=/data/compile-cache
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts && npm cache clean --force \
  && mkdir /data && chown node:node /data
COPY src src
COPY clients/typescript/src clients/typescript/src
COPY migrations migrations
COPY docs docs
COPY LICENSE README.md ./
USER node
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["node", "src/healthcheck.ts"]
CMD ["node", "--max-semi-space-size=4", "--heap-growing-percent=30", "--v8-pool-size=1", "src/server.ts"]
